"""What the store keeps beside pushed groups: one frozen value per kind of record.

Pure.  msgspec writes them as JSON documents; a document read back equals the one written.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "BREAKERS",
    "DEFAULT_ENGINE",
    "PNL_BUCKETS",
    "RESULTS",
    "SIDES",
    "SOURCES",
    "BreakerChange",
    "BreakerDoc",
    "EngineDoc",
    "Hold",
    "Totals",
    "Trade",
    "WeightsDoc",
]

DEFAULT_ENGINE = "default"
EVERY_ENGINE = "*"
"""Engine of a breaker record that an engine seen later starts from."""
BREAKERS = ("equity", "venue", "daily_loss", "manual")
"""Breakers that always exist."""
SOURCES = ("engine", "operator", "alert")
SIDES = ("buy", "sell")
RESULTS = ("win", "loss", "flat", "open")
PNL_BUCKETS = (-10000.0, -1000.0, -100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Upper bounds of `trading_trade_pnl_usd`, symmetric decades (JC)."""


class EngineDoc(msgspec.Struct, frozen=True, kw_only=True):
    """Last values of one engine, each with when it came.

    Attributes:
        scalars: Field to (value as pushed, epoch seconds).
        strategies: Field to strategy to (value as pushed, epoch seconds).
        info: version, mode, quote as far as pushed.
    """

    scalars: dict[str, tuple[float, float]] = {}
    strategies: dict[str, dict[str, tuple[float, float]]] = {}
    info: dict[str, str] = {}
    pushed_at: float = 0.0


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What all trades of one strategy of one engine add up to; only ever grows.

    Attributes:
        counts: "side/result" to number of trades.
        buckets: Trades per bucket of PNL_BUCKETS and one beyond, not cumulative.
    """

    counts: dict[str, int] = {}
    volume_usd: float = 0.0
    fees_usd: float = 0.0
    rebates_usd: float = 0.0
    profit_usd: float = 0.0
    loss_usd: float = 0.0
    pnl_sum_usd: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(PNL_BUCKETS) + 1)


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why one source keeps a breaker open.

    Attributes:
        until: When it lets go by itself; None is never.
        keys: Fingerprints of the alerts that hold it, source alert only.
        latched: An alert's end does not release it; an operator must.
    """

    since: float
    reason: str
    until: float | None = None
    keys: tuple[str, ...] = ()
    latched: bool = False


class BreakerDoc(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker of one engine."""

    holds: dict[str, Hold] = {}
    trips: int = 0
    changed_at: float = 0.0

    @property
    def open(self) -> bool:
        """Whether any source holds it."""
        return bool(self.holds)


class BreakerChange(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a breaker's history: what one source did, and what the breaker was after it."""

    seq: int
    at: float
    engine: str
    breaker: str
    source: str
    tripped: bool
    open: bool
    reason: str
    who: str


class Trade(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One trade, as kept.

    Attributes:
        seq: Order of arrival, what a cursor stands on.
        ts: Epoch seconds.
        pnl_usd: None for a trade that opens.
    """

    engine: str
    trade_id: str
    seq: int
    ts: float
    strategy: str
    symbol: str
    side: str
    qty: float
    price: float
    fee_usd: float
    pnl_usd: float | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """What must be equal for two trades of one id to be the same trade."""
        return (
            self.ts,
            self.strategy,
            self.symbol,
            self.side,
            self.qty,
            self.price,
            self.fee_usd,
            self.pnl_usd,
        )

    @property
    def result(self) -> str:
        """win, loss, flat, or open without a PnL."""
        if self.pnl_usd is None:
            return "open"
        return "win" if self.pnl_usd > 0 else "loss" if self.pnl_usd < 0 else "flat"


class WeightsDoc(msgspec.Struct, frozen=True, kw_only=True):
    """Risk shares that were put in force, and by whom."""

    version: int = 0
    weights: dict[str, float] = {}
    scores: dict[str, float] = {}
    reason: str = ""
    as_of: float | None = None
    updated_at: float = 0.0
    who: str = ""
