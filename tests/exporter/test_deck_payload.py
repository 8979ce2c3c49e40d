"""What an engine hands over becomes what the deck takes, or is refused with the field's name."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.deck_errors import DeckInputError
from exporter.deck_payload import encode, metrics_payload, split_faults, trade_json, trade_payload, without

TRADE: dict[str, Any] = {
    "trade_id": "t1",
    "ts": 1_700_000_000.0,
    "strategy": "scalp",
    "symbol": "BTC-USD",
    "side": "buy",
    "qty": 0.5,
    "price": 37_000.0,
    "fee_usd": 9.25,
}


def test_fields_that_were_not_given_are_left_out() -> None:
    """Absent means "keeps its last value" on the deck, which null does not."""
    assert metrics_payload({"equity_usd": 1.0, "pnl_24h": None}) == {"equity_usd": 1.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Decimal("NaN"), np.float32("nan"), 10**400])
def test_a_value_that_is_not_finite_is_refused_by_name(value: Any) -> None:
    """JSON has no NaN, and no deck takes one."""
    with pytest.raises(DeckInputError, match="equity_usd") as refused:
        metrics_payload({"equity_usd": value})
    assert (refused.value.error, refused.value.field) == ("not_finite", "equity_usd")


@pytest.mark.parametrize("value", ["1.5", True, [1.0], b"1", np.bool_(True), object()])
def test_what_is_not_a_number_is_refused_by_name(value: Any) -> None:
    """A truth value or a text that looks like a number is a mistake, not a number."""
    with pytest.raises(DeckInputError, match="want a number") as refused:
        metrics_payload({"pnl_by_strategy": {"scalp": value}})
    assert (refused.value.error, refused.value.field) == ("wrong_type", "pnl_by_strategy.scalp")


class Hostile:
    """An object whose every conversion fails in its own way."""

    def __float__(self) -> float:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_an_object_that_fails_to_convert_is_refused_like_any_other() -> None:
    """A tensor on a lost device must not end a tick with an error of its own."""
    with pytest.raises(DeckInputError, match="Hostile object"):
        metrics_payload({"equity_usd": Hostile()})
    with pytest.raises(DeckInputError, match="fee_usd"):
        trade_json({**TRADE, "fee_usd": Hostile()})


@pytest.mark.parametrize(
    ("value", "want"), [(Decimal("1.5"), 1.5), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (7, 7)]
)
def test_numbers_of_other_libraries_become_json_numbers(value: Any, want: float) -> None:
    """Engines compute with Decimal and numpy; JSON knows neither."""
    assert json.loads(encode(metrics_payload({"equity_usd": value}))) == {"equity_usd": want}


def test_breakers_are_truth_values_and_nothing_else() -> None:
    """0 or "false" for a breaker is refused rather than guessed at; numpy's own truth value is fine."""
    assert metrics_payload({"breaker": {"equity": np.bool_(True)}}) == {"breaker": {"equity": True}}
    for wrong in (0, 1, "false", None):
        with pytest.raises(DeckInputError, match=r"breaker\.equity"):
            metrics_payload({"breaker": {"equity": wrong}})


def test_a_push_of_nothing_is_refused() -> None:
    """An engine id alone is no news."""
    with pytest.raises(DeckInputError, match="nothing to push"):
        metrics_payload({"engine": "a", "equity_usd": None})


def test_an_unknown_metric_is_refused_with_the_names_there_are() -> None:
    """A misspelling must not vanish."""
    with pytest.raises(DeckInputError, match=r"'equity'.*equity_usd"):
        metrics_payload({"equity": 1.0})


def test_an_aware_datetime_becomes_epoch_seconds_and_a_naive_one_is_refused() -> None:
    """A naive datetime means another moment in another time zone."""
    moment = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert trade_payload({**TRADE, "ts": moment})["ts"] == 1_700_000_000.0
    assert metrics_payload({"started_at": moment}) == {"started_at": 1_700_000_000.0}
    with pytest.raises(DeckInputError, match="time zone"):
        trade_payload({**TRADE, "ts": moment.replace(tzinfo=None)})


@pytest.mark.parametrize("name", sorted(TRADE))
def test_a_trade_without_a_field_is_refused_by_its_name(name: str) -> None:
    """Each required field, one by one."""
    with pytest.raises(DeckInputError) as refused:
        trade_payload({key: value for key, value in TRADE.items() if key != name})
    assert (refused.value.error, refused.value.field) == ("missing_field", name)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"side": "long"}, "side"),
        ({"qty": math.nan}, "qty"),
        ({"price": "37000"}, "price"),
        ({"trade_id": ""}, "trade_id"),
        ({"trade_id": 7}, "trade_id"),
        ({"pnl_usd": math.inf}, "pnl_usd"),
        ({"quantity": 1.0}, "quantity"),
    ],
)
def test_a_trade_with_a_wrong_field_is_refused_by_its_name(change: dict[str, Any], field: str) -> None:
    """The error names what to mend."""
    with pytest.raises(DeckInputError) as refused:
        trade_payload({**TRADE, **change})
    assert refused.value.field == field


def test_a_trade_carries_the_engine_of_its_client_unless_it_has_its_own() -> None:
    """Several engines share a deck; a trade says whose it is."""
    assert "engine" not in trade_payload(TRADE)
    assert trade_payload(TRADE, "a")["engine"] == "a"
    assert trade_payload({**TRADE, "engine": "b"}, "a")["engine"] == "b"


def test_a_bad_field_is_parted_from_the_good_ones_down_to_the_entry() -> None:
    """One NaN must not hold back the breaker that tripped because of it."""
    good, bad, faults = split_faults(
        {
            "equity_usd": math.nan,
            "breaker": {"equity": True},
            "pnl_by_strategy": {"scalp": 1.0, "trend": math.inf},
            "pnl_24h": None,
        }
    )
    assert good == {"breaker": {"equity": True}, "pnl_by_strategy": {"scalp": 1.0}}
    assert bad == {"equity_usd": "not sent: nan", "pnl_by_strategy": {"trend": "not sent: inf"}}
    assert [fault.field for fault in faults] == ["equity_usd", "pnl_by_strategy.trend"]


def test_a_refused_field_is_left_out_by_its_path() -> None:
    """What the deck names in its refusal is what is not sent again."""
    fields = {"equity_usd": 1.0, "breaker": {"equity": True, "venue": False}}
    assert without(fields, "equity_usd") == {"breaker": {"equity": True, "venue": False}}
    assert without(fields, "breaker.venue") == {"equity_usd": 1.0, "breaker": {"equity": True}}
    assert without({"breaker": {"venue": False}}, "breaker.venue") == {}


@pytest.mark.parametrize("path", [None, "", "nothing", "breaker.other"])
def test_a_refusal_that_names_no_field_leaves_nothing_to_send(path: str | None) -> None:
    """Without a name to leave out, sending again would be refused for ever."""
    assert without({"equity_usd": 1.0, "breaker": {"equity": True}}, path) == {}


texts = st.text(max_size=8)
odd = st.one_of(
    st.none(), st.floats(), st.integers(), texts, st.booleans(), st.lists(st.integers(), max_size=1)
)
trades = st.fixed_dictionaries(
    {
        "trade_id": texts | odd,
        "ts": st.floats() | odd,
        "strategy": texts,
        "symbol": texts,
        "side": st.sampled_from(["buy", "sell", "long", ["buy"], None]),
        "qty": st.floats() | odd,
        "price": st.floats(),
        "fee_usd": st.floats(allow_nan=False, allow_infinity=False),
    },
    optional={"pnl_usd": st.floats() | odd, "engine": texts | odd, "quantity": st.floats()},
)


@given(trades, st.sampled_from([None, "a", 'quote " and ü']))
def test_the_quick_way_to_json_says_what_the_thorough_way_says(
    fields: dict[str, Any], engine: str | None
) -> None:
    """The same trade and the same refusal, whatever comes."""
    try:
        want = trade_payload(fields, engine)
    except DeckInputError as refused:
        with pytest.raises(DeckInputError) as quick:
            trade_json(fields, engine)
        assert str(quick.value) == str(refused)
    else:
        assert json.loads(trade_json(fields, engine)) == want
