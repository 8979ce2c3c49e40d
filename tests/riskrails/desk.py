"""The calls the riskrails tests start from: a calm market, one strategy, 100 000 USD."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from riskrails import LiveFeatures, Order, Policy, RiskRails, RiskState, VenueRules

CALM = LiveFeatures(
    symbol="BTC-USD",
    price=60_000.0,
    atr_pct=0.009,
    spread_bps=1.0,
    depth10bps_usd=1e8,
    vol1m_usd=1e8,
    funding=0.0001,
    event_heat=0.1,
    velocity=0.0,
    liq_score=0.9,
)

FEATURES = tuple(name for name in LiveFeatures.__slots__ if name != "symbol")
ACCOUNT = ("equity_usd", "open_risk_sum_pct", "exposure_total_usd")


def call(**changes: Any) -> dict[str, Any]:
    """The arguments of a call that passes every gate; names of features change `live`."""
    live = {name: changes.pop(name) for name in (*FEATURES, "symbol") if name in changes}
    arguments: dict[str, Any] = {
        "strat_name": "momentum",
        "strat_type": "momentum",
        "base_tf": "1h",
        "leverage_allowed": True,
        "live": replace(CALM, **live),
        "equity_usd": 100_000.0,
        "open_risk_sum_pct": 0.0,
        "open_positions": 0,
        "exposure_total_usd": 0.0,
        "exposure_by_symbol": {},
        "regime_signal": "trend",
    }
    unknown = set(changes) - set(arguments) - {"strict"}
    assert not unknown, unknown
    return arguments | changes


def rails(
    policy: Policy | None = None, venue_rules: dict[str, VenueRules] | None = None, **state: Any
) -> RiskRails:
    """Rails whose state is wholly known: share .25 for momentum, no drawdown, no breaker open."""
    known: dict[str, Any] = {
        "risk_shares": {"momentum": 0.25},
        "drawdown_age_seconds": 0.0,
        "breaker_age_seconds": 0.0,
    }
    return RiskRails(policy, venue_rules, RiskState(**(known | state)))


def size(desk: RiskRails | None = None, **changes: Any) -> Order:
    """One order from the calm call with some things changed."""
    return (desk or rails()).compute_order(**call(**changes))
