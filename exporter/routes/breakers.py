"""Breakers: who holds which open, an operator's hand on them, and Alertmanager's webhook."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import structlog

from exporter.answers import BreakersHistory, OneBreaker, breaker_view, breakers_of
from exporter.errors import Invalid
from exporter.http import Call, Reply, json_reply
from exporter.messages import check_engine, check_name, read_alerts, read_breaker
from exporter.operations import SwitchBreaker, TakeAlerts
from exporter.records import DEFAULT_ENGINE, BreakerDoc
from exporter.routes.deck import MAX_PAGE, whole_number
from exporter.service import Service

__all__ = ["get_breakers", "get_history", "post_alerts", "post_breaker"]

PREFIX = b"/breakers/"

log = structlog.get_logger(__name__)


async def get_breakers(service: Service, call: Call) -> Reply:
    """GET /breakers."""
    engine = check_engine(call.arguments("engine").get("engine", DEFAULT_ENGINE))
    return json_reply(breakers_of(service.state, engine, service.now()))


async def get_history(service: Service, call: Call) -> Reply:
    """GET /breakers/history, newest first."""
    arguments = call.arguments("breaker", "before", "limit")
    limit = whole_number(arguments.get("limit", "100"), "limit", 1, MAX_PAGE)
    before = whole_number(arguments["before"], "before", 0, 2**62) if "before" in arguments else None
    breaker = arguments.get("breaker")
    if breaker is not None:
        check_name(breaker, "breaker", "breaker")
    found = await service.read(lambda: service.reader.read_breaker_history(breaker, before, limit + 1))
    page = found[:limit]
    return json_reply(BreakersHistory(history=page, next_before=page[-1].seq if len(found) > limit else None))


async def post_breaker(service: Service, call: Call) -> Reply:
    """POST /breakers/{name}."""
    try:
        # From the path as it came: the server's own decoding puts U+FFFD where there is no UTF-8.
        name = unquote_to_bytes(call.path.removeprefix(PREFIX)).decode()
    except UnicodeDecodeError:
        raise Invalid("the breaker's name in the path is not UTF-8", "name") from None
    check_name(name, "name", "breaker")
    engine = call.arguments("engine").get("engine")
    if engine is not None:
        check_engine(engine)
    answer = await service.writer.submit(SwitchBreaker(name, read_breaker(call.body), engine, call.who))
    shown = engine or DEFAULT_ENGINE
    doc: BreakerDoc = answer[shown]
    return json_reply(OneBreaker(breaker=name, engine=shown, **breaker_view(doc, service.now())))


async def post_alerts(service: Service, call: Call) -> Reply:
    """POST /alerts."""
    call.arguments()
    request = read_alerts(call.body)
    if request.truncatedAlerts:
        # What they would have tripped, or let go, nobody here can know.
        log.warning("Alertmanager left alerts out: set max_alerts to 0", left_out=request.truncatedAlerts)
    return json_reply(await service.writer.submit(TakeAlerts(request, service.rules, call.who)))
