"""What other sizers get wrong with money, as cases that must come out right here."""

from __future__ import annotations

import math

import pytest

from riskrails import Policy, RiskRails, RiskState, VenueRules
from tests.reference.riskrails import OVERSHOOT_STOPS
from tests.riskrails.desk import call, rails, size


@pytest.mark.parametrize("stop", OVERSHOOT_STOPS)
def test_the_loss_at_the_stop_with_fees_stays_inside_the_budget(stop: float) -> None:
    """5 bps a side come on top of the stop distance: at .3 % too the loss is at most the 500 USD budgeted."""
    order = size(
        atr_pct=stop / 2,
        base_tf="1d" if stop > 0.03 else "5m" if stop < 0.02 else "1h",
        spread_bps=0.0,
        funding=0.0,
        event_heat=0.0,
        liq_score=1.0,
        depth10bps_usd=1e9,
        vol1m_usd=1e9,
    )
    loss = order.size_usd * (order.stop_pct + 2 * 5 / 1e4)
    assert 0.0 < loss <= 500.0
    assert order.risk_usd <= 500.0


@pytest.mark.parametrize("equity", [math.nan, math.inf, -math.inf])
def test_equity_that_is_no_number_is_not_the_whole_balance(equity: float) -> None:
    """NaN does not slip through comparisons, infinity does not become everything there is."""
    order = size(equity_usd=equity)
    assert (order.size_usd, order.reasons[0]) == (0.0, "BAD_EQUITY")


def test_an_order_below_the_minimum_is_not_raised_to_it() -> None:
    """A budget for 8 USD at a minimum of 10 USD is no order; raising it would spend what was not granted."""
    order = size(equity_usd=36.0)
    assert 0.0 < order.caps["risk"] < 10.0
    assert (order.size_usd, order.mode, order.reasons) == (0.0, "skip", ("BELOW_MIN_NOTIONAL",))


@pytest.mark.parametrize("leverage", [True, 3, 99])
def test_margin_opens_no_door_past_the_notional_limits(leverage: bool | int) -> None:
    """With leverage allowed the venue's and the policy's notional limits bind as without."""
    big = RiskState(risk_shares={"momentum": 1.0})
    desk = RiskRails(Policy(r_total=0.5, r_max=0.05), {"BTC-USD": VenueRules(max_notional=20_000)}, big)
    order = desk.compute_order(**call(leverage_allowed=leverage))
    assert (order.size_usd, order.binding) == (20_000.0, "venue")
    free = RiskRails(Policy(r_total=0.5, r_max=0.05, tau_sym=9.0), {}, big)
    assert free.compute_order(**call(leverage_allowed=leverage)).size_usd == 50_000.0


def test_a_stop_wider_than_sense_is_refused_not_clamped() -> None:
    """A clamped stop would sit inside the noise and be hit by it."""
    order = size(atr_pct=0.04)
    assert order.reasons == ("STOP_TOO_WIDE",)
    assert order.stop_pct == pytest.approx(0.08)


def test_a_missing_share_is_the_smallest_not_the_whole() -> None:
    """A strategy the allocator does not know gets MIN_SHARE of the budget and says so."""
    order = size(rails(risk_shares={}))
    assert order.risk_usd == pytest.approx(100_000 * 0.02 * 0.05 * 0.925)
    assert "SHARE_MISSING" in order.warnings
