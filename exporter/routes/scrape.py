"""GET /metrics: what Prometheus scrapes."""

from __future__ import annotations

import zlib

import structlog

from exporter.accept import OPENMETRICS, accepts_gzip, negotiate
from exporter.catalogue import CATALOGUE
from exporter.deck import computed_families
from exporter.exposition import OwnFamily, push_times, render_protobuf, render_text
from exporter.http import Call, Reply
from exporter.openmetrics import render_openmetrics
from exporter.protobuf import PROTOBUF
from exporter.records import EVERY_ENGINE
from exporter.service import Service

__all__ = ["get_metrics", "own_families"]


def own_families(service: Service) -> list[OwnFamily]:
    """What this service adds to the pushed families."""
    state, telemetry = service.state, service.telemetry
    telemetry.queue_length.set(service.writer.length)
    telemetry.groups.set(len(state.groups))
    telemetry.series.set(state.all_series)
    telemetry.series_limit.set(service.settings.max_series)
    breakers = {key: doc for key, doc in state.breakers.items() if key[0] != EVERY_ENGINE}
    computed = computed_families(state.totals, breakers, state.weights)
    times = zip(
        ("push_time_seconds", "push_failure_time_seconds"), push_times(state.groups.values()), strict=True
    )
    known = [
        (name, CATALOGUE[name].kind, CATALOGUE[name].help, body) for name, body in (*computed, *times) if body
    ]
    return [*telemetry.families(), *known]


log = structlog.get_logger(__name__)


def _render(service: Service, content_type: str) -> list[bytes]:
    own = own_families(service)
    if content_type == OPENMETRICS:
        return render_openmetrics(service.state, own)
    if content_type != PROTOBUF:
        return render_text(service.state, own)
    left_out: list[str] = []
    parts = render_protobuf(service.state, own, left_out)
    if left_out:
        log.error("families that protobuf cannot say are left out", families=left_out)
    return parts


def compress(reply: Reply) -> list[bytes]:
    """The body's parts in gzip; fast rather than small, for it is done at each scrape."""
    press = zlib.compressobj(1, wbits=31)
    return [*filter(None, map(press.compress, reply.blocks())), press.flush()]


async def get_metrics(service: Service, call: Call) -> Reply:
    """The page, in the format and encoding the scraper asks for."""
    start = service.clock()
    content_type = negotiate(call.headers.get(b"accept", b""))
    parts = _render(service, content_type)
    reply = Reply(200, content_type=content_type, parts=parts)
    if accepts_gzip(call.headers.get(b"accept-encoding", b"")):
        reply.parts = await service.read(lambda: compress(reply))
        reply.headers.append((b"content-encoding", b"gzip"))
    reply.headers.append((b"vary", b"Accept, Accept-Encoding"))
    service.telemetry.render_seconds.observe(service.clock() - start)
    return reply
