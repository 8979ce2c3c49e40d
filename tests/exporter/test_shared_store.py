"""Exporters in this process on a real PostgreSQL: what no database of one writer does to them."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporter.errors import CommitFailed
from exporter.replicas import CatchUp
from exporter.sql_store import SqlStore
from scripts.native import find_postgres
from scripts.native_postgres import Postgres, running_postgres
from tests.exporter.deck import TRADE, Deck, start_on
from tests.exporter.test_writer import push

Starter = Callable[..., Deck]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def make_replica(postgres: Postgres) -> Iterator[Starter]:
    """Starts exporters on one database, each without the tasks that would follow the others unasked."""
    loop = asyncio.new_event_loop()
    decks: list[Deck] = []

    def make(**environment: str) -> Deck:
        deck = start_on(postgres.url, loop, **environment)
        for task in deck.app._tasks:
            task.cancel()
        decks.append(deck)
        return deck

    yield make
    for deck in decks:
        deck.run(deck.app.stop())
    loop.close()


def test_a_push_that_the_database_has_no_place_for_spoils_no_trade_and_no_breaker(
    make_replica: Starter,
) -> None:
    """It gets a 422 that says why; what came with it is committed."""
    deck = make_replica()
    spoiler = push("".join(random.Random(1).choices("0123456789abcdef", k=8000)), b"m 1\n")

    async def together() -> tuple[Any, Any, Any, Any]:
        return await asyncio.gather(
            deck.request("PUT", "/metrics/job/good", b"m 1\n"),
            deck.app.service.writer.submit(spoiler),
            deck.request("POST", "/trades", TRADE),
            deck.request("POST", "/breakers/equity", {"tripped": True, "reason": "now"}),
            return_exceptions=True,
        )

    good, spoilt, trade, breaker = deck.run(together())
    assert (spoilt.status, spoilt.code, "exceeds btree" in str(spoilt)) == (422, "unstorable", True)
    assert [good.status, trade.status, breaker.status] == [200, 200, 200]
    assert trade.json == {"accepted": 1, "duplicates": 0}
    fresh = make_replica()
    assert fresh.metrics()['m{instance="",job="good"}'] == 1.0
    assert fresh.send("GET", "/status").json["halted"] is True


@pytest.mark.parametrize("path", ["/trades", "/allocator/weights/history", "/breakers/history"])
def test_what_memory_does_not_hold_is_unavailable_while_the_database_is(
    make_replica: Starter, postgres: Postgres, path: str
) -> None:
    """A read then is a 503 in the deck's form, counted, and not called a write that failed."""
    deck = make_replica()
    assert deck.send("GET", path).status == 200
    postgres.crash()
    answer = deck.send("GET", path)
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "unavailable", "1")
    assert answer.json["detail"].startswith("the database does not answer: ")
    assert deck.metrics()["exporter_store_read_failures_total"] == 1


def trade(name: str) -> dict[str, Any]:
    return {**TRADE, "trade_id": name}


def known(deck: Deck) -> dict[str, Any]:
    """All that memory has of the store."""
    state = deck.app.service.state
    names = (
        "engines",
        "totals",
        "breakers",
        "weights",
        "trade_seq",
        "history_seq",
        "revision",
        "deck_revision",
    )
    return {
        "groups": {gid: (group.text, group.push_time) for gid, group in state.groups.items()},
        "series": (state.series, state.computed),
        **{name: getattr(state, name) for name in names},
    }


def catch_up(deck: Deck) -> None:
    """Follow the others, through the error of a connection that was lost."""
    writer = deck.app.service.writer
    try:
        deck.run(writer.submit(CatchUp()))
    except CommitFailed:
        deck.run(writer.submit(CatchUp()))


@pytest.mark.parametrize("more", [1, 4, 9])
def test_after_the_database_lost_commits_every_replica_shows_what_it_has(
    make_replica: Starter, postgres: Postgres, more: int
) -> None:
    """Each trade counts once, whether the new history has fewer, as many or more commits than the lost."""
    deck, other = make_replica(), make_replica()
    assert deck.send("POST", "/trades", trade("kept")).status == 200
    assert deck.send("PUT", "/metrics/job/kept", b"m 1\n").status == 200
    # stop() alone would wait for those who are connected.
    postgres._run(find_postgres("pg_ctl"), "stop", "-D", str(postgres.data), "-m", "fast")
    postgres.stop()
    earlier = postgres.data.with_name("earlier")
    subprocess.run(["cp", "-a", postgres.data, earlier], check=True)
    postgres.start()
    catch_up(deck)
    lost = [
        deck.send("POST", "/trades", [trade("lost"), {**trade("new"), "strategy": "lost"}]),
        deck.send("PUT", "/metrics/job/lost", b"m 2\n"),
        deck.send("POST", "/metrics/push", {"engine": "lost", "equity_usd": 1.0, "breaker": {"lost": True}}),
        deck.send("POST", "/allocator/weights", {"weights": {"s": 0.5}}),
    ]
    assert [answer.status for answer in lost] == [200] * 4
    catch_up(other)
    assert known(other) == known(deck)
    postgres.crash()
    shutil.rmtree(postgres.data)
    earlier.rename(postgres.data)
    postgres.start()
    catch_up(deck)
    assert known(deck) == known(make_replica())
    for n in range(more):
        assert deck.send("POST", "/trades", [trade("kept"), trade(f"after{n}")]).json["duplicates"] == 1
    assert deck.send("POST", "/trades", [trade("lost"), trade("lost")]).json == {
        "accepted": 1,
        "duplicates": 1,
    }
    catch_up(other)
    assert known(other) == known(deck) == known(make_replica())
    counted = sum(v for name, v in other.metrics().items() if name.startswith("trading_trades_total"))
    assert counted == more + 2
    store = SqlStore(postgres.url)
    assert store.check() == []
    store.close()
