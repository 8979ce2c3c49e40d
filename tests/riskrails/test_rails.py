"""The rails as their user meets them: the fixed call, the worked example, setters that keep the old state."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import riskrails
from riskrails import Order, Policy, RiskInputError, RiskRails, RiskState, VenueRules
from tests.riskrails.desk import call, rails, size


def test_the_worked_example_of_the_documentation_comes_out() -> None:
    """100 000 USD, momentum on 1h, share .25: stop 1.80 %, L 2.113 %, m .925, 21 884 USD, risk 462.5 USD."""
    order = size()
    assert order.stop_pct == pytest.approx(0.018)
    assert order.loss_per_usd == pytest.approx(0.02113, abs=5e-6)
    assert order.multipliers["m"] == pytest.approx(0.925)
    assert round(order.size_usd) == 21_884
    assert order.risk_usd == pytest.approx(462.5)
    assert (order.binding, order.mode, order.reasons) == ("risk", "taker", ())
    assert order["size_usd"] == order.size_usd


def test_at_twelve_percent_drawdown_the_worked_example_shrinks() -> None:
    """Drawdown 12 % is 8/15 of the way back to full risk: 11 672 USD."""
    assert round(size(rails(drawdown_pct=0.12)).size_usd) == 11_672


def test_the_module_level_call_is_the_default_rails() -> None:
    """`riskrails.compute_order` sizes with policy 1 and the smallest share, and says what it lacks."""
    order = riskrails.compute_order(**call())
    assert order.size_usd == pytest.approx(21_884.23 / 5, rel=1e-6)
    assert order.warnings == ("SHARE_MISSING", "BREAKERS_UNKNOWN", "DRAWDOWN_UNKNOWN", "STEP_UNKNOWN")


def test_setters_swap_the_state_for_the_next_call() -> None:
    """What is set is in force from the next call on."""
    desk = RiskRails()
    desk.set_risk_shares({"momentum": 0.25})
    desk.set_account_state(0.12, daily_pnl_pct=-0.01)
    desk.set_breakers({"equity": False})
    assert round(size(desk).size_usd) == 11_672
    assert size(desk).warnings == ("STEP_UNKNOWN",)
    desk.set_breakers({"equity": True})
    assert size(desk).reasons == ("HALTED",)
    desk.set_state(RiskState())
    assert size(desk).size_usd > 0


@pytest.mark.parametrize(
    ("setter", "value", "code"),
    [
        ("set_risk_shares", {"momentum": 25}, "E_RISK_SHARE"),
        ("set_risk_shares", {"momentum": 0.6, "trend": 0.6}, "E_RISK_SHARE"),
        ("set_risk_shares", {"momentum": float("nan")}, "E_RISK_SHARE"),
        ("set_account_state", 12, "E_DRAWDOWN"),
        ("set_account_state", -0.1, "E_DRAWDOWN"),
        ("set_breakers", {"equity": "yes"}, "E_BREAKERS"),
        ("set_breakers", ["equity"], "E_BREAKERS"),
        ("set_edge_statistics", {"momentum": 0.6}, "E_EDGE"),
        ("set_state", {"momentum": 0.6}, "E_STATE"),
        ("set_venue_rules", {"BTC-USD": 0.001}, "E_VENUE_RULES"),
    ],
)
def test_a_refused_setting_keeps_the_old_state(setter: str, value: object, code: str) -> None:
    """A setter that refuses changes nothing: the next order equals the one before."""
    desk = rails(venue_rules={"BTC-USD": VenueRules(qty_step="0.001")})
    before = size(desk)
    with pytest.raises(RiskInputError) as caught:
        getattr(desk, setter)(value)
    assert caught.value.code == code
    assert "want" in str(caught.value)
    assert size(desk) == before


@pytest.mark.parametrize(
    ("book", "cut"),
    [
        ({"exposure_total_usd": 250_000.0}, 50_000.0),
        ({"exposure_total_usd": 1_000.0, "open_risk_sum_pct": 0.5}, 1_000.0),
        ({"open_risk_sum_pct": 0.5}, 0.0),
        ({"exposure_by_symbol": {"BTC-USD": -80_000.0}, "exposure_total_usd": 80_000.0}, 35_481.892),
        ({"exposure_by_symbol": {"BTC-USD": 2.0}, "exposure_total_usd": 1.0, "open_risk_sum_pct": 1.0}, 2.0),
    ],
)
def test_no_more_is_cut_than_is_held(book: dict[str, Any], cut: float) -> None:
    """`reduce_usd` is the excess over a cap, at most the gross exposure; alone and in a batch."""
    order = size(**book)
    assert order.mode == "reduce"
    assert order.reduce_usd == pytest.approx(cut, abs=0.001)
    assert rails().compute_orders(**call(**book))[0] == order


def test_a_percent_of_open_risk_is_asked_about() -> None:
    """Three times the limit is more likely a unit than a book; below that the sentence stays plain."""
    assert size(open_risk_sum_pct=0.07).messages == (
        "open_risk_sum_pct=0.07: want room below 0.06 of equity",
    )
    assert "percent" not in size(open_risk_sum_pct=3.0 * Policy().h_max).messages[0]
    for asked in (0.2, 0.5):
        (message,) = size(open_risk_sum_pct=asked).messages
        assert message.endswith("want a fraction, 0.03 for 3 %, or is this percent?")


def test_codes_are_lists_where_the_order_is_read_as_a_mapping() -> None:
    """order["reasons"], dict(order) and to_dict() hold lists, attributes tuples; JSON gives the same back."""
    order = size(rails(breakers={"manual": True}))
    assert (order.reasons, order.warnings) == (("HALTED",), ("STEP_UNKNOWN",))
    assert (order["reasons"], order["warnings"]) == (["HALTED"], ["STEP_UNKNOWN"])
    plain = dataclasses.asdict(order)
    assert dict(order) == plain == json.loads(json.dumps(plain))
    assert copy.deepcopy(order) == order
    assert dict(order) == order.to_dict() == json.loads(json.dumps(order.to_dict()))
    assert Order.from_dict(dict(order)) == order
    orders = rails(breakers={"manual": True}).compute_orders(**call())
    assert (orders["reasons"], orders["warnings"]) == ([["HALTED"]], [["STEP_UNKNOWN"]])


def test_codes_equal_the_list_and_the_tuple_of_them() -> None:
    """Either way of writing them compares, both ways round; other codes, orders and types do not."""
    codes = size(rails(breakers={"manual": True}, drawdown_pct=0.5)).reasons
    for same in (["HALTED", "DRAWDOWN"], ("HALTED", "DRAWDOWN")):
        assert (codes == same, same == codes, codes != same) == (True, True, False)
    for other in ([], ["DRAWDOWN", "HALTED"], ("HALTED",), "HALTED", None):
        assert (codes == other, codes != other) == (False, True)
    assert size()["reasons"] == []
    none: object = []
    assert size().reasons == none
    assert hash(codes) == hash(("HALTED", "DRAWDOWN"))


@pytest.mark.parametrize("rules", [{}, {"BTC-USD": VenueRules(price_tick="0.01")}])
def test_a_refused_stop_wider_than_the_price_shows_zero(rules: dict[str, VenueRules]) -> None:
    """Three daily ATRs of 38 % are no price below zero; alone and in a batch."""
    arguments = call(strat_type="trend", base_tf="1d", atr_pct=0.38)
    order = rails(venue_rules=rules).compute_order(**arguments)
    assert "STOP_TOO_WIDE" in order.reasons
    assert order.stop_price_long == 0.0
    assert rails(venue_rules=rules).compute_orders(**arguments)[0] == order


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"exposure_total_usd": 150_000.0, "leverage_allowed": 1.0},
            "exposure 150,000.00 USD: want room below 1x equity = 100,000.00 USD",
        ),
        (
            {"exposure_total_usd": 250_000.0},
            "exposure 250,000.00 USD: want room below 2x equity = 200,000.00 USD",
        ),
        (
            {"exposure_total_usd": 80_000.0, "exposure_by_symbol": {"BTC-USD": -80_000.0}},
            "exposure of BTC-USD 80,000.00 USD: want room below 0.75x equity = 75,000.00 USD",
        ),
        ({"funding": -0.003}, "funding=-0.003: want below 0.003 per 8 h either way for a hold of 24 h"),
    ],
)
def test_a_limit_is_told_with_what_came_and_its_unit(changes: dict[str, Any], says: str) -> None:
    """The first sentence of a refusal has the amount, the limit in its own terms and in USD or hours."""
    assert size(**changes).messages[0] == says


def test_no_position_is_a_whole_number_of_any_kind() -> None:
    """A numpy zero is no position, not a broken call."""
    assert size(open_positions=np.int64(0)) == size()


def test_rails_take_a_state_or_a_source_of_them() -> None:
    """A source's snapshot is what `state` shows; anything else is refused by its code."""

    class Source:
        def snapshot(self) -> RiskState:
            return RiskState(risk_shares={"momentum": 0.4}, breakers={"venue": True}, breaker_age_seconds=1.0)

    assert RiskRails(state=Source()).state.risk_shares == {"momentum": 0.4}
    assert RiskRails(state=Source()).state.breakers == {"venue": True}
    assert RiskRails(state=RiskState(risk_shares={"a": 0.1})).state.risk_shares == {"a": 0.1}
    with pytest.raises(RiskInputError) as caught:
        RiskRails(state=5)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == ("E_STATE", "state")


def test_shares_are_stale_by_the_period_they_came_with() -> None:
    """The allocator's own period says how old its shares may be: three of them."""
    desk = rails()
    desk.set_risk_shares({"momentum": 0.25}, age_seconds=181.0, allocator_period_seconds=60.0)
    assert desk.state.allocator_period_seconds == 60.0
    assert "SHARES_STALE" in size(desk).warnings
    desk.set_risk_shares({"momentum": 0.25}, age_seconds=181.0, allocator_period_seconds=600.0)
    assert "SHARES_STALE" not in size(desk).warnings


def test_a_snapshot_of_another_kind_is_refused_by_its_field() -> None:
    """A mapping is no RiskState."""
    with pytest.raises(RiskInputError) as caught:
        rails().set_state({"momentum": 0.6})  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == ("E_STATE", "state")
