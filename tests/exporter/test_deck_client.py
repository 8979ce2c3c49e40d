"""DeckClient as an engine uses it, waiting and in the background; its async twin; forks and kills."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import deck_client
from exporter.deck_metrics import (
    AsyncDeckClient,
    DeckAnswerError,
    DeckAuthError,
    DeckClient,
    DeckClosedError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
    RetryPolicy,
    SpoolError,
)
from tests.exporter.test_deck_sender import SOON, ids, trade
from tests.fakes.http_deck import Scripted, StandInDeck

AT_ONCE = RetryPolicy(attempts=2, base_seconds=0.0)


@pytest.fixture
def deck(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInDeck]:
    with StandInDeck() as running:
        monkeypatch.setenv("DECK_URL", running.url)
        monkeypatch.setenv("DECK_SPOOL_DIR", str(tmp_path / "spool"))
        for name in ("DECK_TOKEN", "DECK_TOKEN_FILE", "DECK_ENGINE"):
            monkeypatch.delenv(name, raising=False)
        yield running


def test_a_token_file_that_is_not_there_is_refused_by_the_settings_name(
    deck: StandInDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing secret is not "no token"."""
    monkeypatch.setenv("DECK_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(DeckInputError, match="DECK_TOKEN_FILE /nowhere/token"):
        DeckClient()


def test_a_waiting_push_raises_what_the_deck_said(deck: StandInDeck) -> None:
    """4xx with error, detail and field; 5xx after its retries; 401 as what it is."""
    with DeckClient(retry=AT_ONCE) as client:
        with pytest.raises(DeckRefusedError) as refused:
            client.push_trade(trade(0, qty=-1.0))
        assert (refused.value.status, refused.value.error, refused.value.field) == (
            400,
            "out_of_range",
            "trades[0].qty",
        )
        with pytest.raises(DeckInputError, match="equity_usd"):
            client.push_metrics(equity_usd=float("nan"))
        deck.script += [Scripted(503, {"error": "disk_full", "detail": "full"})] * 2
        with pytest.raises(DeckUnavailableError, match="full"):
            client.push_metrics(equity_usd=1.0)
        assert client.counters.retried == 1
        deck.token = "right"
        with pytest.raises(DeckAuthError):
            client.get_status()
        assert client.flush()
        assert client.dead_letters is None


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("trade", {"foo": 1}),
        ("trade", {"accepted": 1}),
        ("trade", {"accepted": True, "duplicates": 0}),
        ("trade", {"accepted": 2, "duplicates": 0}),
        ("trade", {"accepted": 2, "duplicates": -1}),
        ("gauges", {"foo": 1}),
        ("gauges", {"accepted": "1"}),
        ("weights", {"version": 3}),
        ("weights", {"version": "3", "weights": {}}),
        ("weights", {"version": 3, "weights": []}),
        ("status", {"halted": False}),
        ("status", {"halted": 0, "metrics": {}, "breakers": {}}),
        ("status", {"halted": False, "metrics": [], "breakers": {}}),
    ],
)
def test_json_of_something_that_is_no_deck_is_no_success(
    deck: StandInDeck, call: str, answer: dict[str, Any]
) -> None:
    """A wrong DECK_URL may answer 200 with an object of its own; a trade given to it is not delivered."""
    with DeckClient() as client:
        calls: dict[str, Callable[[], Any]] = {
            "trade": lambda: client.push_trade(trade(0)),
            "gauges": lambda: client.push_metrics(equity_usd=1.0),
            "weights": client.get_weights,
            "status": client.get_status,
        }
        deck.script.append(Scripted(200, answer))
        with pytest.raises(DeckAnswerError, match="is DECK_URL a deck"):
            calls[call]()
        assert calls[call]()


def test_a_background_client_delivers_on_leaving_the_with_block(deck: StandInDeck) -> None:
    """The context manager flushes; the pushes themselves answered None at once."""
    with DeckClient(background=True, engine="a", interval_seconds=0.0) as client:
        assert client.push_metrics(equity_usd=1.0) is None
        assert client.push_strategy_pnl({"scalp": 1.0}) is None
        assert client.push_trade(trade(0)) is None
        assert client.push_trades([trade(1), trade(2)]) is None
        assert client.get_weights()["version"] == 3
    assert list(deck.trades) == ids(range(3))
    assert {t["engine"] for t in deck.trades.values()} == {"a"}
    told = {name: value for push in deck.pushes for name, value in push.items()}
    assert told == {"equity_usd": 1.0, "pnl_by_strategy": {"scalp": 1.0}, "engine": "a"}
    assert client.close()
    with pytest.raises(DeckClosedError):
        client.push_trade(trade(3))


def test_a_background_push_raises_nothing_whatever_it_is_given(deck: StandInDeck) -> None:
    """Not for a wrong type, not for a map that is none: it is counted and the deck hears of it."""
    wrong: Any = [1, 2]
    with DeckClient(background=True) as client:
        client.push_metrics(breaker=wrong, equity_usd=1.0)
        client.push_metrics(pnl_by_strategy=wrong, info=wrong)
        client.push_trade(wrong_field=1)
        client.push_trade(wrong)
        assert client.flush(SOON)
        assert client.counters.refused == 3
        assert client.counters.dead_lettered == 2
    told = {name: value for push in deck.pushes for name, value in push.items()}
    assert told["equity_usd"] == 1.0
    assert told["breaker"] == "not sent: [1, 2]"


@pytest.mark.parametrize("background", [False, True])
def test_a_closed_client_takes_nothing_and_says_so(deck: StandInDeck, background: bool) -> None:
    """Waiting or not: whoever closed it has forgotten about it, and a push must not go unseen."""
    client = DeckClient(background=background)
    client.push_trade(trade(0))
    assert client.close()
    assert client.close()
    calls: list[Callable[[], Any]] = [
        lambda: client.push_metrics(equity_usd=1.0),
        lambda: client.push_strategy_pnl({"scalp": 1.0}),
        lambda: client.push_trade(trade(1)),
        lambda: client.push_trades([trade(1)]),
        client.get_weights,
        client.get_status,
    ]
    for call in calls:
        with pytest.raises(DeckClosedError, match="make a new one"):
            call()
    assert list(deck.trades) == ["t0"]
    assert deck.pushes == []


def test_a_waiting_push_from_an_exit_handler_still_goes(deck: StandInDeck) -> None:
    """Handlers run last in, first out: one that was there before the client comes after the client's own."""
    script = (
        "import atexit\n"
        f"atexit.register(lambda: deck_metrics.push_trade({trade(0)!r}))\n"
        "from exporter import deck_metrics\n"
        "deck_metrics.push_metrics(equity_usd=1.0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(deck.trades) == ["t0"]


def test_many_threads_share_one_client_and_every_trade_arrives_once(deck: StandInDeck) -> None:
    """Eight writers, one spool; each writer's own order holds."""
    with DeckClient(background=True) as client:

        def write(writer: int) -> None:
            for number in range(100):
                client.push_trade(trade(writer * 1000 + number))
                client.push_metrics(pnl_by_strategy={f"s{writer}": float(number)})

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(SOON)
        assert client.counters.sent_trades == 800
    arrived = [int(name[1:]) for name in deck.trades]
    assert len(arrived) == 800
    for writer in range(8):
        own = [number for number in arrived if number // 1000 == writer]
        assert own == list(range(writer * 1000, writer * 1000 + 100))
    told: dict[str, float] = {}
    for push in deck.pushes:
        told.update(push.get("pnl_by_strategy", {}))
    assert told == {f"s{writer}": 99.0 for writer in range(8)}


def test_each_engine_and_each_deck_has_its_own_spool(deck: StandInDeck, tmp_path: Path) -> None:
    """Trades meant for one deck never go to another, and two engines do not lock each other out."""
    with (
        DeckClient(background=True, engine="a/b c"),
        DeckClient(background=True, engine="b"),
        DeckClient("http://127.0.0.1:9", background=True, engine="b"),
    ):
        names = [path.name for path in (tmp_path / "spool").iterdir()]
    assert len(names) == 3
    assert any(name.startswith("a_b_c-") for name in names)


def test_trades_that_wait_for_another_address_are_not_forgotten(
    deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """DECK_URL changed while trades waited: the log says where, and none goes to the wrong deck."""
    with DeckClient("http://127.0.0.1:9", background=True, engine="a") as old:
        old.push_trade(trade(0))
        assert not old.close(0.1)
    assert old.dead_letters is not None
    with caplog.at_level(logging.WARNING), DeckClient(background=True, engine="a") as new:
        assert new.flush(SOON)
    assert f"wait for a deck at another address: directory={old.dead_letters.parent}" in caplog.text
    assert deck.trades == {}


def test_a_second_client_on_the_same_spool_is_refused_with_what_to_do(deck: StandInDeck) -> None:
    """Two processes under one engine id are a mistake that would mix their trades."""
    with DeckClient(background=True), pytest.raises(SpoolError, match="its own engine id"):
        DeckClient(background=True)


def test_trades_of_a_process_killed_with_sigkill_are_delivered_once_by_the_next(deck: StandInDeck) -> None:
    """Kill -9 right after the last push returned, with the deck away: nothing is lost, nothing twice."""
    deck.stop()
    script = (
        "import os, signal; from exporter.deck_metrics import DeckClient\n"
        "from tests.exporter.test_deck_sender import trade\n"
        "client = DeckClient(background=True)\n"
        "for n in range(300): client.push_trade(trade(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    deck.start()
    with DeckClient(background=True) as client:
        assert client.flush(SOON)
        assert client.counters.recovered == 300
    assert list(deck.trades) == ids(range(300))
    assert sum(len(seen.body["trades"]) for seen in deck.seen) == 300


@pytest.mark.parametrize("end", ["", "del client\n"])
def test_an_engine_that_ends_without_closing_still_delivers(deck: StandInDeck, end: str) -> None:
    """A normal exit flushes for a moment, also for a client that nobody holds any more."""
    script = (
        "from exporter.deck_metrics import DeckClient\n"
        "from tests.exporter.test_deck_sender import trade\n"
        "client = DeckClient(background=True)\n"
        "client.push_trade(trade(0)); client.push_metrics(equity_usd=1.0)\n"
    ) + end
    subprocess.run([sys.executable, "-c", script], check=True)
    assert list(deck.trades) == ["t0"]
    assert deck.pushes == [{"equity_usd": 1.0}]


def test_after_a_fork_the_child_is_refused_and_the_parent_delivers(deck: StandInDeck) -> None:
    """A real fork: the copy in the child says so at its first push, and leaves the spool alone."""
    script = (
        "import os, sys; from exporter.deck_metrics import DeckClient, DeckClosedError\n"
        "from tests.exporter.test_deck_sender import trade\n"
        "client = DeckClient(background=True)\n"
        "client.push_trade(trade(0))\n"
        "wait, go = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.close(go)\n"
        "    try: client.push_trade(trade(1))\n"
        "    except DeckClosedError: os.read(wait, 1); os._exit(7)\n"
        "    os._exit(1)\n"
        "client.push_trade(trade(2))\n"
        "done = client.close(20)\n"
        "DeckClient(background=True).close()  # the living child holds no lock on the spool\n"
        "os.close(go)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), done)\n"
    )
    # Python 3.12 warns of any fork beside a thread; that is what this test is about.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["7", "True"]
    assert list(deck.trades) == ["t0", "t2"]


def test_the_async_client_awaits_what_waits_and_pushes_without(deck: StandInDeck) -> None:
    """The same pushes, from a coroutine."""

    async def engine() -> tuple[int, bool]:
        async with AsyncDeckClient(engine="a") as client:
            client.push_metrics(equity_usd=1.0)
            client.push_strategy_pnl({"scalp": 1.0})
            client.push_trade(trade(0))
            client.push_trades([trade(1)])
            weights, status = await asyncio.gather(client.get_weights(), client.get_status())
            assert status["halted"] is False
            assert await client.flush(SOON)
            assert client.counters.sent_trades == 2
            return weights["version"], await client.close()

    assert asyncio.run(engine()) == (3, True)
    assert list(deck.trades) == ids(range(2))


def test_neither_repr_nor_log_shows_the_token(deck: StandInDeck, caplog: pytest.LogCaptureFixture) -> None:
    """A secret in a log is a secret lost."""
    deck.token = "other"
    with caplog.at_level(logging.DEBUG), DeckClient(token="hush-hush", background=True) as client:
        client.push_metrics(equity_usd=1.0)
        client.push_trade(trade(0))
        assert not client.flush(0.1)
        assert "hush" not in repr(client)
        client.close(0.1)
    assert caplog.records
    assert "hush" not in caplog.text


def test_the_default_spool_is_in_the_users_state_directory(
    deck: StandInDeck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not in the directory the engine happens to be started from, or a restart elsewhere would miss it."""
    monkeypatch.delenv("DECK_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with DeckClient(background=True):
        assert list((tmp_path / "state" / "deckrails" / "spool").iterdir())

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    with pytest.raises(SpoolError, match="DECK_SPOOL_DIR"):
        deck_client._state_directory({}, homeless)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with DeckClient(background=True):
        assert list((tmp_path / "home" / ".local" / "state" / "deckrails" / "spool").iterdir())


@pytest.mark.parametrize("span", [86_400.5, 1e10, 1e300])
def test_a_wait_that_no_lock_can_count_is_refused_at_the_start(tmp_path: Path, span: float) -> None:
    """In the thread it would be an overflow, and the end of all sending."""
    with pytest.raises(DeckInputError, match=r"interval_seconds is .*: want 86400 seconds or less"):
        DeckClient(background=True, spool_dir=tmp_path, interval_seconds=span)
    with pytest.raises(DeckInputError, match=r"base_seconds is .*: want 86400 seconds or less"):
        RetryPolicy(base_seconds=span)
    with pytest.raises(DeckInputError, match=r"cap_seconds is .*: want 86400 seconds or less"):
        RetryPolicy(cap_seconds=span)


def test_the_exit_gives_all_clients_one_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread is told to end before the first is waited for, and all waits fit in one."""
    with StandInDeck() as gone:
        pass
    monkeypatch.setattr(deck_client, "_senders", set())
    monkeypatch.setattr(deck_client, "EXIT_SECONDS", 0.1, raising=False)
    clients = [
        DeckClient(gone.url, engine=f"engine{number}", background=True, spool_dir=tmp_path)
        for number in range(3)
    ]
    senders = [client._sender for client in clients if client._sender]
    given: list[float] = []
    ended: list[bool] = []

    def noted(client: DeckClient, timeout_seconds: float) -> bool:
        given.append(timeout_seconds)
        ended.append(all(sender._closed_because for sender in senders))
        return close(client, timeout_seconds)

    close = DeckClient.close
    monkeypatch.setattr(DeckClient, "close", noted)
    for number, client in enumerate(clients):
        client.push_trade(trade(number))
    deck_client._close_at_exit()
    assert given == [0.0] * 3
    assert ended == [True] * 3
    assert not deck_client._senders
