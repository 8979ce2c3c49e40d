"""What the JSON routes answer: the shapes, as the OpenAPI page shows them, and their making from the records.

Pure.  Times are epoch seconds, ages seconds, amounts USD; null stands for what was never there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypedDict

import msgspec

from exporter.records import (
    EVERY_ENGINE,
    BreakerChange,
    BreakerDoc,
    EngineDoc,
    Hold,
    Trade,
    WeightsDoc,
)
from exporter.state import State

__all__ = [
    "Accepted",
    "AlertsTaken",
    "BreakerView",
    "Breakers",
    "BreakersHistory",
    "OneBreaker",
    "Status",
    "Trades",
    "TradesAccepted",
    "Weights",
    "WeightsHistory",
    "breaker_view",
    "breakers_of",
    "status_of",
    "status_tag",
    "trade_view",
    "weights_view",
]


class Accepted(TypedDict):
    """POST /metrics/push: how many values were taken."""

    accepted: int


class TradesAccepted(TypedDict):
    """POST /trades: how many were new, and how many were there already."""

    accepted: int
    duplicates: int


class TradeView(TypedDict):
    """One trade; one without pnl_usd opens."""

    trade_id: str
    ts: float
    strategy: str
    symbol: str
    side: str
    qty: float
    price: float
    fee_usd: float
    pnl_usd: float | None
    engine: str


class Trades(TypedDict):
    """GET /trades: one page; next_cursor is null on the last."""

    trades: list[TradeView]
    next_cursor: str | None


class HoldView(TypedDict):
    """Why one source keeps a breaker open, and until when."""

    since: float
    reason: str
    until: float | None
    latched: bool


class BreakerView(TypedDict):
    """A breaker; since and reason are of the source that has held it longest."""

    open: bool
    sources: list[str]
    since: float | None
    reason: str | None
    trips: int
    holds: dict[str, HoldView]
    changed_at: float | None


class OneBreaker(BreakerView):
    """POST /breakers/{name}: the breaker after it."""

    breaker: str
    engine: str


class Breakers(TypedDict):
    """GET /breakers: halted while any is open."""

    engine: str
    halted: bool
    breakers: dict[str, BreakerView]


class BreakersHistory(TypedDict):
    """GET /breakers/history: one page; next_before is null on the last."""

    history: list[BreakerChange]
    next_before: int | None


class Weights(TypedDict):
    """Risk shares that were put in force, and by whom; version 0 is none yet."""

    version: int
    weights: dict[str, float]
    scores: dict[str, float]
    reason: str
    as_of: float | None
    updated_at: float | None
    who: str


class WeightsHistory(TypedDict):
    """GET /allocator/weights/history: one page; next_before is null on the last."""

    history: list[Weights]
    next_before: int | None


class AlertsTaken(TypedDict):
    """POST /alerts: how many came, which breakers they moved, and how many name none."""

    accepted: int
    tripped: list[str]
    released: list[str]
    ignored: int


class Aged(TypedDict):
    """A value as pushed, and how old it is."""

    value: float
    age_seconds: float


class WeightsInForce(TypedDict):
    """Which version of the risk shares is in force."""

    version: int
    updated_at: float | None
    age_seconds: float | None
    reason: str


class Status(TypedDict):
    """GET /status: everything the deck shows."""

    version: str
    engine: str
    engines: list[str]
    now: float
    halted: bool
    metrics: dict[str, Aged]
    pushed_at: float | None
    age_seconds: float | None
    info: dict[str, str]
    pnl_by_strategy: dict[str, float]
    exposure_by_strategy: dict[str, float]
    drawdown_pct_by_strategy: dict[str, float]
    pnl_age_seconds: dict[str, float]
    risk_share: dict[str, float]
    weights: WeightsInForce
    breakers: dict[str, BreakerView]
    groups: int
    series: int


def trade_view(trade: Trade) -> TradeView:
    """A trade without its place in the store."""
    return {
        "trade_id": trade.trade_id,
        "ts": trade.ts,
        "strategy": trade.strategy,
        "symbol": trade.symbol,
        "side": trade.side,
        "qty": trade.qty,
        "price": trade.price,
        "fee_usd": trade.fee_usd,
        "pnl_usd": trade.pnl_usd,
        "engine": trade.engine,
    }


def weights_view(doc: WeightsDoc) -> Weights:
    """Risk shares, with null for a time that never was."""
    return {
        "version": doc.version,
        "weights": doc.weights,
        "scores": doc.scores,
        "reason": doc.reason,
        "as_of": doc.as_of,
        "updated_at": doc.updated_at or None,
        "who": doc.who,
    }


def breaker_view(doc: BreakerDoc, now: float) -> BreakerView:
    """A breaker as it is now: a hold whose time is over holds no more."""
    holds = {source: hold for source, hold in doc.holds.items() if hold.until is None or hold.until > now}
    first = min(holds.values(), key=lambda hold: hold.since, default=None)
    return {
        "open": bool(holds),
        "sources": sorted(holds),
        "since": first.since if first else None,
        "reason": first.reason if first else None,
        "trips": doc.trips,
        "holds": {source: _hold_view(hold) for source, hold in sorted(holds.items())},
        "changed_at": doc.changed_at or None,
    }


def _hold_view(hold: Hold) -> HoldView:
    return {"since": hold.since, "reason": hold.reason, "until": hold.until, "latched": hold.latched}


def breakers_of(state: State, engine: str, now: float) -> Breakers:
    """An engine's breakers; one that never pushed is shown what every engine starts from."""
    owner = engine if (engine, "manual") in state.breakers else EVERY_ENGINE
    views = {
        name: breaker_view(doc, now) for (of, name), doc in sorted(state.breakers.items()) if of == owner
    }
    return {"engine": engine, "halted": any(view["open"] for view in views.values()), "breakers": views}


def status_of(state: State, engine: str, now: float, version: str) -> Status:
    """Everything the deck shows of one engine."""
    doc = state.engines.get(engine) or EngineDoc()
    weights = state.weights
    breakers = breakers_of(state, engine, now)

    def by_strategy(field: str) -> dict[str, float]:
        return {strategy: value for strategy, (value, _) in _pairs(doc, field)}

    return {
        "version": version,
        "engine": engine,
        "engines": sorted(state.engine_names()),
        "now": now,
        "halted": breakers["halted"],
        "metrics": {
            name: {"value": value, "age_seconds": max(now - at, 0.0)}
            for name, (value, at) in doc.scalars.items()
        },
        "pushed_at": doc.pushed_at or None,
        "age_seconds": _age(doc.pushed_at, now),
        "info": doc.info,
        "pnl_by_strategy": by_strategy("pnl_by_strategy"),
        "exposure_by_strategy": by_strategy("exposure_by_strategy"),
        "drawdown_pct_by_strategy": by_strategy("drawdown_pct_by_strategy"),
        "pnl_age_seconds": {
            strategy: max(now - at, 0.0) for strategy, (_, at) in _pairs(doc, "pnl_by_strategy")
        },
        "risk_share": weights.weights,
        "weights": {
            "version": weights.version,
            "updated_at": weights.updated_at or None,
            "age_seconds": _age(weights.updated_at, now),
            "reason": weights.reason,
        },
        "breakers": breakers["breakers"],
        "groups": len(state.groups),
        "series": state.all_series,
    }


def status_tag(status: Status) -> bytes:
    """A name for what an answer shows, ages apart: it is the same after a restart and on another replica."""
    ageless = {name: value for name, value in status.items() if name not in _AGES}
    ageless["metrics"] = {name: aged["value"] for name, aged in status["metrics"].items()}
    ageless["weights"] = {**status["weights"], "age_seconds": None}
    return hashlib.blake2b(msgspec.json.encode(ageless), digest_size=12).hexdigest().encode()


_AGES = frozenset({"now", "age_seconds", "pnl_age_seconds"})


def _pairs(doc: EngineDoc, field: str) -> Iterable[tuple[str, tuple[float, float]]]:
    return doc.strategies.get(field, {}).items()


def _age(at: float, now: float) -> float | None:
    return max(now - at, 0.0) if at else None
