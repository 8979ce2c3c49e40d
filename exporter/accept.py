"""Which of our answers a client likes best, by its Accept and Accept-Encoding headers (RFC 9110, 12.5).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.protobuf import PROTOBUF, is_protobuf

__all__ = ["OPENMETRICS", "TEXT", "accepts_gzip", "negotiate", "prefers_csv"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def _preferences(header: bytes) -> Iterator[tuple[str, str, Mapping[str, str], float]]:
    """(name, part as it came, parameters, quality) of each part; a quality that is no number is a refusal."""
    for part in header.decode("latin-1").split(","):
        name, *rest = (text.strip().lower() for text in part.split(";"))
        parameters = dict(p.replace(" ", "").split("=", 1) for p in rest if "=" in p)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        yield name, part.strip(), parameters, quality


def negotiate(accept: bytes) -> str:
    """The content type of the scrape page: the one the scraper likes best of those we have.

    >>> negotiate(b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2") == OPENMETRICS
    True
    >>> negotiate(b"text/html, */*;q=0.1") == negotiate(b"") == TEXT
    True
    >>> negotiate(b"application/openmetrics-text;q=0") == TEXT
    True
    """
    offers: list[tuple[float, str]] = []
    for media, part, parameters, quality in _preferences(accept):
        if quality <= 0:  # a refusal
            continue
        if media == "application/openmetrics-text" and parameters.get("version", "1.0.0") in (
            "1.0.0",
            "0.0.1",
        ):
            offers.append((quality, OPENMETRICS))
        elif is_protobuf(part.encode()):
            offers.append((quality, PROTOBUF))
        elif media == "text/plain" and parameters.get("version", "0.0.4") == "0.0.4":
            offers.append((quality, TEXT))
    return max(offers, key=lambda offer: offer[0])[1] if offers else TEXT


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether the header lets us send gzip.

    >>> accepts_gzip(b"deflate, gzip;q=0.5"), accepts_gzip(b"gzip;q=0, *"), accepts_gzip(b"")
    (True, False, False)
    """
    weights = {name: quality for name, _, _, quality in _preferences(accept_encoding)}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def prefers_csv(accept: bytes) -> bool:
    """Whether CSV is asked for by name, and JSON is not liked better.

    >>> prefers_csv(b"text/csv"), prefers_csv(b"text/csv, */*"), prefers_csv(b"*/*")
    (True, True, False)
    >>> prefers_csv(b"text/csv;q=0.5, application/json"), prefers_csv(b"text/csv;q=0")
    (False, False)
    """
    weights = {name: quality for name, _, _, quality in _preferences(accept)}
    csv = weights.get("text/csv", weights.get("text/*", 0.0))
    json = weights.get("application/json", weights.get("application/*", weights.get("*/*", 0.0)))
    return csv > 0 and csv >= json
