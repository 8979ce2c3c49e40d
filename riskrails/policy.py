"""The policy: every constant of the sizing, as data, and the multipliers that shrink risk.

Pure.  A constant's reason stands in docs/rails/, one page a rail; a test holds pages and numbers equal.  All
fractions are fractions (0.012 = 1.2 %), `_bps` are basis points, `_usd` US dollars.
"""

# ruff: noqa: PLR1730, FURB136 -- min() and max() are calls, each slower than all the comparisons of a cap

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING

from riskrails.features import as_number
from riskrails.tables import StrategyRow, TimeframeRow, check_policy

if TYPE_CHECKING:
    from riskrails.cells import Cell

__all__ = [
    "MULTIPLIERS",
    "REGIMES",
    "Policy",
    "StrategyRow",
    "TimeframeRow",
    "dynamic_policy",
    "ramp",
    "regime_multiplier",
]

REGIMES = ("stress", "neutral", "trend")
"""The labels a regime signal may carry; as numbers −1, 0 and 1."""

MULTIPLIERS = (
    "m",
    "m_dd",
    "m_regime",
    "m_vol",
    "m_micro",
    "micro_spread",
    "micro_event",
    "micro_velocity",
    "micro_liquidity",
    "micro_funding",
)
"""What `dynamic_policy` answers, in this order: the product, its four factors, the five parts of m_micro."""


def _timeframes() -> Mapping[str, TimeframeRow]:
    return MappingProxyType(
        {
            "1m": TimeframeRow(1, 0.0009, 0.02),
            "3m": TimeframeRow(3, 0.0017, 0.025),
            "5m": TimeframeRow(5, 0.0024, 0.03),
            "15m": TimeframeRow(15, 0.0045, 0.05),
            "30m": TimeframeRow(30, 0.0065, 0.07),
            "1h": TimeframeRow(60, 0.009, 0.12),
            "2h": TimeframeRow(120, 0.0135, 0.15),
            "4h": TimeframeRow(240, 0.020, 0.20),
            "12h": TimeframeRow(720, 0.038, 0.30),
            "1d": TimeframeRow(1440, 0.055, 0.40),
        }
    )


def _strategies() -> Mapping[str, StrategyRow]:
    return MappingProxyType(
        {
            "scalp": StrategyRow(1.2, 0.5, 6, 5, 5, 0.4, 0.8, 0.6, 0.5),
            "momentum": StrategyRow(2.0, 1.0, 24, 12, 3, 0.5, 0.8, 1.0, 1.0),
            "trend": StrategyRow(3.0, 1.0, 100, 25, 2, 0.5, 0.8, 1.0, 0.25),
            "event": StrategyRow(2.5, 0.75, 8, 20, 2, 0.6, 0.8, 0.8, math.inf),
        }
    )


@dataclass(frozen=True)
class Policy:
    """The whole policy, version 1 by default; immutable, checked at birth.

    Raises:
        PolicyError: A cell is out of its range; the message names the cell, what came and what was wanted.
    """

    version: int = 1
    timeframes: Mapping[str, TimeframeRow] = field(default_factory=_timeframes)
    strategies: Mapping[str, StrategyRow] = field(default_factory=_strategies)
    # Budget, fractions of equity.
    r_total: float = 0.02
    r_max: float = 0.01
    h_max: float = 0.06
    min_share: float = 0.05
    share_max_periods: float = 3.0
    kelly_enabled: bool = False
    kelly_fraction: float = 0.25
    kelly_min_trades: int = 100
    kelly_confidence: float = 0.95
    # Exposure, multiples of equity.
    gross_max: float = 2.0
    sym_max: float = 0.75
    order_max: float = 0.5
    tau_sym: float = 0.30
    max_positions: int = 8
    # Drawdown and daily loss, fractions of equity.
    dd_soft: float = 0.05
    dd_max: float = 0.20
    daily_loss_max: float = 0.03
    # Stop distance, fractions of price.
    stop_floor_min: float = 0.002
    stop_floor_atr_ref: float = 0.5
    stop_floor_spreads: float = 3.0
    stop_max: float = 0.25
    stop_max_atr_ref: float = 8.0
    # Loss per dollar.
    gap_base: float = 0.05
    gap_event: float = 0.20
    gap_illiquid: float = 0.10
    impact_y: float = 1.0
    atr_per_sigma: float = 1.25
    fee_taker_bps: float = 5.0
    fee_maker_bps: float = 2.0
    # Multipliers.
    regime_unknown: float = 0.4
    vol_target: float = 1.5
    vol_floor: float = 0.25
    spread_soft: float = 0.5
    spread_floor: float = 0.5
    event_slope: float = 0.7
    event_slope_event: float = 0.3
    velocity_soft: float = 2.0
    velocity_hard: float = 5.0
    velocity_floor: float = 0.4
    liq_base: float = 0.25
    funding_soft: float = 0.0005
    funding_hard: float = 0.003
    funding_floor: float = 0.5
    m_min: float = 0.10
    # Gates.
    liq_score_min: float = 0.15
    event_heat_max: float = 0.9
    velocity_max: float = 6.0
    funding_max: float = 0.003
    funding_hold_hours: float = 8.0
    # Liquidity.
    depth_share: float = 0.25
    participation_now: float = 0.025
    participation_twap: float = 0.05
    twap_minutes: float = 10.0
    slices_max: int = 60
    maker_heat_max: float = 0.5
    # Liquidation and floors.
    kappa: float = 1.5
    maintenance_margin: float = 0.01
    min_notional: float = 10.0
    # Plausibility of inputs.
    funding_plausible: float = 0.03
    spread_plausible_bps: float = 10_000.0
    exposure_mismatch: float = 1.01
    # Ages of the state snapshot, seconds.
    breaker_max_age_seconds: float = 30.0
    drawdown_max_age_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_policy(self)
        object.__setattr__(self, "timeframes", MappingProxyType(dict(self.timeframes)))
        object.__setattr__(self, "strategies", MappingProxyType(dict(self.strategies)))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling and copying: read-only mappings cannot, their contents can."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["timeframes"] = dict(self.timeframes)
        values["strategies"] = dict(self.strategies)
        return _policy, (values,)


def _policy(values: dict[str, object]) -> Policy:
    return Policy(**values)  # type: ignore[arg-type]  # the values of a policy that was checked at birth


def ramp(x: float, soft: float, hard: float, floor: float) -> float:
    """One up to `soft`, down a straight line to `floor` at `hard`, `floor` beyond.

    The clamp at `floor` comes last: just below `hard` the line may round to a hair under it, and a
    multiplier must never rise again.

    >>> ramp(1.5, 1, 2, 0.5)
    0.75
    """
    if x <= soft:
        return 1.0
    if x >= hard:
        return floor
    y = 1.0 - (1.0 - floor) * ((x - soft) / (hard - soft))
    return y if y > floor else floor


def regime_multiplier(regimes: Mapping[str, float], signal: object) -> float | None:
    """The regime's multiplier for a label or a number in [−1, 1]; None when it is neither.

    Args:
        regimes: The type's multipliers for stress (−1), neutral (0) and trend (1).
        signal: A label of REGIMES or a number.
    """
    if isinstance(signal, str):
        return regimes.get(signal)
    s = signal if type(signal) is float else as_number(signal)
    if 0.0 <= s <= 1.0:
        return (1.0 - s) * regimes["neutral"] + s * regimes["trend"]
    if -1.0 <= s < 0.0:
        return (1.0 + s) * regimes["neutral"] - s * regimes["stress"]
    return None


def dynamic_policy(
    policy: Policy,
    cell: Cell,
    drawdown: float,
    m_regime: float,
    atr_pct: float,
    spread_bps: float,
    event_heat: float,
    velocity_abs: float,
    liq_score: float,
    funding_abs: float,
) -> tuple[float, float, float, float, float, float, float, float, float, float]:
    """The multipliers of risk, each in [0, 1], in the order of MULTIPLIERS: policy only shrinks risk.

    The parts of m_micro watch one hazard, a market that cannot be left at the price shown, so the
    smallest of them counts and not their product; different hazards multiply.

    Source: m_dd after Grossman and Zhou (1993), Mathematical Finance 3(3), made linear.
    """
    dd_max = policy.dd_max
    m_dd = 1.0 if drawdown <= policy.dd_soft else (dd_max - drawdown) / (dd_max - policy.dd_soft)
    if m_dd < 0.0:
        m_dd = 0.0
    # At an ATR of exactly 0 the order is refused by ZERO_ATR; the floor is the smaller answer meanwhile.
    m_vol = cell.vol_numerator / atr_pct if atr_pct > 0.0 else 0.0
    if m_vol > 1.0:
        m_vol = 1.0
    elif m_vol < policy.vol_floor:
        m_vol = policy.vol_floor
    spread = 1.0
    if spread_bps > cell.spread_soft:
        spread = ramp(spread_bps, cell.spread_soft, cell.max_spread_bps, policy.spread_floor)
    event = 1.0 - cell.event_slope * event_heat
    velocity = 1.0
    if velocity_abs > policy.velocity_soft:
        velocity = ramp(velocity_abs, policy.velocity_soft, policy.velocity_hard, policy.velocity_floor)
    liquidity = policy.liq_base + (1.0 - policy.liq_base) * liq_score
    if liquidity > 1.0:
        liquidity = 1.0
    funding = 1.0
    if funding_abs > policy.funding_soft:
        funding = ramp(funding_abs, policy.funding_soft, policy.funding_hard, policy.funding_floor)
    m_micro = min(spread, event, velocity, liquidity, funding)
    return (
        m_dd * m_regime * m_vol * m_micro,
        m_dd,
        m_regime,
        m_vol,
        m_micro,
        spread,
        event,
        velocity,
        liquidity,
        funding,
    )
