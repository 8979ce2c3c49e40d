"""The answer: an Order that says how much, how, and why not more.

Pure.  Every cap, the binding one, every multiplier, every reason and the cost of being wrong stand in the
object, so that "why this size?" is answered from it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MODES", "NO_CODES", "REASONS", "WARNINGS", "Codes", "Order", "make_order"]

MODES = ("skip", "reduce", "twap", "maker", "taker")
"""No order; only orders that cut exposure; slices over ten minutes; a resting order; at the market."""

REASONS = (
    # The data of the call.
    "BAD_PRICE",
    "BAD_ATR",
    "BAD_SPREAD",
    "BAD_DEPTH",
    "BAD_VOLUME",
    "BAD_FUNDING",
    "BAD_EVENT_HEAT",
    "BAD_VELOCITY",
    "BAD_LIQ_SCORE",
    "BAD_EQUITY",
    "BAD_OPEN_RISK",
    "BAD_EXPOSURE_TOTAL",
    "BAD_EXPOSURE_SYMBOL",
    # Gates.
    "HALTED",
    "DRAWDOWN",
    "NO_EQUITY",
    "ZERO_ATR",
    "NO_LIQUIDITY",
    "MAX_POSITIONS",
    "SPREAD_WIDE",
    "LIQ_SCORE_LOW",
    "EVENT_GATE",
    "VELOCITY_GATE",
    "FUNDING_EXTREME",
    # Stop, multipliers, budget.
    "STOP_TOO_WIDE",
    "SCALED_OUT",
    "NEGATIVE_EDGE",
    # Caps.
    "HEAT_FULL",
    "LEVERAGE_FULL",
    "TOTAL_EXPOSURE_FULL",
    "SYMBOL_EXPOSURE_FULL",
    "SYMBOL_VOL_FULL",
    "BELOW_MIN_NOTIONAL",
    "TICK_TOO_COARSE",
)
"""Every code that makes an order's size 0, in the order in which an Order lists them."""

WARNINGS = (
    "EXPOSURE_MISMATCH",
    "SHARE_MISSING",
    "SHARES_STALE",
    "BREAKERS_UNKNOWN",
    "DRAWDOWN_UNKNOWN",
    "DAILY_PNL_UNKNOWN",
    "REGIME_UNKNOWN",
    "STEP_UNKNOWN",
    "TWAP_SLICES_CAPPED",
)
"""Every code that leaves the size as it is, or makes it smaller, and should be looked at."""


class Codes(tuple[str, ...]):
    """Codes or sentences: a tuple, so that an order stays as it is, equal to the list JSON makes of it.

    >>> Codes(["HALTED"]) == ["HALTED"] == Codes(["HALTED"])
    True
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


NO_CODES = Codes()


@dataclass(frozen=True)
class Order:
    """How much to open, and why not more; immutable, JSON-safe, `order["size_usd"]` works too.

    Codes are tuples that equal lists as attributes, lists as `order["reasons"]` and in `to_dict`.  cost_bps,
    caps and multipliers are plain dicts, so that an order copies and pickles; they are its own, to be read
    and not written.

    Attributes:
        mode: One of MODES.
        size_usd: Notional, USD; 0 exactly when mode is skip or reduce, exactly when there are reasons.
        qty: size_usd in the venue's units, a multiple of its step.
        stop_pct: Stop distance, fraction of price; 0 when the order was refused before a stop was set.
        stop_price_long, stop_price_short: The stop of either side, rounded toward the entry; None as above.
        leverage: To set at the venue, so that the stop triggers before liquidation.
        risk_usd: Loss if the stop is hit, every cost included.
        risk_pct: The same, fraction of equity.
        loss_per_usd: Loss per dollar of position, fraction.
        cost_bps: Its parts beyond the stop distance, basis points: fee, spread, impact, funding, gap.
        caps: Room under each cap, USD; a cap that does not apply is absent.
        binding: The smallest cap; None when no cap decided.
        multipliers: `riskrails.policy.MULTIPLIERS`, each in [0, 1].
        reasons: Why the size is 0, codes of REASONS.
        warnings: Codes of WARNINGS.
        slices: Orders to split it into; 0 without an order.
        reduce_usd: In mode reduce, exposure above the caps, USD; at most the gross exposure.
        policy_version: Of the policy that decided.
        messages: The reasons in words: field, what came, what was wanted.
    """

    strat_name: str
    symbol: str
    mode: str
    size_usd: float
    qty: float
    stop_pct: float
    stop_price_long: float | None
    stop_price_short: float | None
    leverage: float
    risk_usd: float
    risk_pct: float
    loss_per_usd: float
    cost_bps: Mapping[str, float]
    caps: Mapping[str, float]
    binding: str | None
    multipliers: Mapping[str, float]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    slices: int
    reduce_usd: float
    policy_version: int
    messages: tuple[str, ...] = field(default=NO_CODES, compare=False)

    def __getitem__(self, name: str) -> Any:
        """A field by its name, codes as a list, as in `to_dict`; KeyError for anything else."""
        value = self.__dict__[name]
        return list(value) if isinstance(value, tuple) else value

    def __iter__(self) -> Iterator[str]:
        """The field names, so that dict(order) works."""
        return iter(self.__dict__)

    def keys(self) -> Iterator[str]:
        """The field names."""
        return iter(self.__dict__)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and texts; what JSON can carry, and equal after the trip."""
        plain = dict(self.__dict__)
        for name in ("cost_bps", "caps", "multipliers"):
            plain[name] = dict(plain[name])
        for name in ("reasons", "warnings", "messages"):
            plain[name] = list(plain[name])
        return plain

    def to_json(self) -> str:
        """One line of JSON; NaN and infinity cannot occur and would be an error here."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Order:
        """Back from `to_dict` or parsed JSON."""
        values = dict(plain)
        for name in ("reasons", "warnings", "messages"):
            values[name] = Codes(values[name])
        return cls(**values)

    def explain(self) -> str:
        """Why this size, as a short table for a person.

        >>> print(order.explain())  # doctest: +SKIP
        """
        return "\n".join(_explain(self))


def make_order(fields: dict[str, Any]) -> Order:
    """An Order around a dict of all its fields, taken over as it is.

    The generated constructor of a frozen dataclass sets each field through object.__setattr__, which would
    take a fifth of a call's time.
    """
    order = object.__new__(Order)
    object.__setattr__(order, "__dict__", fields)
    return order


def _usd(value: float) -> str:
    return f"{value:,.2f}"


def _explain(order: Order) -> Iterator[str]:
    head = f"{order.strat_name} {order.symbol}: {order.mode.upper()}"
    if order.size_usd > 0.0:
        head += f" {_usd(order.size_usd)} USD, quantity {order.qty:.10g}"
        if order.slices > 1:
            head += f" in {order.slices} slices"
    yield head
    for text in order.messages or order.reasons:
        yield f"  because      {text}"
    if order.mode == "reduce":
        yield f"  reduce       {_usd(order.reduce_usd)} USD above the caps"
    if order.stop_pct > 0.0:
        prices = ""
        if order.stop_price_long is not None and order.stop_price_short is not None:
            prices = f": long {order.stop_price_long:.10g}, short {order.stop_price_short:.10g}"
        yield f"  stop         {order.stop_pct:.3%} of price{prices}"
        costs = ", ".join(f"{name} {value:.2f}" for name, value in order.cost_bps.items())
        costs = f"stop {order.stop_pct * 1e4:.2f} bps, {costs}"
        yield f"  loss         {order.loss_per_usd:.3%} of size ({costs})"
        yield f"  risk         {_usd(order.risk_usd)} USD, {order.risk_pct:.4%} of equity"
        yield f"  leverage     at most {order.leverage:g}x at the venue"
    if order.multipliers:
        yield "  multipliers  " + ", ".join(
            f"{name} {value:.3f}" for name, value in order.multipliers.items()
        )
    for name, room in order.caps.items():
        mark = "  <- binding" if name == order.binding else ""
        yield f"  cap          {name:<16} {_usd(room):>18} USD{mark}"
    if order.warnings:
        yield "  warnings     " + ", ".join(order.warnings)
    yield f"  policy       version {order.policy_version}"
