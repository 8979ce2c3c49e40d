"""compute_orders: a batch equals its rows to the last bit, and refuses what a row would refuse."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskrails import LiveFeatures, Policy, RiskInputError, RiskRails, VenueRules
from riskrails.batch import CHUNK
from riskrails.order import REASONS, WARNINGS
from riskrails.orders import bits, names
from riskrails.state import EdgeStatistics
from tests.riskrails.desk import CALM, FEATURES, call, rails
from tests.riskrails.strategies import calls, desks, examples, numbers

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")


def columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of single calls as one batch call: sequences, and exposures by symbol with 0 where absent."""
    batch: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    batch["exposure_by_symbol"] = {
        symbol: [row["exposure_by_symbol"].get(symbol, 0.0) for row in rows] for symbol in SYMBOLS
    }
    return batch


def in_order(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its exposures in the batch's order: a float sum depends on it."""
    held = row["exposure_by_symbol"]
    return row | {"exposure_by_symbol": {symbol: held[symbol] for symbol in SYMBOLS if symbol in held}}


def spoil(row: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """One field replaced by something that may be no number at all."""
    if name in FEATURES:
        return row | {"live": replace(row["live"], **{name: value})}
    if name == "exposure_by_symbol":
        return row | {name: {"ETH-USD": value}}
    return row | {name: value}


@st.composite
def rows_of(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few calls of mixed types, timeframes, symbols and regimes, some of them spoilt."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        row = draw(calls(symbol=draw(st.sampled_from([*SYMBOLS, "XRP-USD"]))))
        if draw(st.integers(0, 4)) == 0:
            name = draw(st.sampled_from([*FEATURES, "equity_usd", "open_risk_sum_pct", "exposure_by_symbol"]))
            row = spoil(row, name, draw(st.sampled_from([math.nan, None, "x", -1, 0, 0.5, math.inf, True])))
        rows.append(in_order(row))
    return rows


@examples(150)
@given(desks(), rows_of())
def test_a_batch_equals_its_rows(desk: RiskRails, rows: list[dict[str, Any]]) -> None:
    """Every field of every row, bar the messages, is the one a single call gives, to the last bit."""
    orders = desk.compute_orders(**columns(rows))
    assert len(orders) == len(rows)
    for got, row in zip(orders, rows, strict=True):
        assert got.to_dict() | {"messages": []} == desk.compute_order(**row).to_dict() | {"messages": []}


@examples(50)
@given(st.data(), desks())
def test_scalars_serve_all_rows(data: st.DataObject, desk: RiskRails) -> None:
    """One value for a column is that value in every row; LiveFeatures may hold arrays."""
    row = in_order(data.draw(calls()))
    prices = np.array(data.draw(st.lists(numbers(1.0, 1e5), min_size=1, max_size=20)))
    orders = desk.compute_orders(**(row | {"live": replace(row["live"], price=prices)}))
    for i, price in enumerate(prices):
        single = desk.compute_order(**(row | {"live": replace(row["live"], price=float(price))}))
        assert orders[i] == single


@examples(50)
@given(
    calls(strat_name="momentum"), st.lists(st.tuples(numbers(0, 0.25), numbers(0, 1)), min_size=1, max_size=5)
)
def test_drawdown_and_share_may_be_columns(
    arguments: dict[str, Any], states: list[tuple[float, float]]
) -> None:
    """For backtests: each row as under a state with that drawdown and that share."""
    row = in_order(arguments)
    drawdowns, shares = zip(*states, strict=True)
    orders = rails().compute_orders(**row, drawdown_pct=np.array(drawdowns), risk_share=list(shares))
    for i, (drawdown, share) in enumerate(states):
        desk = rails(drawdown_pct=drawdown, risk_shares={"momentum": share})
        assert orders[i] == desk.compute_order(**row)


def test_steps_next_to_a_whole_number_are_worked_out_exactly() -> None:
    """Sizes that lie on, a hair above and a hair below a multiple of the step floor as in a single call."""
    rules = {"BTC-USD": VenueRules(qty_step="0.1", price_tick="0.1", max_notional=30.0)}
    desk = rails(Policy(min_notional=0.0), rules)
    equities = [0.6, math.nextafter(0.6, 1), math.nextafter(0.6, 0), 6.0, 60.0, 1.8, 4.2]
    row = call(price=1.0, equity_usd=np.array(equities), depth10bps_usd=1e9, vol1m_usd=1e9)
    desk.set_risk_shares({"momentum": 1.0})
    orders = desk.compute_orders(**row)
    for i, equity in enumerate(equities):
        assert orders[i] == desk.compute_order(**(row | {"equity_usd": equity}))


def test_kelly_and_stale_shares_hold_in_a_batch() -> None:
    """A negative edge, a thin edge and no record come out of a batch as out of single calls."""
    edges = {"a": EdgeStatistics(200, 40, 1.0, 1.0), "b": EdgeStatistics(200, 120, 1.0, 1.0)}
    state: dict[str, Any] = {
        "risk_shares": {"a": 0.5, "b": 0.4, "c": 0.1},
        "edges": edges,
        "share_age_seconds": 1e5,
    }
    desk = rails(Policy(kelly_enabled=True), **state)
    names_ = ["a", "b", "c", "d"]
    orders = desk.compute_orders(**call(strat_name=names_))
    assert [order.reasons for order in orders] == [("NEGATIVE_EDGE",), (), (), ()]
    for name, order in zip(names_, orders, strict=True):
        assert order == desk.compute_order(**call(strat_name=name))


def test_a_batch_longer_than_a_chunk_is_the_same_batch() -> None:
    """Rows on both sides of a chunk's edge come out as alone."""
    n = CHUNK + 3
    heat = np.linspace(0.0, 1.0, n)
    orders = rails().compute_orders(**call(event_heat=heat))
    for i in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, n - 1):
        assert orders[i] == rails().compute_order(**call(event_heat=float(heat[i])))
    assert orders[-1] == orders[n - 1]


def test_open_risk_above_the_whole_account_is_bad_in_a_batch_too() -> None:
    """Between one and whatever percent would look like: refused as in a single call."""
    risks = [1.0, math.nextafter(1.0, 2.0), 1.5, 2.0, 3.0]
    orders = rails().compute_orders(**call(open_risk_sum_pct=risks))
    for order, risk in zip(orders, risks, strict=True):
        assert order == rails().compute_order(**call(open_risk_sum_pct=risk))
    assert [order.reasons[0] for order in orders] == ["HEAT_FULL", *["BAD_OPEN_RISK"] * 4]


def test_inputs_are_left_alone() -> None:
    """No array handed in is written to."""
    prices = np.array([1.0, math.nan, 3.0])
    arguments = call(price=prices, exposure_by_symbol={"BTC-USD": np.array([-1.0, 2.0, math.inf])})
    kept = copy.deepcopy(arguments)
    rails().compute_orders(**arguments)
    np.testing.assert_equal(arguments["live"].price, kept["live"].price)
    np.testing.assert_equal(arguments["exposure_by_symbol"], kept["exposure_by_symbol"])


@pytest.mark.parametrize("name", [*FEATURES, "equity_usd", "open_risk_sum_pct", "exposure_total_usd"])
def test_a_masked_value_is_no_value(name: str) -> None:
    """What a mask hides is refused as the single call refuses None, floats and integers alike."""
    for kind in (np.float64, np.int64):
        column = np.ma.masked_array(np.ones(2, dtype=kind), mask=[False, True])
        orders = rails().compute_orders(**call(**{name: column}))
        assert orders[0] == rails().compute_order(**call(**{name: float(column.data[0])}))
        assert orders[1] == rails().compute_order(**call(**{name: None}))
        assert orders[1].reasons[0].startswith("BAD_")


def test_a_mask_hides_regimes_exposures_and_counts() -> None:
    """A masked regime is unknown, a masked exposure bad data, a masked count or permission a broken call."""
    hidden = np.ma.masked_array([0.5, 0.5], mask=[False, True])
    regimes = rails().compute_orders(**call(regime_signal=hidden))
    assert [order.multipliers["m_regime"] for order in regimes] == [0.9, 0.4]
    held = rails().compute_orders(**call(exposure_by_symbol={"BTC-USD": hidden}))
    assert [order.reasons for order in held] == [(), ("BAD_EXPOSURE_SYMBOL",)]
    counts = np.ma.masked_array([1, 1], mask=[False, True])
    for name, column in (("open_positions", counts), ("leverage_allowed", hidden)):
        with pytest.raises(RiskInputError, match=name):
            rails().compute_orders(**call(**{name: column}))


@pytest.mark.parametrize("count", [2**63, 2**64, 10**30])
def test_more_positions_than_a_column_holds_are_too_many(count: int) -> None:
    """A count beyond an int64 is MAX_POSITIONS, alone, in a list and in an unsigned column."""
    columns_: list[Any] = [count, [count, 0]]
    if count < 2**64:
        columns_.append(np.array([count, 0], dtype=np.uint64))
    for column in columns_:
        assert rails().compute_orders(**call(open_positions=column))[0].reasons == ("MAX_POSITIONS",)
    assert rails().compute_order(**call(open_positions=count)).reasons == ("MAX_POSITIONS",)


def test_columns_and_rows_are_read_by_name_and_place() -> None:
    """Columns by name or attribute, rows by index; what does not exist is an error."""
    orders = rails().compute_orders(**call(price=np.array([60_000.0, math.nan])))
    assert orders["size_usd"] is orders.size_usd
    assert list(orders.mode) == ["taker", "skip"]
    assert list(orders["binding"]) == ["risk", None]
    assert orders.reasons == [(), ("BAD_PRICE",)]
    assert orders.warnings == [("STEP_UNKNOWN",), ()]
    with pytest.raises(KeyError):
        orders["size"]
    with pytest.raises(IndexError):
        orders[2]


def test_an_empty_batch_is_empty() -> None:
    """No rows in, no rows out."""
    empty = np.array([])
    assert len(rails().compute_orders(**call(price=empty))) == 0
    assert list(rails().compute_orders(**call(strat_name=[], strat_type=[], base_tf=[], symbol=[]))) == []


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"strat_name": ["a", ""]}, "E_STRAT_NAME", "strat_name"),
        ({"strat_name": ["a", None]}, "E_STRAT_NAME", "strat_name"),
        ({"strat_type": ["trend", "swing"]}, "E_STRAT_TYPE", "strat_type"),
        ({"strat_type": 7}, "E_STRAT_TYPE", "strat_type"),
        ({"base_tf": np.array(["1h", "7m"])}, "E_BASE_TF", "base_tf"),
        ({"leverage_allowed": [1.0, None]}, "E_LEVERAGE", "leverage_allowed"),
        ({"leverage_allowed": np.array([1.0, -1.0])}, "E_LEVERAGE", "leverage_allowed"),
        ({"open_positions": np.array([1, -1])}, "E_OPEN_POSITIONS", "open_positions"),
        ({"open_positions": np.array([1.0, 2.0])}, "E_OPEN_POSITIONS", "open_positions"),
        ({"open_positions": [1, True]}, "E_OPEN_POSITIONS", "open_positions"),
        ({"symbol": ["BTC-USD", ""]}, "E_LIVE_FIELD", "live.symbol"),
        ({"symbol": None}, "E_LIVE_FIELD", "live.symbol"),
        ({"live": None}, "E_LIVE_FIELD", "live"),
        ({"live": [CALM, None]}, "E_LIVE_FIELD", "live[1].symbol"),
        ({"exposure_by_symbol": None}, "E_EXPOSURE_MAP", "exposure_by_symbol"),
        ({"price": np.array([1.0, 2.0]), "equity_usd": np.array([1.0])}, "E_ROWS", "rows"),
        ({"price": np.ones((2, 2))}, "E_ROWS", "rows"),
    ],
)
def test_a_broken_contract_raises_as_in_a_single_call(changes: dict[str, Any], code: str, field: str) -> None:
    """The same code and field, whichever row breaks it."""
    with pytest.raises(RiskInputError) as caught:
        rails().compute_orders(**call(**changes))
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("name", ["drawdown_pct", "risk_share"])
@pytest.mark.parametrize("bad", [1.2, -0.1, math.nan, None])
def test_state_columns_outside_their_range_raise(name: str, bad: Any) -> None:
    """A percent or a hole in the account's history is refused with its row."""
    with pytest.raises(RiskInputError, match=rf"{name}\[1\]"):
        rails().compute_orders(**(call() | {name: [0.1, bad]}))


def test_leverage_and_regime_columns_mean_what_single_values_mean() -> None:
    """True, False, 0 and numbers; labels, numbers and nonsense."""
    permits = [True, False, 0, 2.5, 1e9, np.bool_(True)]
    orders = rails().compute_orders(**call(leverage_allowed=permits))
    for i, permit in enumerate(permits):
        assert orders[i] == rails().compute_order(**call(leverage_allowed=permit))
    signals = ["stress", "neutral", "trend", -0.5, 0.25, 2, None, "up", math.nan, True]
    orders = rails().compute_orders(**call(regime_signal=signals))
    for i, signal in enumerate(signals):
        assert orders[i] == rails().compute_order(**call(regime_signal=signal))


def test_every_code_has_a_bit() -> None:
    """Masks hold all codes, and give them back in order."""
    for codes in (REASONS, WARNINGS):
        every = sum(int(bit) for bit in bits(codes).values())
        assert names(codes, every) == codes
        assert names(codes, 0) == ()
    assert LiveFeatures.__slots__[0] == "symbol"
