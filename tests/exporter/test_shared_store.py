"""Exporters in this process on a real PostgreSQL: what no database of one writer does to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
