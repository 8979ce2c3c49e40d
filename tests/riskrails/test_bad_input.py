"""The table of bad input, row by row: the exact code, the mode, and a message that helps."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from riskrails import LiveFeatures, RiskInputError
from riskrails.features import MAX_USD, as_number, exposure_problem
from tests.riskrails.desk import CALM, call, rails, size

NO_MAPPING: tuple[Any, ...] = (None, [], [("BTC-USD", 1.0)], 5.0, "x")
NO_TEXT: tuple[Any, ...] = (None, "", 7, b"m", ["m"], {})
NO_LEVERAGE: tuple[Any, ...] = (math.nan, -1, -0.5, None, "3", math.inf, [], np.float64(-1))
NO_NUMBER: tuple[Any, ...] = (None, "1", "", math.nan, math.inf, -math.inf, True, [], 1j, 10**400, b"1")

CONTRACT: tuple[tuple[str, Any, str, str], ...] = (
    *(("strat_name", bad, "E_STRAT_NAME", "non-empty text") for bad in NO_TEXT),
    *(("strat_type", bad, "E_STRAT_TYPE", "scalp, momentum, trend, event") for bad in (*NO_TEXT, "swing")),
    *(("base_tf", bad, "E_BASE_TF", "1m, 3m, 5m") for bad in (*NO_TEXT, "7m", "1H")),
    *(("leverage_allowed", bad, "E_LEVERAGE", "2.5 for 2.5x") for bad in NO_LEVERAGE),
    *(
        ("open_positions", bad, "E_OPEN_POSITIONS", "whole number")
        for bad in (-1, True, False, 1.0, 1.5, "1", None, math.nan, np.bool_(True), np.int64(-1))
    ),
    *(
        ("open_positions", bad, "E_OPEN_POSITIONS", "whole number")
        for bad in (np.array(3.7), np.array(True), np.array(3), np.array([1, 2]), np.ma.masked, Decimal(3))
    ),
    *(("exposure_by_symbol", bad, "E_EXPOSURE_MAP", "mapping") for bad in NO_MAPPING),
    ("live", None, "E_LIVE_FIELD", "live=None"),
    ("live", {"symbol": "BTC-USD"}, "E_LIVE_FIELD", "no attribute symbol"),
    ("live", replace(CALM, symbol=""), "E_LIVE_FIELD", "live.symbol"),
    ("live", replace(CALM, symbol=NO_TEXT[0]), "E_LIVE_FIELD", "live.symbol"),
    ("live", replace(CALM, symbol=NO_TEXT[4]), "E_LIVE_FIELD", "live.symbol"),
)

DATA: tuple[tuple[str, Any, str, str], ...] = (
    *(("price", bad, "BAD_PRICE", "USD above 0") for bad in (*NO_NUMBER, 0, 0.0, -1.0, 1e-16, 1e16)),
    *(
        ("atr_pct", bad, "BAD_ATR", "0.012 for 1.2 %, at most 0.12 for 1h")
        for bad in (*NO_NUMBER, -0.001, 0.1201, 1.2)
    ),
    *(("spread_bps", bad, "BAD_SPREAD", "crossed book") for bad in (*NO_NUMBER, -0.1, 10_001)),
    *(("depth10bps_usd", bad, "BAD_DEPTH", "USD from 0") for bad in (*NO_NUMBER, -1.0, 1e16)),
    *(("vol1m_usd", bad, "BAD_VOLUME", "USD from 0") for bad in (*NO_NUMBER, -1.0, 1e16)),
    *(("funding", bad, "BAD_FUNDING", "0 on spot") for bad in (*NO_NUMBER, 0.0301, -0.0301)),
    *(("event_heat", bad, "BAD_EVENT_HEAT", "0 to 1") for bad in (*NO_NUMBER, -0.01, 1.01, 50)),
    *(("velocity", bad, "BAD_VELOCITY", "standard deviations") for bad in NO_NUMBER),
    *(("liq_score", bad, "BAD_LIQ_SCORE", "1 = most liquid") for bad in (*NO_NUMBER, -0.01, 1.01, 90)),
    *(("equity_usd", bad, "BAD_EQUITY", "number of USD") for bad in (*NO_NUMBER, 1e16)),
    *(("open_risk_sum_pct", bad, "BAD_OPEN_RISK", "0.03 for 3 %") for bad in (*NO_NUMBER, -0.01, 1.01, 3)),
    *(("exposure_total_usd", bad, "BAD_EXPOSURE_TOTAL", "USD from 0") for bad in (*NO_NUMBER, -1.0)),
    *(("exposure_by_symbol", {"ETH-USD": bad}, "BAD_EXPOSURE_SYMBOL", "ETH-USD") for bad in NO_NUMBER),
    ("exposure_by_symbol", {"BTC-USD": math.nan}, "BAD_EXPOSURE_SYMBOL", "BTC-USD"),
    ("exposure_by_symbol", {"A": 9e14, "B": -9e14}, "BAD_EXPOSURE_SYMBOL", "sums to"),
)

GATED: tuple[tuple[str, Any, str, str, str], ...] = (
    ("atr_pct", 0, "ZERO_ATR", "skip", "atr_pct"),
    ("depth10bps_usd", 0, "NO_LIQUIDITY", "skip", "depth10bps_usd"),
    ("vol1m_usd", 0.0, "NO_LIQUIDITY", "skip", "vol1m_usd"),
    ("equity_usd", 0, "NO_EQUITY", "reduce", "equity_usd"),
    ("equity_usd", -5.0, "NO_EQUITY", "reduce", "equity_usd"),
)


@pytest.mark.parametrize(("field", "bad", "code", "says"), CONTRACT)
def test_a_broken_contract_raises_its_code(field: str, bad: Any, code: str, says: str) -> None:
    """The engine's own mistake: RiskInputError with code and field, what came and what was wanted."""
    with pytest.raises(RiskInputError) as caught:
        rails().compute_order(**(call() | {field: bad}))
    assert caught.value.code == code
    assert caught.value.field.split(".")[0] == field
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["symbol", *[f for f in LiveFeatures.__slots__ if f != "symbol"]])
def test_a_missing_attribute_is_named(name: str) -> None:
    """Any object with the ten attributes will do; the one it lacks is named."""
    values = {field: getattr(CALM, field) for field in LiveFeatures.__slots__}
    assert size(live=SimpleNamespace(**values)) == size()
    del values[name]
    with pytest.raises(RiskInputError, match=f"no attribute {name}") as caught:
        size(live=SimpleNamespace(**values))
    assert (caught.value.code, caught.value.field) == ("E_LIVE_FIELD", f"live.{name}")


@pytest.mark.parametrize(("field", "bad", "code", "says"), DATA)
def test_bad_data_skips_with_its_code(field: str, bad: Any, code: str, says: str) -> None:
    """The world's mistake: no exception, size 0, mode skip, one reason; field, value and unit in words."""
    order = size(**{field: bad})
    assert (order.size_usd, order.mode, order.reasons) == (0.0, "skip", (code,))
    assert says in order.messages[0]
    assert field in order.messages[0]
    if field != "exposure_by_symbol":
        assert f"{field}={bad!r}" in order.messages[0]


@pytest.mark.parametrize(("field", "bad", "code", "says"), DATA)
def test_strict_raises_bad_data(field: str, bad: Any, code: str, says: str) -> None:
    """With strict=True the same code is raised, with the same sentence."""
    with pytest.raises(RiskInputError) as caught:
        size(**{field: bad}, strict=True)
    assert caught.value.code == code
    assert caught.value.field.partition("[")[0] == field
    assert says in str(caught.value)


@pytest.mark.parametrize(("field", "bad", "code", "mode", "says"), GATED)
def test_nothing_there_is_its_own_answer(field: str, bad: Any, code: str, mode: str, says: str) -> None:
    """Zero ATR, depth, volume or equity is not bad data but a reason of its own; strict raises it too."""
    order = size(**{field: bad})
    assert (order.size_usd, order.mode, order.reasons) == (0.0, mode, (code,))
    assert says in order.messages[0]
    with pytest.raises(RiskInputError) as caught:
        size(**{field: bad}, strict=True)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_strict_lets_good_calls_and_market_gates_through() -> None:
    """Strict is about input: a good call sizes the same, a wide spread skips the same."""
    assert size(strict=True) == size()
    assert size(spread_bps=13.0, strict=True) == size(spread_bps=13.0)


def test_every_fault_is_named_at_once() -> None:
    """Five bad inputs give five reasons, in the order of the fields, then the account's own gates."""
    desk = rails(breakers={"manual": True}, drawdown_pct=0.5)
    order = size(
        desk,
        price=None,
        atr_pct=1.2,
        funding="x",
        exposure_total_usd=-1.0,
        exposure_by_symbol={"X": None},
        open_positions=8,
    )
    assert order.mode == "skip"
    assert order.reasons == (
        "BAD_PRICE",
        "BAD_ATR",
        "BAD_FUNDING",
        "BAD_EXPOSURE_TOTAL",
        "BAD_EXPOSURE_SYMBOL",
        "HALTED",
        "DRAWDOWN",
        "MAX_POSITIONS",
    )
    assert len(order.messages) == 8
    broke = size(equity_usd=-1.0, price=None)
    assert broke.reasons == ("BAD_PRICE", "NO_EQUITY")


@pytest.mark.parametrize(
    ("field", "edge"),
    [
        ("atr_pct", 0.12),
        ("spread_bps", 10_000.0),
        ("funding", 0.03),
        ("funding", -0.03),
        ("event_heat", 0.0),
        ("event_heat", 1.0),
        ("liq_score", 0.0),
        ("liq_score", 1.0),
        ("open_risk_sum_pct", 1.0),
        ("price", 1e-15),
        ("price", 1e15),
        ("depth10bps_usd", 1e15),
        ("equity_usd", 1e15),
    ],
)
def test_the_edges_of_a_band_belong_to_it(field: str, edge: Any) -> None:
    """The last plausible value is data, not bad data."""
    assert not any(reason.startswith("BAD_") for reason in size(**{field: edge}).reasons)


def test_shorts_count_by_their_absolute_value() -> None:
    """A short of the symbol uses the same room as a long."""
    short, long = (size(exposure_by_symbol={"BTC-USD": usd}, exposure_total_usd=7e4) for usd in (-7e4, 7e4))
    assert short == long
    assert short.caps["exposure_symbol"] == pytest.approx(5_000.0)


def test_exposures_that_do_not_add_up_take_the_larger() -> None:
    """Σ|by symbol| above 1.01 × total: the sum counts, with a warning; up to there it counts without one."""
    loud = size(exposure_total_usd=100.0, exposure_by_symbol={"ETH-USD": -60_000.0, "SOL-USD": 60_000.0})
    assert "EXPOSURE_MISMATCH" in loud.warnings
    assert loud.caps["exposure_total"] == 80_000.0
    quiet = size(exposure_total_usd=100.0, exposure_by_symbol={"ETH-USD": 101.0})
    assert "EXPOSURE_MISMATCH" not in quiet.warnings
    assert quiet.caps["exposure_total"] == 199_899.0
    total = size(exposure_total_usd=500.0, exposure_by_symbol={"ETH-USD": 101.0})
    assert total.caps["exposure_total"] == 199_500.0


def test_numbers_of_any_kind_are_numbers() -> None:
    """int, Decimal, Fraction and numpy scalars size as the float they stand for."""
    for kind in (int, Decimal, Fraction, np.float64, np.int64, np.float32):
        order = size(price=kind(60_000), equity_usd=kind(100_000), exposure_by_symbol={"BTC-USD": kind(5)})
        assert order == size(exposure_by_symbol={"BTC-USD": 5.0}), kind
        assert type(order.size_usd) is float
    assert size(open_positions=np.int64(3)) == size()
    assert size(leverage_allowed=np.float64(2)) == size(leverage_allowed=2)


@pytest.mark.parametrize("bad", NO_NUMBER[:3] + NO_NUMBER[6:] + (Decimal("sNaN"), np.bool_(True)))
def test_what_is_no_number_reads_as_nan(bad: Any) -> None:
    """None, text, booleans, containers, complex numbers and integers beyond floats."""
    assert math.isnan(as_number(bad))


def test_leverage_permissions() -> None:
    """True: the type's maximum; False and 0: 1x; a number: itself, up to the maximum."""
    caps = {
        allowed: size(leverage_allowed=allowed).caps["leverage"]
        for allowed in (True, False, 0.5, 1.5, 3.0, 99.0)
    }
    assert list(caps.values()) == [300_000.0, 100_000.0, 50_000.0, 150_000.0, 300_000.0, 300_000.0]
    assert size(leverage_allowed=0).caps["leverage"] == 100_000.0
    assert size(leverage_allowed=np.bool_(False)).caps["leverage"] == 100_000.0
    assert size(leverage_allowed=0.5).leverage == 1.0
    assert size(leverage_allowed=2.5).leverage == 2.5


def test_the_largest_exposures_are_amounts() -> None:
    """One position at the limit, long or short, is an amount; a dollar more in all is not, and says so."""
    for amounts in ({"A": MAX_USD}, {"A": -MAX_USD}):
        assert exposure_problem(amounts) is None
    problem = exposure_problem({"A": MAX_USD, "B": -1.0})
    assert problem is not None
    assert problem.message == "exposure_by_symbol sums to 1000000000000001.0: want at most 1e+15 USD"
