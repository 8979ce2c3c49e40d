"""The constants of one strategy type on one timeframe, worked out once so that a call only reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from riskrails.policy import Policy

__all__ = ["Cell", "cells_of"]


@dataclass(frozen=True, slots=True)
class Cell:
    """The constants of one (strat_type, base_tf) pair, worked out once so that a call only reads them."""

    kind: str
    tf: str
    k: float
    atr_ref: float
    atr_max: float
    stop_floor: float
    stop_ceiling: float
    max_spread_bps: float
    max_spread: float
    spread_soft: float
    type_risk: float
    lev_max: float
    regimes: Mapping[str, float]
    alpha: float
    is_event: bool
    is_scalp: bool
    event_slope: float
    holds_funding: bool
    funding_periods: float
    """Funding payments expected over the holding time."""
    sigma_per_atr: float
    """One-minute standard deviation per unit of ATR."""
    impact_per_sigma: float
    """Impact of getting in and out, per unit of one-minute standard deviation."""
    year_per_minute: float
    """Yearly standard deviation per unit of one-minute standard deviation."""
    vol_numerator: float
    """vol_target × atr_ref, above m_vol's ATR."""

    @classmethod
    def of(cls, policy: Policy, kind: str, tf: str) -> Cell:
        """Work the constants out of one row of each table."""
        row, frame = policy.strategies[kind], policy.timeframes[tf]
        is_event = kind == "event"
        return cls(
            kind=kind,
            tf=tf,
            k=float(row.k),
            atr_ref=float(frame.atr_ref),
            atr_max=float(frame.atr_max),
            stop_floor=max(float(policy.stop_floor_min), policy.stop_floor_atr_ref * frame.atr_ref),
            stop_ceiling=min(float(policy.stop_max), policy.stop_max_atr_ref * frame.atr_ref),
            max_spread_bps=float(row.max_spread_bps),
            max_spread=row.max_spread_bps / 1e4,
            spread_soft=policy.spread_soft * row.max_spread_bps,
            type_risk=float(row.type_risk),
            lev_max=float(row.lev_max),
            regimes={"stress": float(row.stress), "neutral": float(row.neutral), "trend": float(row.trend)},
            alpha=float(row.alpha),
            is_event=is_event,
            is_scalp=kind == "scalp",
            event_slope=float(policy.event_slope_event if is_event else policy.event_slope),
            holds_funding=row.hold_bars * frame.minutes >= 60 * policy.funding_hold_hours,
            funding_periods=row.hold_bars * frame.minutes / 480,
            sigma_per_atr=1 / (policy.atr_per_sigma * math.sqrt(frame.minutes)),
            impact_per_sigma=2 * policy.impact_y * math.sqrt(policy.participation_now),
            year_per_minute=math.sqrt(525_600),
            vol_numerator=policy.vol_target * frame.atr_ref,
        )


def cells_of(policy: Policy) -> dict[tuple[str, str], Cell]:
    """Every (strat_type, base_tf) pair with its constants."""
    return {(kind, tf): Cell.of(policy, kind, tf) for kind in policy.strategies for tf in policy.timeframes}
