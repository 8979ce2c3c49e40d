"""JSON requests of the deck: their shapes, and their checks.

Pure.  msgspec reads and type-checks; what types cannot say (ranges, sums, characters) is checked here.  Every
refusal names the field, what came and what was wanted; NaN and infinity are not JSON and are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from exporter.errors import Invalid
from exporter.json_errors import reader
from exporter.records import DEFAULT_ENGINE, EVERY_ENGINE

__all__ = [
    "MAP_RANGES",
    "MAX_AMOUNT",
    "MAX_EPOCH",
    "MAX_HOLD_SECONDS",
    "MAX_NAME",
    "MAX_REASON",
    "MAX_TRADES",
    "SCALAR_RANGES",
    "AlertIn",
    "AlertsIn",
    "BreakerIn",
    "MetricsIn",
    "TradeIn",
    "WeightsIn",
    "check_engine",
    "check_name",
    "epoch_seconds",
    "read_alerts",
    "read_breaker",
    "read_metrics",
    "read_trades",
    "read_weights",
]

MAX_NAME = 128
"""Characters of an engine, strategy, breaker, symbol or trade id (JC)."""
MAX_EPOCH = 4102444800.0
"""2100-01-01; a time beyond it was sent in milliseconds."""
MAX_AMOUNT = 1e15
"""Most of a quantity, a price, a fee or a PnL (JC): sums of them stay finite and to the cent."""
MAX_NOTIONAL = 1e18
"""Most of quantity times price (JC)."""
MAX_TRADES = 10_000
"""Trades of one request (JC)."""
MAX_REASON = 1000
"""Characters of a reason (JC)."""
MAX_HOLD_SECONDS = 366 * 86400.0
"""Of an operator's hold with an end (JC)."""

_FINE = re.compile(r"[.,]([0-9]{7,})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class InfoIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: str | None = None
    mode: Literal["live", "paper", "replay"] | None = None
    quote: str | None = None


class MetricsIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """POST /metrics/push.  A strategy whose number is null is forgotten."""

    engine: str = DEFAULT_ENGINE
    started_at: float | str | None = None
    equity_usd: float | None = None
    pnl_24h: float | None = None
    drawdown_pct: float | None = None
    tick_p50_ms: float | None = None
    tick_p95_ms: float | None = None
    error_rate_pct: float | None = None
    breaker: dict[str, bool] | None = None
    pnl_by_strategy: dict[str, float | None] | None = None
    exposure_by_strategy: dict[str, float | None] | None = None
    drawdown_pct_by_strategy: dict[str, float | None] | None = None
    info: InfoIn | None = None


class TradeIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One trade of POST /trades."""

    trade_id: str
    ts: float | str
    strategy: str
    symbol: str
    side: Literal["buy", "sell"]
    qty: float
    price: float
    fee_usd: float
    pnl_usd: float | None = None
    engine: str = DEFAULT_ENGINE


class TradesIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    trades: list[TradeIn]


class WeightsIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """POST /allocator/weights."""

    weights: dict[str, float]
    scores: dict[str, float] = {}
    reason: str = ""
    as_of: float | str | None = None


class BreakerIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """POST /breakers/{name}."""

    tripped: bool
    reason: str
    ttl_sec: float | None = None


class AlertIn(msgspec.Struct, frozen=True):
    """One alert of Alertmanager's webhook; it may grow fields we do not know."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    startsAt: str = ""  # noqa: N815 - Alertmanager's name
    fingerprint: str = ""


class AlertsIn(msgspec.Struct, frozen=True):
    """POST /alerts, version 4 of the webhook."""

    version: Literal["4"]
    alerts: list[AlertIn]
    truncatedAlerts: int = 0  # noqa: N815 - Alertmanager's name


_read_metrics_json = reader(MetricsIn)
_read_trade_json = reader(TradeIn)
_read_trade_list = reader(list[TradeIn], root="trades")
_read_trades_json = reader(TradesIn)
_read_weights_json = reader(WeightsIn)
_read_breaker_json = reader(BreakerIn)
_read_alerts_json = reader(AlertsIn)
_read_object = reader(dict[str, msgspec.Raw], part=True)


def check_name(text: str, field: str, what: str) -> str:
    """`text` if it can be a label value people read: 1 to 128 characters, no control character."""
    if not text or len(text) > MAX_NAME:
        raise Invalid(f"{what} has {len(text)} characters: want 1 to {MAX_NAME}", field, "out_of_range")
    if _CONTROL.search(text):
        raise Invalid(f"{what} {text!r} has a control character", field)
    return text


def check_engine(text: str, field: str = "engine") -> str:
    """`text` if it can name an engine: a name, and not the one that means all of them."""
    if text == EVERY_ENGINE:
        raise Invalid(f"engine is {text!r}, which means every engine: want the name of one", field)
    return check_name(text, field, "engine")


def _check_text(text: str, field: str, limit: int = MAX_REASON) -> str:
    if len(text) > limit:
        raise Invalid(f"{field} has {len(text)} characters: want at most {limit}", field, "out_of_range")
    return text


def _check_range(value: float, field: str, low: float, high: float, what: str) -> float:
    if not math.isfinite(value):
        raise Invalid(f"{what} is {value}: want a finite number", field, "out_of_range")
    if not low <= value <= high:
        raise Invalid(f"{what} is {_exact(value)}: want {_span(low, high)}", field, "out_of_range")
    return value


def _exact(value: float) -> str:
    """A number with as many digits as tell it from its neighbours: 1.4, 105, 1.0000000001."""
    short = f"{value:.15g}"
    return short if float(short) == value else repr(value)


def _span(low: float, high: float) -> str:
    if math.isinf(high):
        return "a finite number" if math.isinf(low) else f"at least {low:g}"
    if math.isinf(low):
        return f"at most {high:g}"
    return f"{low:g} to {high:g}"


def epoch_seconds(value: float | str, field: str) -> float:
    """Epoch seconds of a number or an ISO 8601 text; a text without a zone is UTC.

    Raises:
        Invalid: Neither, or not between 1970 and 2100 (milliseconds are).
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Invalid(f"{field} is {value!r}: want epoch seconds or ISO 8601", field) from None
        try:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            # Python cuts what is finer than a microsecond; the same time as a number has it.
            fine = _FINE.search(value)
            value = (
                float(f"{moment.replace(microsecond=0).timestamp():.0f}.{fine[1]}")
                if fine
                else moment.timestamp()
            )
        except (OverflowError, ValueError):
            raise Invalid(
                f"{field} is {value!r}: want a time from 1970 to 2100", field, "out_of_range"
            ) from None
    if not 0 <= value <= MAX_EPOCH:
        hint = " (milliseconds?)" if value > MAX_EPOCH else ""
        raise Invalid(
            f"{field} is {value:g}{hint}: want epoch seconds from 1970 to 2100", field, "out_of_range"
        )
    return float(value)


SCALAR_RANGES = {
    "equity_usd": (-math.inf, math.inf),
    "pnl_24h": (-math.inf, math.inf),
    "drawdown_pct": (0.0, 100.0),
    "tick_p50_ms": (0.0, math.inf),
    "tick_p95_ms": (0.0, math.inf),
    "error_rate_pct": (0.0, 100.0),
}
MAP_RANGES = {
    "pnl_by_strategy": (-math.inf, math.inf),
    "exposure_by_strategy": (-math.inf, math.inf),
    "drawdown_pct_by_strategy": (0.0, 100.0),
}


def _choose(raw: Mapping[str, Any], chosen: str, given: str, field: str) -> str:
    """The engine of the query, unless the body names another."""
    if "engine" in raw and given != chosen:
        raise Invalid(f"engine is {given!r} in the body and {chosen!r} in the query: want one of them", field)
    return chosen


def read_metrics(body: bytes, engine: str | None = None) -> tuple[MetricsIn, int]:
    """The checked request of POST /metrics/push and the number of values in it; `engine` is the query's."""
    request = _read_metrics_json(body)
    if engine is not None:
        chosen = _choose(_read_object(body), engine, request.engine, "engine")
        request = msgspec.structs.replace(request, engine=chosen)
    check_engine(request.engine)
    accepted = 0
    if request.started_at is not None:
        epoch_seconds(request.started_at, "started_at")
        accepted += 1
    for field, (low, high) in SCALAR_RANGES.items():
        value = getattr(request, field)
        if value is not None:
            _check_range(value, field, low, high, field)
            accepted += 1
    for field, (low, high) in MAP_RANGES.items():
        for name, value in (getattr(request, field) or {}).items():
            check_name(name, f"{field}.{name}", "strategy")
            if value is not None:
                _check_range(value, f"{field}.{name}", low, high, f"{field} of {name}")
            accepted += 1
    for name in request.breaker or {}:
        check_name(name, f"breaker.{name}", "breaker")
        accepted += 1
    if request.info is not None:
        for field in ("version", "mode", "quote"):
            text = getattr(request.info, field)
            if text is not None:
                check_name(text, f"info.{field}", f"info.{field}")
                accepted += 1
    if not accepted:
        raise Invalid("no value in the request: want at least one field", None, "missing_field")
    return request, accepted


def read_trades(body: bytes, engine: str | None = None) -> list[TradeIn]:
    """The checked trades of POST /trades, in any of its three shapes, their times as epoch seconds.

    Args:
        body: The request.
        engine: The query's, for every trade that names none.
    """
    start = body.lstrip(b" \t\r\n")[:1]
    prefix = ""
    if start == b"[":
        trades = _read_trade_list(body)
        prefix = "trades[{}]."
    else:
        raw = _read_object(body)
        if "trades" in raw:
            trades = _read_trades_json(body).trades
            prefix = "trades[{}]."
        else:
            trades = [_read_trade_json(body)]
    if not trades:
        raise Invalid("no trade in the request: want at least one", "trades", "missing_field")
    if len(trades) > MAX_TRADES:
        raise Invalid(
            f"{len(trades)} trades: want at most {MAX_TRADES} in one request", "trades", "out_of_range"
        )
    if engine is not None:
        raws = _trade_objects(body, start)
        trades = [
            msgspec.structs.replace(
                trade, engine=_choose(raw, engine, trade.engine, prefix.format(i) + "engine")
            )
            for i, (trade, raw) in enumerate(zip(trades, raws, strict=True))
        ]
    return [_check_trade(trade, prefix.format(i)) for i, trade in enumerate(trades)]


def _trade_objects(body: bytes, start: bytes) -> list[dict[str, Any]]:
    """The trades as they came, which says what they left out."""
    raw: Any = msgspec.json.decode(body)
    if start == b"[":
        return list(raw)
    return list(raw["trades"]) if "trades" in raw else [raw]


def _check_trade(trade: TradeIn, at: str) -> TradeIn:
    for field in ("trade_id", "strategy", "symbol"):
        check_name(getattr(trade, field), at + field, field)
    check_engine(trade.engine, at + "engine")
    ts = epoch_seconds(trade.ts, at + "ts")
    for field in ("qty", "price"):
        value = getattr(trade, field)
        _check_range(value, at + field, -math.inf, MAX_AMOUNT, field)
        if value <= 0:
            raise Invalid(f"{field} is {value:g}: want more than 0", at + field, "out_of_range")
    _check_range(trade.qty * trade.price, at + "qty", 0, MAX_NOTIONAL, "qty times price")
    _check_range(trade.fee_usd, at + "fee_usd", -MAX_AMOUNT, MAX_AMOUNT, "fee_usd")
    if trade.pnl_usd is not None:
        _check_range(trade.pnl_usd, at + "pnl_usd", -MAX_AMOUNT, MAX_AMOUNT, "pnl_usd")
    return msgspec.structs.replace(trade, ts=ts)


SUM_TOLERANCE = 1e-9
"""By how much shares may sum to more than one: rounding of floats, no more."""


def read_weights(body: bytes) -> WeightsIn:
    """The checked request of POST /allocator/weights, its time as epoch seconds."""
    request = _read_weights_json(body)
    if not request.weights:
        raise Invalid("weights is empty: want at least one share", "weights", "missing_field")
    for name, share in request.weights.items():
        check_name(name, f"weights.{name}", "strategy")
        _check_range(share, f"weights.{name}", 0.0, 1.0, f"share of {name}")
    total = math.fsum(request.weights.values())
    if total > 1 + SUM_TOLERANCE:
        raise Invalid(f"shares sum to {_exact(total)}: want at most 1", "weights", "out_of_range")
    for name, score in request.scores.items():
        check_name(name, f"scores.{name}", "strategy")
        _check_range(score, f"scores.{name}", -math.inf, math.inf, f"score of {name}")
    _check_text(request.reason, "reason")
    as_of = None if request.as_of is None else epoch_seconds(request.as_of, "as_of")
    return msgspec.structs.replace(request, as_of=as_of)


def read_breaker(body: bytes) -> BreakerIn:
    """The checked request of POST /breakers/{name}."""
    request = _read_breaker_json(body)
    _check_text(request.reason, "reason")
    if not request.reason.strip():
        raise Invalid("reason is empty: say why, it is kept in the history", "reason", "missing_field")
    if request.ttl_sec is not None:
        _check_range(request.ttl_sec, "ttl_sec", -math.inf, MAX_HOLD_SECONDS, "ttl_sec")
        if request.ttl_sec <= 0:
            raise Invalid(f"ttl_sec is {request.ttl_sec:g}: want more than 0", "ttl_sec", "out_of_range")
    return request


def read_alerts(body: bytes) -> AlertsIn:
    """The checked webhook of Alertmanager."""
    request = _read_alerts_json(body)
    for i, alert in enumerate(request.alerts):
        if alert.labels.get("breaker"):  # an empty label is none
            check_name(alert.labels["breaker"], f"alerts[{i}].labels.breaker", "breaker")
    return request
