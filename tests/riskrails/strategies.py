"""Hypothesis strategies: calls from all over the plausible range, and states to make them under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from riskrails import Policy, RiskRails, RiskState, VenueRules
from tests.riskrails.desk import call

POLICY = Policy()


def examples(most: int) -> settings:
    """At most so many examples; fewer where the profile in force says so."""
    return settings(max_examples=min(most, settings().max_examples))


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Floats of a closed range, its edges included."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def calls(draw: st.DrawFn, /, **fixed: Any) -> dict[str, Any]:
    """Arguments inside every plausible band; most pass the gates, many do not."""
    tf = fixed.get("base_tf") or draw(st.sampled_from(list(POLICY.timeframes)))
    frame = POLICY.timeframes[tf]
    kind = draw(st.sampled_from(list(POLICY.strategies)))
    wild = draw(st.integers(0, 3)) == 0  # three in four calls stay clear of the gates
    equity = draw(numbers(1000.0, 1e6))
    most = equity if wild else 0.2 * equity
    symbols = draw(
        st.dictionaries(st.sampled_from(["BTC-USD", "ETH-USD", "SOL-USD"]), numbers(-most, most), max_size=3)
    )
    drawn: dict[str, Any] = {
        "strat_name": draw(st.sampled_from(["momentum", "trend", "nobody"])),
        "strat_type": kind,
        "base_tf": tf,
        "leverage_allowed": draw(st.sampled_from([True, False, 0, 1.5, 3])),
        "price": draw(numbers(1e-4, 1e5)),
        "atr_pct": draw(numbers(frame.atr_ref * 0.1, min(frame.atr_max, frame.atr_ref * 3))),
        "spread_bps": draw(numbers(0.0, (1.1 if wild else 0.8) * POLICY.strategies[kind].max_spread_bps)),
        "depth10bps_usd": draw(numbers(1.0 if wild else 1e4, 1e7)),
        "vol1m_usd": draw(numbers(1.0 if wild else 1e4, 1e7)),
        "funding": draw(numbers(-0.0035, 0.0035) if wild else numbers(-0.002, 0.002)),
        "event_heat": draw(numbers(0.0, 1.0 if wild else 0.7)),
        "velocity": draw(numbers(-7.0, 7.0) if wild else numbers(-4.0, 4.0)),
        "liq_score": draw(numbers(0.0 if wild else 0.2, 1.0)),
        "equity_usd": equity,
        "open_risk_sum_pct": draw(numbers(0.0, 0.07 if wild else 0.05)),
        "open_positions": draw(st.integers(0, 9 if wild else 7)),
        "exposure_total_usd": draw(numbers(0.0, 3.0 * most)),
        "exposure_by_symbol": symbols,
        "regime_signal": draw(
            st.one_of(st.sampled_from(["stress", "neutral", "trend", None, "?"]), numbers(-1, 1))
        ),
    }
    return call(**(drawn | fixed))


TICKS = (None, "0.0001", "0.01", "0.5")


@st.composite
def venues(draw: st.DrawFn, /, ticks: Sequence[str | None] = TICKS) -> VenueRules:
    """Rules with every step a venue is likely to use."""
    return VenueRules(
        qty_step=draw(st.sampled_from([None, "0.00001", "0.001", "0.1", "1", "5", "100"])),
        price_tick=draw(st.sampled_from(ticks)),
        min_qty=draw(st.sampled_from([0.0, 0.001, 1.0])),
        max_qty=draw(st.sampled_from([float("inf"), 1e6])),
        min_notional=draw(st.sampled_from([0.0, 5.0, 100.0])),
        max_notional=draw(st.sampled_from([float("inf"), 1e5])),
        multiplier=draw(st.sampled_from([1.0, 0.01, 10.0])),
    )


@st.composite
def states(draw: st.DrawFn, /, **fixed: Any) -> RiskState:
    """States in which trading is mostly allowed."""
    drawn: dict[str, Any] = {
        "risk_shares": {"momentum": draw(numbers(0.05, 0.55)), "trend": draw(numbers(0.05, 0.45))},
        "share_age_seconds": draw(st.sampled_from([0.0, 0.0, 1e4])),
        "drawdown_pct": draw(st.one_of(numbers(0.0, 0.1), numbers(0.0, 0.21))),
        "drawdown_age_seconds": 0.0,
        "breaker_age_seconds": 0.0,
    }
    return RiskState(**(drawn | fixed))


@st.composite
def desks(draw: st.DrawFn, /, ticks: Sequence[str | None] = TICKS, **fixed: Any) -> RiskRails:
    """Rails with drawn venue rules and state."""
    rules = {"BTC-USD": draw(venues(ticks))} if draw(st.booleans()) else {}
    return RiskRails(POLICY, rules, draw(states(**fixed)))
