"""The engine's JSON: pushes, trades, status."""

from __future__ import annotations

import csv
import io
import re

from exporter.accept import prefers_csv
from exporter.answers import Trades, TradeView, status_of, status_tag, trade_view
from exporter.errors import Invalid, TooLarge
from exporter.http import Call, Reply, etag_matches, group_ttl, json_reply, number
from exporter.messages import check_engine, check_name, epoch_seconds, read_metrics, read_trades
from exporter.operations import PushEngine, RecordTrades
from exporter.records import DEFAULT_ENGINE, Trade
from exporter.service import Service
from exporter.state import TOTALS_SERIES
from exporter.store import TradeQuery

__all__ = ["get_status", "get_trades", "post_metrics", "post_trades"]

MAX_PAGE = 10_000
_WHOLE = re.compile(r"-?[0-9]{1,40}")
_LOST_PLUS = re.compile(r"(T[0-9:.]+) (?=[0-9]{2}:?[0-9]{2}$)")
MAX_WAIT_SECONDS = 60.0


async def post_metrics(service: Service, call: Call) -> Reply:
    """POST /metrics/push."""
    push, accepted = read_metrics(call.body, _engine(call))
    _check_size(service, accepted)
    ttl = group_ttl(call.headers.get(b"x-group-ttl"))
    operation = PushEngine(push, accepted, service.settings.max_series, call.who, ttl)
    answer = await service.writer.submit(operation)
    service.telemetry.samples.inc(accepted)
    return json_reply(answer)


async def post_trades(service: Service, call: Call) -> Reply:
    """POST /trades."""
    trades = read_trades(call.body, _engine(call))
    fresh = {(trade.engine, trade.strategy) for trade in trades} - service.state.totals.keys()
    _check_size(service, TOTALS_SERIES * len(fresh))
    return json_reply(await service.writer.submit(RecordTrades(trades, service.settings.max_series)))


def _check_size(service: Service, series: int) -> None:
    limit = service.settings.max_series_per_push
    if series > limit:
        raise TooLarge(f"{series} series in one push: DECK_MAX_SERIES_PER_PUSH is {limit}")


def _engine(call: Call) -> str | None:
    """The query's engine, the only argument these routes know."""
    engine = call.arguments("engine").get("engine")
    return None if engine is None else check_engine(engine)


def whole_number(text: str, field: str, low: int, high: int) -> int:
    """An integer of the query.

    Raises:
        Invalid: It is none, or out of range.
    """
    if not _WHOLE.fullmatch(text):
        raise Invalid(f"{field} is {text!r}: want a whole number", field)
    number = int(text)
    if not low <= number <= high:
        raise Invalid(f"{field} is {number}: want {low} to {high}", field, "out_of_range")
    return number


def _time(arguments: dict[str, str], field: str) -> float | None:
    text = arguments.get(field)
    if text is None:
        return None
    # A query's plus sign is a space, and hardly anybody writes %2B.
    text = _LOST_PLUS.sub(r"\1+", text)
    seconds = number(text)
    return epoch_seconds(text if seconds is None else seconds, field)


async def get_trades(service: Service, call: Call) -> Reply:
    """GET /trades."""
    arguments = call.arguments("strategy", "since", "until", "cursor", "limit", "engine")
    limit = whole_number(arguments.get("limit", "100"), "limit", 1, MAX_PAGE)
    if "engine" in arguments:
        check_engine(arguments["engine"])
    if "strategy" in arguments:
        check_name(arguments["strategy"], "strategy", "strategy")
    query = TradeQuery(
        engine=arguments.get("engine"),
        strategy=arguments.get("strategy"),
        since=_time(arguments, "since"),
        until=_time(arguments, "until"),
        after=whole_number(arguments.get("cursor", "0"), "cursor", 0, 2**62),
        limit=limit + 1,
    )
    found = await service.read(lambda: service.reader.read_trades(query))
    page = found[:limit]
    cursor = str(page[-1].seq) if len(found) > limit else None
    headers = [(b"vary", b"Accept")]
    if prefers_csv(call.headers.get(b"accept", b"")):
        if cursor is not None:
            headers.append((b"x-next-cursor", cursor.encode()))
        return Reply(200, _csv(page), "text/csv; charset=utf-8", headers)
    views = [trade_view(trade) for trade in page]
    return json_reply(Trades(trades=views, next_cursor=cursor), headers=headers)


def _csv(page: list[Trade]) -> bytes:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(TradeView.__annotations__)
    rows.writerows(trade_view(trade).values() for trade in page)  # None is written as nothing
    return out.getvalue().encode()


async def get_status(service: Service, call: Call) -> Reply:
    """GET /status, with If-None-Match and ?wait= as a long poll."""
    arguments = call.arguments("engine", "wait")
    engine = arguments.get("engine", DEFAULT_ENGINE)
    check_engine(engine)
    wait = 0.0
    if "wait" in arguments:
        found = number(arguments["wait"])
        if found is None or not 0 <= found <= MAX_WAIT_SECONDS:
            raise Invalid(
                f"wait is {arguments['wait']!r}: want seconds, 0 to {MAX_WAIT_SECONDS:g}",
                "wait",
                "out_of_range",
            )
        wait = found
    seen = call.headers.get(b"if-none-match")
    until = service.clock() + wait
    while True:
        shown = service.state.shown
        status = status_of(service.state, engine, service.now(), service.version)
        tag = b'"%s"' % status_tag(status)
        if seen is None or not etag_matches(seen, tag):
            return json_reply(status, headers=[(b"etag", tag), (b"cache-control", b"no-cache")])
        # What changed may be another engine's alone.
        if not await service.writer.changed(until - service.clock(), shown):
            return Reply(304, headers=[(b"etag", tag)])
