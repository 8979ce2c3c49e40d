"""The trader: no look-ahead, conservation, fills at the next open, sizes the rails allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.account import Account
from examples.derived import WINDOW, derived_spread_bps
from examples.market_data import Bar, load_bars, position_of
from examples.strategies import STRATEGIES, Strategy
from examples.trader import SYMBOL, Hour, Trader
from riskrails import RiskRails, VenueRules
from riskrails.breakers import BreakerPolicy
from riskrails.order import Order
from tests.examples.bars import bar, walk

WIDE = BreakerPolicy(dd_trip=0.9, dd_release=0.8, daily_loss_max=0.9)


def rails(**settings: Any) -> RiskRails:
    made = RiskRails(venue_rules={SYMBOL: VenueRules(qty_step="0.000001", price_tick="0.01")}, **settings)
    made.set_risk_shares(dict.fromkeys(("scalp", "momentum", "trend", "event"), 0.25))
    made.set_breakers({"equity": False})
    made.set_account_state(0.0)
    return made


class Recorded:
    """The real rails, with every call kept."""

    def __init__(self, inner: RiskRails | None = None, **change: Any) -> None:
        self.inner = inner or rails()
        self.change = change
        self.calls: list[dict[str, Any]] = []
        self.orders: list[Order] = []

    def compute_order(self, **call: Any) -> Order:
        order = self.inner.compute_order(**call)
        if self.change and order.size_usd > 0.0:
            order = replace(order, **self.change)
        self.calls.append(call)
        self.orders.append(order)
        return order


def trader(bars: Sequence[Bar], strategies: Mapping[str, Strategy] = STRATEGIES, **change: Any) -> Trader:
    """A trader warmed up on the first bars."""
    made = Trader(Recorded(**change), Account(100_000.0, WIDE), strategies)
    made.warm_up(bars[:WINDOW])
    return made


def live(one: Trader, bars: Sequence[Bar]) -> list[Hour]:
    """Step and decide through the bars."""
    hours = []
    for each in bars:
        hours.append(one.step(each))
        one.decide()
    return hours


def wants(*sides: int) -> Strategy:
    """A strategy that follows a script, and holds its last wish."""
    script = iter(sides)
    last = [0]

    def strategy(bars: Sequence[Bar], side: int, held: int) -> int:
        last[0] = next(script, last[0])
        return last[0]

    return strategy


def told(one: Trader) -> list[tuple[Any, ...]]:
    """Everything the trader decided, for comparison."""
    assert isinstance(one.rails, Recorded)
    return [tuple(call.values()) for call in one.rails.calls]


@settings(max_examples=8)
@given(st.integers(0, 30), st.integers(0, 39), st.floats(0.5, 2.0))
def test_changing_future_bars_changes_no_past_fill_or_decision(seed: int, cut: int, factor: float) -> None:
    """No look-ahead: two futures from the same past have the same past."""
    bars = walk(WINDOW + 40, seed)
    changed = bars[: WINDOW + cut] + [
        replace(b, open=b.open * factor, high=b.high * factor, low=b.low * factor, close=b.close * factor)
        for b in bars[WINDOW + cut :]
    ]
    one, other = trader(bars), trader(changed)
    first, second = live(one, bars[WINDOW:])[:cut], live(other, changed[WINDOW:])[:cut]
    assert first == second
    replayed = trader(bars)
    live(replayed, bars[WINDOW : WINDOW + cut])
    decided = len(told(replayed))
    assert told(one)[:decided] == told(other)[:decided] == told(replayed)


def test_the_same_bars_give_the_same_fills() -> None:
    """Deterministic to the last bit."""
    bars = walk(WINDOW + 200)
    assert live(trader(bars), bars[WINDOW:]) == live(trader(bars), bars[WINDOW:])


@settings(max_examples=8)
@given(st.integers(0, 30))
def test_equity_is_the_start_plus_every_cash_flow_plus_the_positions(seed: int) -> None:
    """Rebuilt from the fills alone: what was paid and received, fees, and what is held at the close."""
    bars = walk(WINDOW + 120, seed)
    one = trader(bars)
    cash, held, fees = 0.0, 0.0, 0.0
    for each in bars[WINDOW:]:
        hour = one.step(each)
        one.decide()
        for fill in hour.fills:
            sign = 1.0 if fill.side == "buy" else -1.0
            cash -= sign * fill.qty * fill.price + fill.fee_usd
            held += sign * fill.qty
            fees += fill.fee_usd
        assert math.isclose(one.account.equity_usd, 100_000.0 + cash + held * each.close, abs_tol=1e-6)
    ends = one.finish()
    assert all(book.side == 0 for book in one.books.values())
    assert math.isclose(
        sum(book.fees_usd for book in one.books.values()), fees + sum(f.fee_usd for f in ends)
    )


def test_every_fill_pays_its_fee_on_both_sides() -> None:
    """Taker 5 bps on entry, exit and stop alike; a maker entry 2 bps."""
    bars = walk(WINDOW + 400)
    fills = [fill for hour in live(trader(bars), bars[WINDOW:]) for fill in hour.fills]
    assert {fill.why for fill in fills} >= {"entry", "exit", "stop"}
    for fill in fills:
        bps = fill.fee_usd / (fill.qty * fill.price) * 1e4
        assert bps == pytest.approx(5.0) or (fill.why == "entry" and bps == pytest.approx(2.0))


def test_a_decision_is_filled_at_the_next_open_half_a_spread_worse() -> None:
    """Decided at the close of one bar, bought at the open of the next, priced by the bar before."""
    bars = walk(WINDOW + 3)
    one = trader(bars, {"momentum": wants(1)}, mode="taker")
    assert one.step(bars[WINDOW]).fills == ()
    one.decide()
    half = derived_spread_bps(bars[1 : WINDOW + 1]) / 2e4
    (fill,) = one.step(bars[WINDOW + 1]).fills
    assert fill.price == pytest.approx(bars[WINDOW + 1].open * (1.0 + half))
    assert (fill.why, fill.side, fill.pnl_usd) == ("entry", "buy", None)


def test_an_open_above_the_close_buys_no_more_dollars_than_were_allowed() -> None:
    """The rails sized at the close; after a gap up the quantity shrinks."""
    bars = walk(WINDOW + 1)
    one = trader(bars, {"momentum": wants(1)}, mode="taker")
    one.step(bars[WINDOW])
    (order,) = one.decide()
    close = bars[WINDOW].close
    gap = bar(close * 1.2, close * 1.21, close * 1.19, close * 1.2)
    (fill,) = one.step(gap).fills
    assert fill.qty * fill.price <= order.size_usd
    assert fill.qty < order.qty
    assert round(fill.qty * 1e6) == pytest.approx(fill.qty * 1e6, abs=1e-6)


def test_the_stop_is_set_from_the_fill_and_honoured_in_the_same_bar() -> None:
    """Bought at the open, stopped out by the low of that very bar."""
    bars = walk(WINDOW + 1)
    one = trader(bars, {"momentum": wants(1, 1)}, mode="taker")
    one.step(bars[WINDOW])
    (order,) = one.decide()
    close = bars[WINDOW].close
    crash = bar(close, close, close * 0.5, close * 0.6)
    entry, stop = one.step(crash).fills
    assert (entry.why, stop.why) == ("entry", "stop")
    assert stop.price == pytest.approx(entry.price * (1.0 - order.stop_pct), rel=0.01)
    assert stop.price > crash.low


def test_a_position_whose_stop_is_jumped_over_is_out_at_the_open_before_anything_else() -> None:
    """The gap fills at the open, once; the exit wished for at the same open finds nothing left."""
    bars = walk(WINDOW + 2)
    one = trader(bars, {"momentum": wants(1, 0)}, mode="taker")
    one.step(bars[WINDOW])
    one.decide()
    one.step(bars[WINDOW + 1])
    one.decide()
    if not one.books["momentum"].side:
        pytest.fail("the walk stopped the position out: choose another seed")
    low = bars[WINDOW + 1].close * 0.5
    (fill,) = one.step(bar(low, low * 1.01, low * 0.99, low)).fills
    assert fill.why == "stop"
    assert fill.price <= low


def test_a_resting_order_that_the_bar_does_not_trade_through_is_not_filled() -> None:
    """A maker order is a hope."""
    bars = walk(WINDOW + 1)
    close = bars[WINDOW].close
    for low, filled in ((close, 0), (close * 0.99, 1)):
        one = trader(bars, {"momentum": wants(1)}, mode="maker")
        one.step(bars[WINDOW])
        one.decide()
        hour = one.step(bar(close, close * 1.01, low, close))
        assert len(hour.fills) == filled
        for fill in hour.fills:
            assert fill.price <= close
            assert fill.fee_usd / (fill.qty * fill.price) * 1e4 == pytest.approx(2.0)


def test_two_entries_of_one_bar_share_the_room() -> None:
    """The second is sized with the first counted as held: exposure, risk and positions."""
    bars = walk(WINDOW + 1)
    one = trader(bars, {"momentum": wants(1), "trend": wants(1)})
    one.step(bars[WINDOW])
    first, _ = one.decide()
    assert isinstance(one.rails, Recorded)
    alone, second = one.rails.calls
    assert (alone["open_positions"], alone["exposure_total_usd"]) == (0, 0.0)
    assert second["open_positions"] == 1
    assert second["exposure_total_usd"] == pytest.approx(first.size_usd)
    assert second["open_risk_sum_pct"] == pytest.approx(first.risk_usd / 100_000.0)


def test_a_halt_opens_nothing_and_lets_exits_and_stops_work() -> None:
    """A breaker is about new risk: what is held may still be sold."""
    bars = walk(WINDOW + 60)
    one = trader(bars, {"momentum": wants(1, 1, 1, -1, -1, -1)}, mode="taker")
    live(one, bars[WINDOW : WINDOW + 2])
    assert one.books["momentum"].side == 1
    assert isinstance(one.rails, Recorded)
    one.rails.inner.set_breakers({"equity": True})
    fills = [fill for hour in live(one, bars[WINDOW + 2 : WINDOW + 12]) for fill in hour.fills]
    assert fills
    assert {fill.why for fill in fills} <= {"exit", "stop"}
    assert one.books["momentum"].side == 0
    assert one.modes["reduce"] > 0


def test_an_exposure_over_the_caps_is_cut_by_what_the_rails_ask() -> None:
    """Mode reduce with an amount: the books sell that share of everything at the next open."""
    bars = walk(WINDOW + 3)
    one = trader(bars, {"momentum": wants(1, 1, 1), "trend": wants(0, 1, 1)}, mode="taker")
    live(one, bars[WINDOW : WINDOW + 1])
    one.step(bars[WINDOW + 1])
    book = one.books["momentum"]
    assert book.side == 1
    book.qty *= 10.0  # the account is suddenly over its caps
    held = book.qty
    assert isinstance(one.rails, Recorded)
    one.decide()
    asked = one.rails.orders[-1]
    assert asked.mode == "reduce"
    assert asked.reduce_usd > 0.0
    fills = one.step(bars[WINDOW + 2]).fills
    cut = [fill for fill in fills if fill.why == "reduce"]
    assert cut or any(fill.why == "stop" for fill in fills)
    for fill in cut:
        want = asked.reduce_usd / (held * bars[WINDOW + 1].close)
        assert fill.qty / held == pytest.approx(min(1.0, want))


def test_before_a_week_of_bars_nothing_is_decided() -> None:
    """The window must be full: half a window would size from half a week."""
    bars = walk(WINDOW)
    one = Trader(Recorded(), Account(100_000.0))
    assert not any(hour.fills for hour in live(one, bars[: WINDOW - 1]))
    assert one.modes.total() == 0


def test_two_months_of_real_hours_trade_all_four_strategies_with_different_results() -> None:
    """What the demo needs: every strategy trades and their PnL differ: risk shares have reason to move."""
    bars = load_bars()
    first = position_of(bars, "2017-12-01")
    one = Trader(Recorded(), Account(100_000.0))
    one.warm_up(bars[first - WINDOW : first])
    fills = [fill for hour in live(one, bars[first : first + 600]) for fill in hour.fills]
    assert {fill.strategy for fill in fills} == {"scalp", "momentum", "trend", "event"}
    pnl = sorted(one.pnl_by_strategy().values())
    assert pnl[-1] - pnl[0] > 500.0
    assert one.account.drawdown_ratio < 0.1
