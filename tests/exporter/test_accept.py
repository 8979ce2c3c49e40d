from __future__ import annotations

import pytest

from exporter.accept import accepts_gzip, prefers_csv


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"gzip", True),
        (b"deflate, GZIP;q=0.5", True),
        (b"gzip ; q=1", True),
        (b"*", True),
        (b"", False),
        (b"identity", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, *", False),
        (b"*;q=0", False),
        (b"gzip;q=x", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it(header: bytes, accepted: bool) -> None:
    """q=0 refuses an encoding, by name or by star; the name counts before the star."""
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize(
    ("header", "csv"),
    [
        (b"text/csv", True),
        (b"TEXT/CSV; charset=utf-8", True),
        (b"text/csv, */*", True),
        (b"text/*", True),
        (b"application/json;q=0.1, text/csv", True),
        (b"", False),
        (b"*/*", False),
        (b"text/csv;q=0", False),
        (b"text/csv;q=0, */*", False),
        (b"application/json;q=0.9, text/csv;q=0.1", False),
        (b"text/csvx", False),
    ],
)
def test_csv_is_sent_to_who_asks_for_it(header: bytes, csv: bool) -> None:
    """By name, whatever the case, and not where JSON is liked better."""
    assert prefers_csv(header) is csv
