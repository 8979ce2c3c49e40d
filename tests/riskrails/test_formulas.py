"""The formulas one by one, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from riskrails import Policy
from riskrails.cells import Cell
from riskrails.policy import dynamic_policy, ramp, regime_multiplier
from riskrails.stops import gap_fraction, loss_per_usd, stop_pct
from tests.riskrails.desk import size

POLICY = Policy()
CELL = Cell.of(POLICY, "momentum", "1h")
EVENT = Cell.of(POLICY, "event", "1h")


@pytest.mark.parametrize(
    ("x", "y"), [(0.0, 1.0), (1.0, 1.0), (1.5, 0.7), (2.0, 0.4), (math.nextafter(2.0, 0.0), 0.4), (9.0, 0.4)]
)
def test_a_ramp_is_one_then_a_line_then_its_floor(x: float, y: float) -> None:
    """One up to soft, the middle half-way, the floor from hard on, and never under it."""
    assert ramp(x, 1.0, 2.0, 0.4) == pytest.approx(y)
    assert 0.4 <= ramp(x, 1.0, 2.0, 0.4) <= 1.0


@pytest.mark.parametrize(
    ("signal", "m"),
    [
        ("stress", 0.5),
        ("neutral", 0.8),
        ("trend", 1.0),
        (-1, 0.5),
        (-1.0, 0.5),
        (-0.5, 0.65),
        (0, 0.8),
        (0.5, 0.9),
        (1, 1.0),
        (1.0001, None),
        (-1.0001, None),
        (2.0, None),
        (None, None),
        (math.nan, None),
        ("TREND", None),
        (True, None),
        (b"1", None),
        ([], None),
    ],
)
def test_a_regime_is_a_label_or_a_point_on_two_lines(signal: object, m: float | None) -> None:
    """Stress ← neutral → trend for −1, 0, 1; anything else is unknown."""
    assert regime_multiplier(CELL.regimes, signal) == (None if m is None else pytest.approx(m))


def factors(**changes: float) -> dict[str, float]:
    """The multipliers of a calm market with some things changed, by name."""
    calm = {
        "drawdown": 0.0,
        "m_regime": 1.0,
        "atr_pct": 0.009,
        "spread_bps": 0.0,
        "event_heat": 0.0,
        "velocity_abs": 0.0,
        "liq_score": 1.0,
        "funding_abs": 0.0,
    }
    cell = EVENT if changes.pop("event", 0.0) else CELL
    names = ("m", "dd", "regime", "vol", "micro", "spread", "heat", "velocity", "liq", "funding")
    return dict(zip(names, dynamic_policy(POLICY, cell, **(calm | changes)), strict=True))


def test_a_calm_market_shrinks_nothing() -> None:
    """All ten are one."""
    assert set(factors().values()) == {1.0}


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"drawdown": 0.05}, "dd", 1.0),
        ({"drawdown": 0.125}, "dd", 0.5),
        ({"drawdown": 0.20}, "dd", 0.0),
        ({"drawdown": 0.90}, "dd", 0.0),
        ({"atr_pct": 0.0135}, "vol", 1.0),
        ({"atr_pct": 0.027}, "vol", 0.5),
        ({"atr_pct": 0.1}, "vol", 0.25),
        ({"atr_pct": 0.0}, "vol", 0.25),
        ({"spread_bps": 6.0}, "spread", 1.0),
        ({"spread_bps": 9.0}, "spread", 0.75),
        ({"spread_bps": 12.0}, "spread", 0.5),
        ({"event_heat": 0.5}, "heat", 0.65),
        ({"event_heat": 0.5, "event": 1.0}, "heat", 0.85),
        ({"velocity_abs": 2.0}, "velocity", 1.0),
        ({"velocity_abs": 3.5}, "velocity", 0.7),
        ({"velocity_abs": 5.0}, "velocity", 0.4),
        ({"liq_score": 0.0}, "liq", 0.25),
        ({"liq_score": 0.5}, "liq", 0.625),
        ({"funding_abs": 0.0005}, "funding", 1.0),
        ({"funding_abs": 0.00175}, "funding", 0.75),
        ({"funding_abs": 0.003}, "funding", 0.5),
    ],
)
def test_each_hazard_has_its_multiplier(change: dict[str, float], name: str, value: float) -> None:
    """The documented points of each line, and m follows."""
    got = factors(**change)
    assert got[name] == pytest.approx(value)
    assert got["m"] == pytest.approx(value)


def test_within_a_group_the_smallest_counts_and_groups_multiply() -> None:
    """Spread .75 and heat .65 give .65, not their product; a drawdown of half multiplies it."""
    got = factors(spread_bps=9.0, event_heat=0.5, drawdown=0.125, m_regime=0.8)
    assert got["micro"] == pytest.approx(0.65)
    assert got["m"] == pytest.approx(0.65 * 0.5 * 0.8)


@pytest.mark.parametrize(
    ("arguments", "stop"),
    [
        ((2.0, 0.009, 0.0045, 0.0001, 3.0), 0.018),
        ((2.0, 0.001, 0.0045, 0.0001, 3.0), 0.0045),
        ((2.0, 0.001, 0.0045, 0.002, 3.0), 0.006),
        ((2.0, 0.0, 0.002, 0.0, 3.0), 0.002),
    ],
)
def test_the_stop_is_the_widest_of_three(arguments: tuple[float, ...], stop: float) -> None:
    """K ATRs, the floor, three spreads."""
    assert stop_pct(*arguments) == pytest.approx(stop)


def test_the_loss_is_the_sum_of_its_parts() -> None:
    """Stop 1.8 %, gap 8 %, 5 bps a side, 1 bp of spread, impact, three funding periods at 1 bp: 2.113 %."""
    gap = gap_fraction(0.1, 0.9, 0.05, 0.20, 0.10)
    assert gap == pytest.approx(0.08)
    sigma = 0.009 / 1.25 / math.sqrt(60)
    assert sigma == pytest.approx(0.009 * CELL.sigma_per_atr)
    loss, fee, spread, impact, funding, jump = loss_per_usd(
        0.018, gap, 5.0, 0.0001, sigma, 2 * math.sqrt(0.025), 0.0001, 24 * 60 / 480
    )
    assert (fee, spread) == (0.001, 0.0001)
    assert impact == pytest.approx(0.000293939, rel=1e-5)
    assert funding == pytest.approx(0.0003)
    assert jump == pytest.approx(0.00144)
    assert loss == pytest.approx(0.018 + fee + spread + impact + funding + jump)
    assert loss == pytest.approx(0.0211339, rel=1e-5)
    assert pytest.approx(3.0) == CELL.funding_periods
    assert CELL.impact_per_sigma == pytest.approx(2 * math.sqrt(0.025))


@pytest.mark.parametrize(("kind", "alpha"), [("scalp", 0.5), ("momentum", 1.0), ("trend", 0.25)])
def test_a_maker_rests_until_alpha_sigmas_eat_what_it_saves(kind: str, alpha: float) -> None:
    """3 bps of fees and 1 bp of spread saved: rests while alpha one-minute sigmas stay below 4 bps."""
    atr = 4e-4 / alpha * 1.25 * math.sqrt(60.0)

    assert size(strat_type=kind, atr_pct=atr * 0.99, spread_bps=1.0).mode == "maker"
    assert size(strat_type=kind, atr_pct=atr * 1.01, spread_bps=1.0).mode == "taker"


def test_an_event_trade_never_rests() -> None:
    """Its adverse selection is taken as boundless, in the calmest of markets too."""
    assert size(strat_type="event", atr_pct=1e-4, spread_bps=10.0).mode == "taker"
