"""The default tables, number by number; a policy stays itself when copied or when rules change."""

from __future__ import annotations

import pickle

from riskrails import Policy, RiskRails, VenueRules
from riskrails.policy import StrategyRow, TimeframeRow
from tests.riskrails.desk import call


def test_timeframes_are_the_specified_ones() -> None:
    """Each timeframe has its minutes, its usual and its highest ATR."""
    minutes = (1, 3, 5, 15, 30, 60, 120, 240, 720, 1440)
    usual = (0.0009, 0.0017, 0.0024, 0.0045, 0.0065, 0.009, 0.0135, 0.020, 0.038, 0.055)
    most = (0.02, 0.025, 0.03, 0.05, 0.07, 0.12, 0.15, 0.20, 0.30, 0.40)
    names = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "12h", "1d")
    rows = (TimeframeRow(*row) for row in zip(minutes, usual, most, strict=True))
    assert dict(Policy().timeframes) == dict(zip(names, rows, strict=True))


def test_strategies_are_the_specified_ones() -> None:
    """Each type has its k, risk, hold, spread, leverage, three regimes and adverse selection."""
    assert dict(Policy().strategies) == {
        "scalp": StrategyRow(1.2, 0.5, 6, 5, 5, 0.4, 0.8, 0.6, 0.5),
        "momentum": StrategyRow(2.0, 1.0, 24, 12, 3, 0.5, 0.8, 1.0, 1.0),
        "trend": StrategyRow(3.0, 1.0, 100, 25, 2, 0.5, 0.8, 1.0, 0.25),
        "event": StrategyRow(2.5, 0.75, 8, 20, 2, 0.6, 0.8, 0.8, float("inf")),
    }


def test_a_policy_survives_pickling() -> None:
    """A worker process gets the very policy it was sent, changed fields included."""
    policy = Policy(r_total=0.015, max_positions=5)
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301  # our own bytes


def test_new_venue_rules_keep_the_policy() -> None:
    """Swapping the rules changes the rules alone."""
    rules = {"BTC-USD": VenueRules(qty_step="0.001")}
    rails = RiskRails(Policy(r_total=0.015))
    rails.set_venue_rules(rules)
    assert rails.venue_rules == rules
    assert rails.compute_order(**call()) == RiskRails(Policy(r_total=0.015), rules).compute_order(**call())
