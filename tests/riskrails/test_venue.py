"""Rounding that never rounds up, and rules a venue could not mean."""

from __future__ import annotations

import decimal
import math
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from riskrails import Policy, VenueRules, VenueRulesError
from riskrails.venue import Step, Venue, floor_steps, floor_steps_exact, round_stop, steps_to_number
from tests.riskrails.desk import rails, size
from tests.riskrails.strategies import numbers

STEPS = st.sampled_from(["0.00000001", "0.0001", "0.001", "0.25", "0.1", "1", "5", "100", "1000000"])


def decimal_of(value: float) -> Decimal:
    return Decimal(repr(value))


@given(numbers(0.0, 1e7), numbers(1e-6, 1e5), st.sampled_from([1.0, 0.01, 10.0]), STEPS)
def test_the_binary_floor_is_the_decimal_floor(
    amount: float, price: float, multiplier: float, step: str
) -> None:
    """Anywhere, the fast floor equals the floor of the exact decimal quotient."""
    with decimal.localcontext() as context:
        context.prec = 200
        exact = decimal_of(amount) / (decimal_of(price) * decimal_of(multiplier) * Decimal(step))
    assert floor_steps(amount, price, multiplier, Step.of("step", step)) == math.floor(exact)


@given(st.integers(1, 10**9), numbers(0.01, 1e5), STEPS, st.sampled_from([-1, 0, 1]))
def test_next_to_a_whole_number_the_floor_is_the_decimal_one(
    whole: int, price: float, step: str, hair: int
) -> None:
    """On a multiple of the step, and one float above and below it."""
    amount = float(Decimal(whole) * Decimal(step) * decimal_of(price))
    if hair:
        amount = math.nextafter(amount, math.inf * hair)
    exact = floor_steps_exact(amount, price, 1.0, Decimal(step))
    with decimal.localcontext() as context:
        context.prec = 200
        assert exact == math.floor(decimal_of(amount) / (decimal_of(price) * Decimal(step)))
    assert floor_steps(amount, price, 1.0, Step.of("step", step)) == exact


def test_the_engines_decimal_context_does_not_matter() -> None:
    """A context of three digits that traps everything changes no floor."""
    with decimal.localcontext(decimal.Context(prec=3, traps=[decimal.Inexact, decimal.Rounded])):
        assert floor_steps_exact(123456.789, 0.1, 1.0, Decimal("0.001")) == 1234567890
        assert round_stop(123.456, Step.of("tick", "0.005"), up=True) == 123.46


@pytest.mark.parametrize(
    ("amount", "price", "step", "steps"),
    [
        (0.3, 1.0, "0.1", 3),
        (0.7, 1.0, "0.1", 7),
        (0.29999999999999993, 1.0, "0.1", 2),
        (99.999, 1.0, "100", 0),
    ],
)
def test_decimals_are_meant_as_typed(amount: float, price: float, step: str, steps: int) -> None:
    """0.3 holds three steps of 0.1, though the binary quotient is a hair under three."""
    assert floor_steps(amount, price, 1.0, Step.of("step", step)) == steps


@given(numbers(1e-4, 1e6), st.sampled_from(["0.0001", "0.01", "0.05", "0.5", "1", "25"]))
@example(58920.0, "0.01")
@example(0.3, "0.1")
def test_stops_round_toward_the_entry_by_less_than_a_tick(price: float, tick: str) -> None:
    """A long's stop goes up, a short's down, onto the grid, never a tick too far, never off it."""
    grid = Step.of("tick", tick)
    up, down = round_stop(price, grid, up=True), round_stop(price, grid, up=False)
    assert down <= price <= up
    for rounded in (up, down):
        assert decimal_of(rounded) % Decimal(tick) == 0
        assert abs(decimal_of(rounded) - decimal_of(price)) < Decimal(tick)


@given(st.integers(1, 10**12), STEPS, st.sampled_from([-1, 0, 1]))
def test_a_stop_next_to_the_grid_rounds_as_decimals_do(whole: int, tick: str, hair: int) -> None:
    """On the grid it stays; one float off it goes to the right neighbour."""
    grid = Step.of("tick", tick)
    price = float(Decimal(whole) * Decimal(tick))
    if hair:
        price = math.nextafter(price, math.inf * hair)
    with decimal.localcontext() as context:
        context.prec = 200
        quotient = decimal_of(price) / Decimal(tick)
        want_up, want_down = (math.ceil(quotient) * Decimal(tick), math.floor(quotient) * Decimal(tick))
    assert round_stop(price, grid, up=True) == float(want_up)
    assert round_stop(price, grid, up=False) == float(want_down)


@pytest.mark.parametrize(
    ("step", "mantissa", "scale"),
    [
        ("0.001", 1, 1000),
        (0.25, 25, 100),
        (5, 5, 1),
        (Decimal("1E+3"), 1000, 1),
        ("1.50", 15, 10),
        (1e-8, 1, 10**8),
    ],
)
def test_a_step_is_read_exactly(step: Any, mantissa: int, scale: int) -> None:
    """From text, Decimal, int or float, by its shortest decimal."""
    read = Step.of("step", step)
    assert (read.mantissa, read.scale) == (mantissa, scale)
    assert steps_to_number(3, read) == float(3 * Decimal(str(step)))


@pytest.mark.parametrize("name", ["qty_step", "price_tick"])
@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "abc", "", "NaN", "Infinity", True, math.nan, "1e-19", "1e13", "1.2345678901234567891"],
)
def test_a_step_that_is_none_is_refused(name: str, value: Any) -> None:
    """The message names the rule, what came and what was wanted."""
    with pytest.raises(VenueRulesError, match=f"{name}=.*want a number from 1e-18") as caught:
        VenueRules(**{name: value})
    assert (caught.value.code, caught.value.field) == ("E_VENUE_RULES", name)


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"min_qty": -1}, "min_qty"),
        ({"min_qty": "1"}, "min_qty"),
        ({"max_qty": math.nan}, "max_qty"),
        ({"min_notional": None}, "min_notional"),
        ({"max_notional": -1.0}, "max_notional"),
        ({"multiplier": 0}, "multiplier"),
        ({"fee_taker_bps": -1}, "fee_taker_bps"),
        ({"fee_taker_bps": 0.05, "fee_maker_bps": math.inf}, "fee_maker_bps"),
        ({"maintenance_margin": 50}, "maintenance_margin"),
        ({"min_qty": 2, "max_qty": 1}, "min_qty"),
        ({"min_notional": 20, "max_notional": 10}, "min_notional"),
    ],
)
def test_a_rule_out_of_range_is_refused(rules: dict[str, Any], field: str) -> None:
    """No order could be held to it; the message names it."""
    with pytest.raises(VenueRulesError, match=field) as caught:
        VenueRules(**rules)
    assert caught.value.field == field


def test_a_venues_fees_and_margin_replace_the_policys() -> None:
    """What the venue says counts; what it leaves open is the policy's; the larger minimum counts."""
    policy = Policy()
    bare = Venue.of(VenueRules(), policy)
    assert (bare.fee_taker_bps, bare.fee_maker_bps, bare.maintenance_margin) == (5.0, 2.0, 0.01)
    assert bare.min_notional == 10.0
    own = Venue.of(
        VenueRules(fee_taker_bps=7, fee_maker_bps=-1, maintenance_margin=0.05, min_notional=25), policy
    )
    assert (own.fee_taker_bps, own.fee_maker_bps, own.maintenance_margin) == (7.0, -1.0, 0.05)
    assert own.min_notional == 25.0
    assert Venue.of(VenueRules(min_notional=1), policy).min_notional == 10.0
    cheap = size(rails(venue_rules={"BTC-USD": VenueRules(fee_taker_bps=0)}))
    assert cheap.cost_bps["fee"] == 0.0
    assert cheap.size_usd > size().size_usd


def test_quantity_and_notional_limits_of_the_venue_are_caps() -> None:
    """The smaller of max_notional and max_qty × price × multiplier binds as `venue`."""
    for rules, cap in (
        (VenueRules(max_notional=5_000), 5_000.0),
        (VenueRules(max_qty=0.05), 3_000.0),
        (VenueRules(max_qty=0.05, multiplier=0.1), 300.0),
        (VenueRules(max_qty=1, max_notional=5_000), 5_000.0),
    ):
        order = size(rails(venue_rules={"BTC-USD": rules}))
        assert (order.binding, order.caps["venue"], order.size_usd) == ("venue", cap, cap)
    assert "venue" not in size().caps


@pytest.mark.parametrize(
    "rules",
    [
        VenueRules(min_qty=0.4),
        VenueRules(min_notional=22_000),
        VenueRules(qty_step="1"),
        VenueRules(max_notional=9.0),
    ],
)
def test_below_a_minimum_the_order_is_skipped_never_raised(rules: VenueRules) -> None:
    """A size under the venue's minimum becomes no order, not the minimum."""
    order = size(rails(venue_rules={"BTC-USD": rules}))
    assert (order.size_usd, order.qty, order.mode) == (0.0, 0.0, "skip")
    assert order.reasons == ("BELOW_MIN_NOTIONAL",)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (
            VenueRules(qty_step="1"),
            "the caps leave 21,884.23 USD and one quantity step of 1 costs 60,000 USD: "
            "want at least 10 USD and a quantity of at least 0 in whole steps",
        ),
        (
            VenueRules(qty_step="0.001", min_notional=22_000),
            "want at least 22000 USD and a quantity of at least 0",
        ),
        (
            VenueRules(min_qty=0.4),
            "the caps leave 21,884.23 USD: want at least 10 USD and a quantity of at least 0.4",
        ),
    ],
)
def test_too_small_says_what_made_it_so(rules: VenueRules, says: str) -> None:
    """21,884 USD is above every minimum: where the step is the cause, its cost is the sentence."""
    (message,) = size(rails(venue_rules={"BTC-USD": rules})).messages
    assert re.sub(r"(21,884\.23)\d*", r"\1", message).endswith(says)
    assert ("quantity step" in message) == (rules.qty_step == "1")


def test_a_tick_as_wide_as_the_stop_is_refused() -> None:
    """Rounded toward the entry the stop would be the entry; such an order would close at once."""
    order = size(rails(venue_rules={"BTC-USD": VenueRules(price_tick=2_000)}))
    assert order.reasons == ("TICK_TOO_COARSE",)
    assert order.stop_price_long == 60_000.0
    fine = size(rails(venue_rules={"BTC-USD": VenueRules(price_tick=500)}))
    assert (fine.stop_price_long, fine.stop_price_short) == (59_000.0, 61_000.0)


@pytest.mark.parametrize(
    ("field", "low", "high", "unit"),
    [
        ("min_qty", 0.0, 1e15, "units"),
        ("max_qty", 0.0, math.inf, "units"),
        ("min_notional", 0.0, 1e15, "USD"),
        ("max_notional", 0.0, math.inf, "USD"),
        ("multiplier", 1e-9, 1e9, "a factor"),
        ("fee_taker_bps", 0.0, 1000.0, "basis points a side"),
        ("fee_maker_bps", -1000.0, 1000.0, "basis points a side"),
        ("maintenance_margin", 0.0, 0.5, "a fraction"),
    ],
)
def test_a_rule_holds_from_its_lowest_to_its_highest_value(
    field: str, low: float, high: float, unit: str
) -> None:
    """Both ends pass, a hair beyond either is refused with the unit and both ends named."""
    rest = {"max_qty": math.inf, "max_notional": math.inf}
    for end in (low, high):
        assert getattr(VenueRules(**(rest | {field: end})), field) == end
    beyond = [math.nextafter(low, -math.inf), *([] if high == math.inf else [math.nextafter(high, math.inf)])]
    for value in beyond:
        with pytest.raises(
            VenueRulesError, match=re.escape(f"want {unit} from {low:g} to {high:g}")
        ) as caught:
            VenueRules(**{field: value})
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-18", 1e-18), ("1e12", 1e12), ("10", 10.0), ("0.123456789012345678", 0.123456789012345678)],
)
def test_a_step_may_be_as_fine_and_as_coarse_as_the_sentence_says(text: str, number: float) -> None:
    """The ends of the range, ten, and 18 digits: one step is the step."""
    assert steps_to_number(1, Step.of("step", text)) == number


@pytest.mark.parametrize("text", ["9e-19", "1000000000000.1", "0.1234567890123456789"])
def test_a_step_beyond_its_range_or_digits_is_refused(text: str) -> None:
    """A hair finer, a hair coarser, a nineteenth digit."""
    with pytest.raises(VenueRulesError, match="from 1e-18 to 1e12 with at most 18 digits"):
        Step.of("step", text)


def test_a_stop_on_a_tick_of_more_digits_than_a_float_holds_is_rounded_in_decimals() -> None:
    """1538 steps of it cost a hair more than 1538, though both are one float: a short's stop is lower."""
    tick = Step.of("tick", "1.00000000000000001")

    assert round_stop(1538.0, tick, up=False) == 1537.0
    assert round_stop(1538.0, tick, up=True) == 1538.0
