"""Whatever an engine hands over: a DeckError when it waits, nothing raised in a tick, nothing lost unseen."""

from __future__ import annotations

import enum
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.deck_http import RetryPolicy
from exporter.deck_metrics import AsyncDeckClient, DeckClient, DeckError, DeckInputError, token_from
from exporter.deck_outbox import Outbox
from tests.exporter.test_deck_sender import SOON, trade
from tests.fakes.http_deck import StandInDeck


@pytest.fixture
def deck(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInDeck]:
    monkeypatch.chdir(tmp_path)  # for a relative spool directory among the odd values
    with StandInDeck() as running:
        monkeypatch.setenv("DECK_URL", running.url)
        monkeypatch.setenv("DECK_SPOOL_DIR", str(tmp_path / "spool"))
        for name in ("DECK_TOKEN", "DECK_TOKEN_FILE", "DECK_ENGINE"):
            monkeypatch.delenv(name, raising=False)
        yield running


class Hostile:
    """Every question it is asked fails in a way of its own."""

    def _no(self, *_: object) -> Any:
        raise RuntimeError("no")

    __repr__ = __str__ = __float__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = _no


class Unreadable(Mapping[str, Any]):
    """A mapping that is none when it is looked into."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


class HostileDict(dict[str, Any]):
    """A dict by birth only."""

    def items(self) -> Any:
        raise RuntimeError("no")

    get = keys = __iter__ = __getitem__ = items  # type: ignore[assignment]


class Color(enum.Enum):
    RED = 1


class Text(str):
    """A text of another class."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no")


ODD: dict[str, Any] = {
    "none": None,
    "int": 5,
    "huge": 10**400,
    "nan": math.nan,
    "bytes": b"x",
    "bool": True,
    "list": [1, 2],
    "empty_list": [],
    "empty_dict": {},
    "empty_text": "",
    "half_character": "\ud800",
    "tuple_key": {(1, 2): 1.0},
    "none_key": {None: 1.0},
    "hostile": Hostile(),
    "hostile_in_dict": {"a": Hostile()},
    "unreadable": Unreadable(),
    "hostile_dict": HostileDict(a=1.0),
    "numpy": np.float64("nan"),
    "array": np.array([1.0, 2.0]),
    "decimal": Decimal("sNaN"),
    "enum": Color.RED,
    "set": {1},
    "type": int,
    "text_class": Text("x"),
}


def gauge(name: str) -> Callable[[DeckClient, Any], Any]:
    return lambda client, value: client.push_metrics(**{name: value})


CALLS: dict[str, Callable[[DeckClient, Any], Any]] = {
    **{name: gauge(name) for name in ("equity_usd", "breaker", "pnl_by_strategy", "info", "started_at")},
    "engine": lambda client, value: client.push_metrics(equity_usd=1.0, engine=value),
    "strategy_pnl": lambda client, value: client.push_strategy_pnl(value),
    "strategy_pnl_entry": lambda client, value: client.push_strategy_pnl({"a": value}),
    "trade": lambda client, value: client.push_trade(value),
    "trade_and_fields": lambda client, value: client.push_trade(value, **trade(1)),
    "trade_field": lambda client, value: client.push_trade(trade(1, fee_usd=value)),
    "trade_text": lambda client, value: client.push_trade(trade(1, strategy=value)),
    "trade_engine": lambda client, value: client.push_trade(trade(1, engine=value)),
    "trades": lambda client, value: client.push_trades(value),
    "trades_of": lambda client, value: client.push_trades([trade(1), value]),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
def waiting(deck: StandInDeck) -> Iterator[DeckClient]:
    with DeckClient(retry=RetryPolicy(attempts=1)) as client:
        yield client


@calls
def test_a_waiting_push_raises_deck_errors_alone(
    waiting: DeckClient, call: Callable[[DeckClient, Any], Any]
) -> None:
    """One except clause is enough, whatever was handed over."""
    for value in ODD.values():
        with suppress(DeckError):
            call(waiting, value)


@calls
def test_a_background_push_raises_nothing(
    deck: StandInDeck, call: Callable[[DeckClient, Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the thread meet a fault of the client itself; the next push goes."""
    with DeckClient(background=True, interval_seconds=0.0) as client:
        for value in ODD.values():
            call(client, value)
        client.push_metrics(equity_usd=7.0)
        client.push_trade(trade(9))
        assert client.flush(SOON)
        assert client.counters.pending == client.counters.dropped == 0
    assert "t9" in deck.trades
    assert any(push.get("equity_usd") == 7.0 for push in deck.pushes)
    assert "a fault of the client itself" not in caplog.text


@pytest.mark.parametrize(
    "argument",
    ["url", "token", "engine", "spool_dir", "interval_seconds", "timeout_seconds", "retry", "verify"],
)
@pytest.mark.parametrize("background", [False, True])
def test_a_setting_that_cannot_be_used_is_a_deck_error_and_keeps_no_spool(
    deck: StandInDeck, argument: str, background: bool
) -> None:
    """Bad settings stop the start in one way; the next try with good ones works."""
    for value in ODD.values():
        settings: dict[str, Any] = {argument: value, "background": background}
        with suppress(DeckError):
            DeckClient(**settings).close(0.0)
    DeckClient(background=True).close(0.0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("url", 5),
        ("url", ""),
        ("token", 5),
        ("token", b"secret"),
        ("engine", 5),
        ("engine", ""),
        ("engine", "\ud800"),
        ("spool_dir", 5),
        ("spool_dir", "a\0b"),
        ("spool_dir", ""),
        ("spool_dir", "\ud800"),
        ("interval_seconds", -1.0),
        ("interval_seconds", "1"),
        ("timeout_seconds", 3.0),
        ("timeout_seconds", (1.0, 0.0)),
        ("timeout_seconds", (1.0, math.inf)),
        ("retry", 3),
        ("verify", ""),
        ("verify", 1),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(
    deck: StandInDeck, argument: str, value: Any
) -> None:
    """An empty CA bundle would switch the check of certificates off, an empty engine mix two engines."""
    settings: dict[str, Any] = {argument: value}
    with pytest.raises(DeckInputError, match=rf"(?i){argument}"):
        DeckClient(background=True, **settings)


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"attempts": 1.5}, {"base_seconds": math.nan}])
def test_a_policy_that_never_tries_is_refused(settings: dict[str, Any]) -> None:
    """No push would ever leave."""
    with pytest.raises(DeckInputError, match="want"):
        RetryPolicy(**settings)


def test_the_waits_of_an_owner_are_spans_or_refused(deck: StandInDeck) -> None:
    """For ever is a span too."""
    with DeckClient(background=True) as client:
        for value in ODD.values():
            with suppress(DeckError):
                client.flush(value)
        client.push_trade(trade(0))
        assert client.flush(math.inf)
        with pytest.raises(DeckInputError, match="timeout_seconds"):
            client.close(math.nan)
        assert client.close(math.inf)


def test_a_token_file_of_an_impossible_name_is_refused() -> None:
    """By the name of its setting."""
    with pytest.raises(DeckInputError, match="DECK_TOKEN_FILE"):
        token_from({"DECK_TOKEN_FILE": "a\0b"})


def test_an_empty_engine_is_not_the_default_engine(deck: StandInDeck) -> None:
    """A name that was looked up and not found would mix one engine's numbers with another's."""
    with DeckClient(engine="a") as client:
        for call in (
            lambda: client.push_metrics(equity_usd=1.0, engine=""),
            lambda: client.push_trade(trade(0, engine="")),
            lambda: client.get_status(""),
        ):
            with pytest.raises(DeckInputError, match="engine is ''"):
                call()
    assert deck.seen == []


@pytest.mark.parametrize("fields", [{"pnl_by_strategy": {}}, {"breaker": {}, "info": {}}, {}])
def test_a_push_of_empty_maps_says_nothing_and_is_refused(deck: StandInDeck, fields: dict[str, Any]) -> None:
    """Before it is sent; beside a value an empty map is no fault."""
    with DeckClient() as client:
        with pytest.raises(DeckInputError, match="nothing to push"):
            client.push_metrics(**fields)
        assert deck.seen == []
        assert client.push_metrics(equity_usd=1.0, **fields)


def test_in_the_background_a_push_without_engine_or_value_is_counted_and_told(deck: StandInDeck) -> None:
    """The deck's rejection counter, which the alerts watch, moves for these too."""
    with DeckClient(background=True) as client:
        client.push_metrics(equity_usd=1.0, engine="")
        client.push_strategy_pnl({})
        assert client.flush(SOON)
        assert client.counters.refused == 2
    assert deck.pushes == [{"engine": ["not sent: engine is '': want a text that is not empty"]}, {}]


def test_trades_that_are_one_trade_or_break_off_are_set_aside_whole(deck: StandInDeck) -> None:
    """The classic mistake, a mapping for a list of them, costs no trade, nor does a generator that fails."""

    def broken() -> Iterator[dict[str, Any]]:
        yield trade(1)
        raise RuntimeError("no more")

    with DeckClient(background=True) as client:
        client.push_trades(trade(0))  # type: ignore[arg-type]
        client.push_trades(broken())
        client.push_trade(trade(2, fee_usd=Hostile()))
        client.push_trade(5, qty=1.5)  # type: ignore[arg-type]
        assert client.flush(SOON)
        assert client.dead_letters is not None
        letters = [json.loads(line) for line in client.dead_letters.read_text().splitlines()]
    assert list(deck.trades) == ["t1"]
    assert [
        any(mark in letter["trade"] for mark in ("'t0'", "broken", "'t2'", "1.5")) for letter in letters
    ] == [True] * 4


def test_a_breaker_that_is_no_map_does_not_hide_behind_one_that_is() -> None:
    """Both are sent: the one for its refusal, the other because a trip must get through."""
    outbox = Outbox()
    outbox.merge(None, {"breaker": [1]})
    outbox.merge(None, {"breaker": {"equity": True}})
    assert [push.fields for push in outbox.take()] == [{"breaker": [1]}, {"breaker": {"equity": True}}]


def test_what_changes_after_the_push_changes_nothing_of_it(deck: StandInDeck) -> None:
    """An engine fills the same dicts again and again."""
    deck.stop()
    with DeckClient(background=True) as client:
        one, breaker, pnl = trade(0), {"equity": True}, {"a": 1.0}
        client.push_trade(one)
        client.push_metrics(breaker=breaker, pnl_by_strategy=pnl)
        one["qty"], breaker["equity"], pnl["a"] = 9.0, False, 9.0
        deck.start()
        assert client.flush(SOON)
    assert deck.trades["t0"] == trade(0)
    assert deck.pushes[-1] == {"breaker": {"equity": True}, "pnl_by_strategy": {"a": 1.0}}


def test_a_bad_trade_on_a_full_disk_holds_back_no_breaker_and_no_trade(deck: StandInDeck) -> None:
    """The dead-letter file is not taken; gauges and good trades do not wait for it."""
    with DeckClient(background=True) as client:
        assert client.dead_letters is not None
        client.dead_letters.mkdir()
        client.push_trade(trade(0, qty=math.nan))
        client.push_trade(trade(1))
        client.push_metrics(breaker={"equity": True})
        assert not client.flush(1.0)
        assert list(deck.trades) == ["t1"]
        assert deck.pushes == [{"breaker": {"equity": True}}]
        client.dead_letters.rmdir()
        assert client.flush(SOON)
        assert "'t0'" in client.dead_letters.read_text()


def test_a_process_without_threads_to_spare_is_told_and_keeps_no_spool(
    deck: StandInDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of the container, not a bug of the engine."""

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(DeckError, match="can't start new thread"):
            DeckClient(background=True)
    DeckClient(background=True).close()


def test_the_async_client_refuses_settings_alike(deck: StandInDeck) -> None:
    """It is the same client."""
    with pytest.raises(DeckInputError, match="engine"):
        AsyncDeckClient(engine=5)


def test_a_spool_that_vanishes_while_it_is_looked_at_stops_no_start(
    deck: StandInDeck, tmp_path: Path
) -> None:
    """Another engine that ends just now removes its files; a name without a file is what that looks like."""
    with DeckClient(background=True, engine="a") as client:
        assert client.dead_letters is not None
        other = client.dead_letters.parent.with_name("a-00000000")
    other.mkdir()
    (other / "1.log").symlink_to(tmp_path / "gone")
    with DeckClient(background=True, engine="a"):
        assert (other / "1.log").is_symlink()
