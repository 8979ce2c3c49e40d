"""Risk shares: the allocator writes them, engines read them, every version is kept."""

from __future__ import annotations

import re

from exporter.answers import WeightsHistory, weights_view
from exporter.errors import Invalid
from exporter.http import Call, Reply, etag_matches, json_reply
from exporter.messages import read_weights
from exporter.operations import SetWeights
from exporter.records import WeightsDoc
from exporter.routes.deck import MAX_PAGE, whole_number
from exporter.service import Service

__all__ = ["get_history", "get_weights", "post_weights"]


def _etag(doc: WeightsDoc) -> list[tuple[bytes, bytes]]:
    return [(b"etag", f'"{doc.version}"'.encode())]


async def post_weights(service: Service, call: Call) -> Reply:
    """POST /allocator/weights."""
    call.arguments()
    operation = SetWeights(read_weights(call.body), _if_match(call), call.who, service.settings.max_series)
    doc = await service.writer.submit(operation)
    return json_reply(weights_view(doc), headers=_etag(doc))


_VERSION = re.compile(rb'(?:W/)?("?)([0-9]+)\1\Z')
"""An entity tag of ours; the quotes may be missing, and a proxy that compresses may have made it weak."""


def _if_match(call: Call) -> frozenset[str] | None:
    """The versions one of which must be in force, as text; None for any."""
    header = call.headers.get(b"if-match", b"*").strip()
    if header == b"*":
        return None
    found = [_VERSION.match(part.strip()) for part in header.split(b",")]
    versions = frozenset(match[2].decode() for match in found if match)
    if None in found:
        shown = header[:40].decode("latin-1")
        raise Invalid(f"If-Match is {shown!r}: want the version in quotes", "If-Match")
    return versions


async def get_weights(service: Service, call: Call) -> Reply:
    """GET /allocator/weights."""
    call.arguments()
    doc = service.state.weights
    if etag_matches(call.headers.get(b"if-none-match", b""), f'"{doc.version}"'.encode()):
        return Reply(304, headers=_etag(doc))
    return json_reply(weights_view(doc), headers=_etag(doc))


async def get_history(service: Service, call: Call) -> Reply:
    """GET /allocator/weights/history, newest first."""
    arguments = call.arguments("before", "limit")
    limit = whole_number(arguments.get("limit", "100"), "limit", 1, MAX_PAGE)
    before = whole_number(arguments["before"], "before", 0, 2**62) if "before" in arguments else None
    found = await service.read(lambda: service.reader.read_weights(before, limit + 1))
    page = found[:limit]
    return json_reply(
        WeightsHistory(
            history=[weights_view(doc) for doc in page],
            next_before=page[-1].version if len(found) > limit else None,
        )
    )
