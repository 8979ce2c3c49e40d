"""Where a limit is met exactly: which side it belongs to, in a single call and in a batch alike."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from riskrails import Order, Policy, RiskInputError, RiskRails, VenueRules
from riskrails.cells import Cell
from tests.riskrails.desk import CALM, call, rails, size

UP = math.inf


def both(desk: RiskRails | None = None, **changes: Any) -> Order:
    """The order of a single call, which a batch gives to the last bit."""
    desk = desk or rails()
    order, orders = size(desk, **changes), desk.compute_orders(**call(**changes))
    assert list(orders) == [order]
    assert orders.binding_code[0] >= 0 if order.binding else orders.binding_code[0] == -1
    return order


def test_a_stop_at_its_ceiling_passes() -> None:
    """Eight reference ATRs are wide enough; the next number is too wide."""
    widest = 4.0 * Policy().timeframes["1h"].atr_ref  # times k = 2
    order = both(atr_pct=widest)
    assert (order.stop_pct, order.mode) == (8.0 * Policy().timeframes["1h"].atr_ref, "taker")
    assert both(atr_pct=math.nextafter(widest, UP)).reasons == ("STOP_TOO_WIDE",)


def test_multipliers_at_their_floor_pass() -> None:
    """m_min is the least that is traded; the next number above what is left is refused."""
    m = both().multipliers["m"]
    assert both(rails(Policy(version=2, m_min=m))).size_usd == both().size_usd
    assert both(rails(Policy(version=2, m_min=math.nextafter(m, UP)))).reasons == ("SCALED_OUT",)


def test_a_maker_rests_where_waiting_costs_just_what_it_saves() -> None:
    """Fee and spread saved equal to α minutes of movement: maker; a hair less saved: taker."""
    momentum = Policy().strategies["momentum"]
    cell = Cell.of(Policy(), "momentum", "1h")
    moved_bps = CALM.atr_pct * cell.sigma_per_atr * 1e4
    saved_bps = 5.0 - 2.0 + 1.0
    alpha = saved_bps / moved_bps
    assert alpha * moved_bps == saved_bps, "the test wants numbers that meet exactly"
    desk = rails(Policy(version=2, strategies={"momentum": momentum._replace(alpha=alpha)}))
    assert both(desk).mode == "maker"
    assert both(desk, spread_bps=1.0 - 1e-15).mode == "taker"


def test_as_many_slices_as_allowed_are_no_warning() -> None:
    """A size of exactly the allowed number of slices is cut into them, and nothing is capped."""
    volume = 2.0**14  # sizes that are exact: 20 slices of 409.6 USD
    order = both(rails(Policy(version=2, slices_max=20)), vol1m_usd=volume)
    assert (order.mode, order.binding, order.size_usd, order.slices) == ("twap", "liquidity", 8192.0, 20)
    assert "TWAP_SLICES_CAPPED" not in order.warnings
    fewer = both(rails(Policy(version=2, slices_max=19)), vol1m_usd=volume)
    assert (fewer.slices, "TWAP_SLICES_CAPPED" in fewer.warnings) == (19, True)


@pytest.mark.parametrize("bad", [{}, {"price": None}])
def test_an_account_may_owe_the_largest_amount(bad: dict[str, Any]) -> None:
    """The least equity is no equity, with or without other faults, and has no share at risk."""
    order = both(equity_usd=-1e15, **bad)
    assert order.reasons[-1] == "NO_EQUITY"
    assert not any(code == "BAD_EQUITY" for code in order.reasons)
    assert order.risk_pct == 0.0


def test_no_equity_has_nothing_at_risk() -> None:
    """Zero, not all of it."""
    assert both(equity_usd=0.0).risk_pct == 0.0


def test_the_largest_exposure_is_an_amount() -> None:
    """It fills every cap, but it is no bad data."""
    order = both(exposure_by_symbol={"ETH-USD": 1e15}, exposure_total_usd=1e15)
    assert order.mode == "reduce"
    assert not any(code.startswith("BAD_") for code in order.reasons)


def test_an_exposure_of_another_number_type_counts_by_itself() -> None:
    """Decimal exposure beside plain floats sizes as the float it stands for."""
    want = both(exposure_by_symbol={"BTC-USD": 70_000.0}, exposure_total_usd=70_000.0)
    have = both(exposure_by_symbol={"BTC-USD": Decimal(70_000)}, exposure_total_usd=70_000.0)
    assert have == want


def test_what_only_looks_like_a_mapping_is_refused() -> None:
    """`get` and `values` alone do not promise what a mapping does."""

    class Lookalike:
        def get(self, _: str, default: float) -> float:
            return default

        def values(self) -> list[float]:
            return []

    for run in (rails().compute_order, rails().compute_orders):
        with pytest.raises(RiskInputError) as caught:
            run(**call(exposure_by_symbol=Lookalike()))
        assert (caught.value.code, caught.value.field) == ("E_EXPOSURE_MAP", "exposure_by_symbol")


def test_the_cost_of_a_step_counts_the_contracts_multiplier() -> None:
    """One contract of ten coins costs ten prices."""
    desk = rails(venue_rules={"BTC-USD": VenueRules(qty_step="1", multiplier=10)})
    (message,) = both(desk).messages
    assert "one quantity step of 1 costs 600,000 USD" in message


def test_an_order_of_exactly_the_minimum_passes() -> None:
    """The venue's least quantity and amount are an order; a hair more wanted is none."""
    least: dict[str, Any] = {
        "qty_step": "0.01",
        "min_qty": 0.05,
        "min_notional": 3_000,
        "max_notional": 3_000,
    }
    order = both(rails(venue_rules={"BTC-USD": VenueRules(**least)}))
    assert (order.qty, order.size_usd) == (0.05, 3_000.0)
    for name, more in (("min_qty", math.nextafter(0.05, UP)), ("min_notional", math.nextafter(3_000.0, UP))):
        desk = rails(venue_rules={"BTC-USD": VenueRules(**(least | {name: more, "max_notional": 3_001}))})
        assert both(desk).reasons == ("BELOW_MIN_NOTIONAL",)


def test_a_drawdown_at_its_limit_is_over_it() -> None:
    """At dd_max the book is flat; the number before it is only scaled out."""
    limit = Policy().dd_max
    assert both(rails(drawdown_pct=limit)).reasons == ("DRAWDOWN",)
    assert both(rails(drawdown_pct=math.nextafter(limit, 0.0))).reasons == ("SCALED_OUT",)


def test_more_than_all_at_risk_is_no_fraction() -> None:
    """One is everything, and over the heat limit; above it something else was meant."""
    assert both(open_risk_sum_pct=1.0).reasons == ("HEAT_FULL",)
    assert both(open_risk_sum_pct=math.nextafter(1.0, UP)).reasons == ("BAD_OPEN_RISK",)


@pytest.mark.parametrize(
    "pair",
    [
        {"strat_type": ["momentum", "scalp"]},
        {"base_tf": ["1h", "4h"]},
        {"strat_name": ["momentum", "other"]},
    ],
)
def test_two_kinds_of_rows_are_two(pair: dict[str, list[str]]) -> None:
    """A batch of two types, timeframes or names gives each row its own cells."""
    (name, values), desk = next(iter(pair.items())), rails(risk_shares={"momentum": 0.25, "other": 0.1})
    orders = desk.compute_orders(**(call() | {name: values}))
    assert list(orders) == [size(desk, **{name: value}) for value in values]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("rules", "step_is_why"),
    [
        (VenueRules(qty_step="1", min_notional=3_000, max_notional=3_000), True),
        (VenueRules(qty_step="1", min_qty=0.05, max_notional=3_000), True),
        (VenueRules(qty_step="1", min_qty=math.nextafter(0.05, UP), max_notional=3_000), False),
        (VenueRules(qty_step="1", min_notional=22_000), False),
    ],
)
def test_a_step_is_the_reason_where_the_minimum_is_met(rules: VenueRules, step_is_why: bool) -> None:
    """What the caps leave meets the minimum exactly: then only whole steps forbid the order."""
    order = both(rails(venue_rules={"BTC-USD": rules}))
    assert order.reasons == ("BELOW_MIN_NOTIONAL",)
    assert ("one quantity step" in order.messages[0]) == step_is_why


@pytest.mark.parametrize("steps", [3, 9_003])
def test_a_whole_number_of_steps_is_not_lost_to_binary(steps: int) -> None:
    """Where 0.3 / 0.1 is 2.9999999999999996 in binary, three steps fit, and three are taken."""
    usd = steps / 10
    assert math.floor(usd / 0.1) == steps - 1, "the test wants an amount that binary gets wrong"
    rules = VenueRules(qty_step="0.1", max_notional=usd)
    desk = rails(Policy(version=2, min_notional=0), venue_rules={"BTC-USD": rules})
    order = both(desk, price=1.0)
    assert (order.qty, order.size_usd) == (usd, usd)


def test_half_a_dollar_is_an_account() -> None:
    """Where no minimum forbids it a small account risks its share like a large one."""
    order = both(rails(Policy(version=2, min_notional=0)), equity_usd=0.5)
    assert order.risk_pct == pytest.approx(size().risk_pct)


class Series:
    """A column as a data frame has it: an array by protocol, not by type."""

    ndim = 1

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype)


class Wrapped:
    """Something that numpy could read and that does not say how many dimensions it has."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array([100_000.0], dtype=dtype)


def test_a_column_is_what_has_a_dimension() -> None:
    """A series of a frame is a column, a numpy scalar is none, and what says nothing is no number."""
    orders = rails().compute_orders(**call(equity_usd=Series([1e5, 2e5])))
    assert list(orders) == [size(equity_usd=1e5), size(equity_usd=2e5)]
    assert both(equity_usd=np.float64(1e5), leverage_allowed=np.float64(2.0)).mode == "taker"
    assert both(equity_usd=Wrapped()).reasons == ("BAD_EQUITY",)


@pytest.mark.parametrize(
    "column", [np.array(["100000"], dtype=object), np.array(["100000"]), np.array([True])]
)
def test_a_column_of_texts_or_answers_is_no_column_of_numbers(column: Any) -> None:
    """What a single call refuses is not read as a number because an array could."""
    assert rails().compute_orders(**call(equity_usd=column))[0].reasons == ("BAD_EQUITY",)


def test_labels_of_the_regime_may_be_an_array() -> None:
    """An array of words is read as words."""
    orders = rails().compute_orders(**call(regime_signal=np.array(["trend", "stress"])))
    assert list(orders) == [size(regime_signal="trend"), size(regime_signal="stress")]


def test_positions_are_counted_in_a_batch_of_none_and_of_one() -> None:
    """No rows make no orders; a negative count is refused in a batch of one as in a call."""
    nothing = np.array([], dtype=np.int64)
    assert len(rails().compute_orders(**call(open_positions=nothing))) == 0
    with pytest.raises(RiskInputError) as caught:
        rails().compute_orders(**call(open_positions=np.array([-1])))
    assert caught.value.code == "E_OPEN_POSITIONS"


def test_a_drawdown_beyond_all_is_refused_by_its_row() -> None:
    """A column of percent where fractions belong names the row."""
    with pytest.raises(RiskInputError) as caught:
        rails().compute_orders(**call(equity_usd=[1e5, 1e5]), drawdown_pct=[0.1, 12.0])
    assert (caught.value.code, caught.value.field) == ("E_STATE", "drawdown_pct[1]")


@pytest.mark.parametrize("price", [61_900.0, 60_100.0])
def test_one_stop_beyond_the_entry_is_enough_to_refuse(price: float) -> None:
    """Off the grid a coarse tick carries one stop past the entry and leaves the other: no order."""
    order = both(rails(venue_rules={"BTC-USD": VenueRules(price_tick=2_000)}), price=price)
    assert order.reasons == ("TICK_TOO_COARSE",)
    assert order.stop_price_long is not None
    assert order.stop_price_short is not None
    assert (order.stop_price_long < price) != (price < order.stop_price_short)
