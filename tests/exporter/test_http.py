from __future__ import annotations

import pytest

from exporter.http import accepts_gzip


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
