"""The rows of the policy's two tables, and what each cell of a policy may hold.

Pure.  A policy is checked once, at birth, so that sizing an order never meets a cell it cannot use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from riskrails.errors import PolicyError

if TYPE_CHECKING:
    from riskrails.policy import Policy

__all__ = ["StrategyRow", "TimeframeRow", "check_policy"]


class TimeframeRow(NamedTuple):
    """One timeframe: its length, the usual ATR(14)/price of BTC-USD on it, and the largest plausible one."""

    minutes: int
    atr_ref: float
    atr_max: float


class StrategyRow(NamedTuple):
    """One strategy type."""

    k: float
    """Stop distance in ATRs."""
    type_risk: float
    """Share of the strategy's budget one trade may use."""
    hold_bars: float
    """Expected holding time, bars of the base timeframe."""
    max_spread_bps: float
    lev_max: float
    stress: float
    neutral: float
    trend: float
    """The three regime multipliers."""
    alpha: float
    """Adverse selection of resting orders, in one-minute standard deviations; infinity: never rest."""


_UNIT = "a fraction, 0.012 for 1.2 %"
_RANGES: dict[str, tuple[float, float, bool, str]] = {
    # name: (lowest, highest, lowest excluded, unit)
    "r_total": (0, 1, True, _UNIT),
    "r_max": (0, 1, True, _UNIT),
    "h_max": (0, 1, True, _UNIT),
    "min_share": (0, 1, False, "a share"),
    "share_max_periods": (0, 1e6, True, "allocator periods"),
    "kelly_fraction": (0, 1, True, "a fraction of full Kelly"),
    "kelly_min_trades": (1, 1e9, False, "trades"),
    "kelly_confidence": (0.5, 1, True, "a probability"),
    "gross_max": (0, 100, True, "multiples of equity"),
    "sym_max": (0, 100, True, "multiples of equity"),
    "order_max": (0, 100, True, "multiples of equity"),
    "tau_sym": (0, 10, True, "a fraction a year"),
    "max_positions": (0, 1e6, False, "positions"),
    "dd_soft": (0, 1, False, _UNIT),
    "dd_max": (0, 1, True, _UNIT),
    "daily_loss_max": (0, 1, True, _UNIT),
    "stop_floor_min": (0, 0.25, True, _UNIT),
    "stop_floor_atr_ref": (0, 100, False, "reference ATRs"),
    "stop_floor_spreads": (0, 100, False, "spreads"),
    "stop_max": (0, 0.5, True, _UNIT),
    "stop_max_atr_ref": (0, 1000, True, "reference ATRs"),
    "gap_base": (0, 10, False, "a fraction of the stop"),
    "gap_event": (0, 10, False, "a fraction of the stop"),
    "gap_illiquid": (0, 10, False, "a fraction of the stop"),
    "impact_y": (0, 10, False, "a factor"),
    "atr_per_sigma": (0, 10, True, "standard deviations"),
    "fee_taker_bps": (0, 1000, False, "basis points a side"),
    "fee_maker_bps": (-1000, 1000, False, "basis points a side"),
    "regime_unknown": (0, 1, False, "a multiplier"),
    "vol_target": (0, 100, True, "reference ATRs"),
    "vol_floor": (0, 1, False, "a multiplier"),
    "spread_soft": (0, 0.999, False, "a share of max_spread_bps"),
    "spread_floor": (0, 1, False, "a multiplier"),
    "event_slope": (0, 1, False, "a slope"),
    "event_slope_event": (0, 1, False, "a slope"),
    "velocity_soft": (0, 1000, False, "standard deviations a minute"),
    "velocity_hard": (0, 1000, True, "standard deviations a minute"),
    "velocity_floor": (0, 1, False, "a multiplier"),
    "liq_base": (0, 1, False, "a multiplier"),
    "funding_soft": (0, 1, False, "a fraction per 8 h"),
    "funding_hard": (0, 1, True, "a fraction per 8 h"),
    "funding_floor": (0, 1, False, "a multiplier"),
    "m_min": (0, 1, False, "a multiplier"),
    "liq_score_min": (0, 1, False, "a score"),
    "event_heat_max": (0, 1, True, "a score"),
    "velocity_max": (0, 1000, True, "standard deviations a minute"),
    "funding_max": (0, 1, True, "a fraction per 8 h"),
    "funding_hold_hours": (0, 1e6, False, "hours"),
    "depth_share": (0, 1, True, "a share of depth"),
    "participation_now": (0, 1, True, "a share of a minute's volume"),
    "participation_twap": (0, 1, True, "a share of volume"),
    "twap_minutes": (1, 1440, False, "minutes"),
    "slices_max": (1, 10_000, False, "orders"),
    "maker_heat_max": (0, 1, False, "a score"),
    "kappa": (1, 100, False, "stop distances"),
    "maintenance_margin": (0, 0.5, False, _UNIT),
    "min_notional": (0, 1e9, False, "USD"),
    "funding_plausible": (0, 1, True, "a fraction per 8 h"),
    "spread_plausible_bps": (0, 10_000, True, "basis points"),
    "exposure_mismatch": (1, 100, False, "a factor"),
    "breaker_max_age_seconds": (0, 86_400, True, "seconds"),
    "drawdown_max_age_seconds": (0, 86_400, True, "seconds"),
}
_INTEGERS = frozenset({"kelly_min_trades", "max_positions", "slices_max"})

_TIMEFRAME_RANGES: dict[str, tuple[float, float, bool, str]] = {
    "minutes": (1, 525_600, False, "minutes"),
    "atr_ref": (0, 1, True, "a fraction of price"),
    "atr_max": (0, 1, True, "a fraction of price"),
}
_STRATEGY_RANGES: dict[str, tuple[float, float, bool, str]] = {
    "k": (0, 100, True, "ATRs"),
    "type_risk": (0, 1, True, "a share of the budget"),
    "hold_bars": (0, 1e6, True, "bars"),
    "max_spread_bps": (0, 10_000, True, "basis points"),
    "lev_max": (1, 1000, False, "times equity"),
    "stress": (0, 1, False, "a multiplier"),
    "neutral": (0, 1, False, "a multiplier"),
    "trend": (0, 1, False, "a multiplier"),
    "alpha": (0, math.inf, False, "one-minute standard deviations, or inf"),
}


def _check_cell(
    cell: str, value: object, limits: tuple[float, float, bool, str], *, whole: bool = False
) -> None:
    """Refuse one value that is not a number inside its limits."""
    low, high, low_excluded, unit = limits
    bounds = f"{'above' if low_excluded else 'from'} {low:g} to {high:g}"
    wanted = f"want a whole number {bounds} ({unit})" if whole else f"want {unit}, {bounds}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PolicyError(cell, f"{cell}={value!r} is not a number: {wanted}")
    if whole and value != int(value if math.isfinite(value) else 0):
        raise PolicyError(cell, f"{cell}={value!r}: {wanted}")
    if not low <= value <= high or (low_excluded and value == low):
        raise PolicyError(cell, f"{cell}={value!r}: {wanted}")


def _check_rows(
    table: str,
    rows: object,
    kind: type[tuple[object, ...]],
    limits: dict[str, tuple[float, float, bool, str]],
) -> None:
    """Refuse a table that is empty, has rows of another shape, or a cell out of range."""
    if not isinstance(rows, Mapping) or not rows:
        raise PolicyError(table, f"{table}={rows!r}: want at least one row")
    for name, row in rows.items():
        if not isinstance(name, str) or not name:
            raise PolicyError(table, f"{table}: row name {name!r}: want a non-empty text")
        if not isinstance(row, kind):
            raise PolicyError(f"{table}.{name}", f"{table}.{name}={row!r}: want a {kind.__name__}")
        for column, limit in limits.items():
            whole = column == "minutes"
            _check_cell(f"{table}.{name}.{column}", getattr(row, column), limit, whole=whole)


def check_policy(policy: Policy) -> None:
    """Refuse a policy with a cell out of range or two cells that contradict each other.

    Raises:
        PolicyError: With the cell's name.
    """
    if isinstance(policy.version, bool) or not isinstance(policy.version, int) or policy.version < 1:
        raise PolicyError("version", f"version={policy.version!r}: want a whole number of at least 1")
    if not isinstance(policy.kelly_enabled, bool):
        raise PolicyError("kelly_enabled", f"kelly_enabled={policy.kelly_enabled!r}: want true or false")
    for name, limits in _RANGES.items():
        _check_cell(name, getattr(policy, name), limits, whole=name in _INTEGERS)
    _check_rows("timeframes", policy.timeframes, TimeframeRow, _TIMEFRAME_RANGES)
    _check_rows("strategies", policy.strategies, StrategyRow, _STRATEGY_RANGES)
    for low, high in (
        ("dd_soft", "dd_max"),
        ("velocity_soft", "velocity_hard"),
        ("funding_soft", "funding_hard"),
    ):
        if not getattr(policy, low) < getattr(policy, high):
            raise PolicyError(
                low, f"{low}={getattr(policy, low)!r}, {high}={getattr(policy, high)!r}: want {low} < {high}"
            )
    if policy.r_max > policy.h_max:
        raise PolicyError("r_max", f"r_max={policy.r_max!r}, h_max={policy.h_max!r}: want r_max ≤ h_max")
    if policy.fee_maker_bps > policy.fee_taker_bps:
        raise PolicyError(
            "fee_maker_bps",
            f"fee_maker_bps={policy.fee_maker_bps!r}: want at most fee_taker_bps={policy.fee_taker_bps!r}",
        )
    if not policy.kelly_confidence < 1:
        raise PolicyError("kelly_confidence", f"kelly_confidence={policy.kelly_confidence!r}: want below 1")
    for name, tf in policy.timeframes.items():
        if not tf.atr_ref <= tf.atr_max:
            raise PolicyError(
                f"timeframes.{name}.atr_ref",
                f"timeframes.{name}.atr_ref={tf.atr_ref!r}, atr_max={tf.atr_max!r}: want atr_ref ≤ atr_max",
            )
        ceiling = min(policy.stop_max, policy.stop_max_atr_ref * tf.atr_ref)
        floor = max(policy.stop_floor_min, policy.stop_floor_atr_ref * tf.atr_ref)
        if floor > ceiling:
            raise PolicyError(
                f"timeframes.{name}.atr_ref",
                f"timeframes.{name}.atr_ref={tf.atr_ref!r}: the stop's floor {floor:g} lies above its "
                f"ceiling {ceiling:g}, no order could pass",
            )
