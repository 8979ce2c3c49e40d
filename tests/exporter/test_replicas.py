"""A replica follows the others' commits, and says so when it cannot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from exporter import replicas
from exporter.errors import CommitFailed
from exporter.index import Index
from exporter.replicas import POLL_SECONDS, STALE_SECONDS, CatchUp, Follower
from exporter.state import Draft, State


class Deck:
    """A shared database and one replica of it, without either."""

    def __init__(self) -> None:
        self.newest = 0
        self.known = 0
        self.caught_up = 0
        self.fresh: list[bool] = []
        self.now = 100.0
        self.slept: list[float] = []
        self.away: CommitFailed | None = None
        self.hang = threading.Event()
        self.hang.set()
        self.follower = Follower(
            newest=self.ask,
            known=lambda: self.known,
            catch_up=self.catch_up,
            on_fresh=self.fresh.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def ask(self) -> int:
        self.hang.wait()
        if self.away is not None:
            raise self.away
        return self.newest

    async def catch_up(self) -> None:
        self.caught_up += 1
        self.known = self.newest

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 3:
            raise asyncio.CancelledError

    def step(self) -> None:
        asyncio.run(self.follower.step())


@pytest.fixture
def deck() -> Iterator[Deck]:
    deck = Deck()
    yield deck
    deck.hang.set()


def test_a_commit_of_another_is_caught_up_with(deck: Deck) -> None:
    """A newer number in the store makes the replica read what it lacks."""
    deck.newest = 7
    deck.step()
    assert (deck.caught_up, deck.known) == (1, 7)


def test_commits_that_were_lost_are_caught_up_with(deck: Deck) -> None:
    """A lower number is no older news: the store is not what the replica shows."""
    deck.known, deck.newest = 7, 5
    deck.step()
    assert (deck.caught_up, deck.known) == (1, 5)


def test_nothing_new_costs_one_question(deck: Deck) -> None:
    """Where nobody else committed, nothing is locked and nothing read."""
    deck.newest = deck.known = 7
    deck.step()
    assert deck.caught_up == 0


def test_it_asks_several_times_a_second(deck: Deck) -> None:
    """The pause between two looks leaves most of the promised second for the work itself."""
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(deck.follower.run())
    assert deck.slept == [POLL_SECONDS] * 4
    assert POLL_SECONDS <= 0.25


def test_a_moment_without_the_database_is_no_alarm(deck: Deck) -> None:
    """Shorter than the limit, a lost database changes nothing."""
    deck.away = CommitFailed("gone")
    deck.now += STALE_SECONDS - 0.1
    deck.step()
    assert deck.fresh == []


def test_a_replica_that_cannot_ask_says_so_once(deck: Deck) -> None:
    """Past the limit it is not believed any more, and that is told once."""
    deck.away = CommitFailed("gone")
    for _ in range(3):
        deck.now += STALE_SECONDS
        deck.step()
    assert deck.fresh == [False]


def test_it_is_believed_again_only_after_it_caught_up(deck: Deck) -> None:
    """Back from an outage it first reads what the others did, then says it is ready."""
    deck.away = CommitFailed("gone")
    deck.now += STALE_SECONDS
    deck.step()
    deck.away = None
    deck.newest = 9
    deck.step()
    assert deck.fresh == [False, True]
    assert deck.known == 9


def test_a_catching_up_that_fails_is_not_an_answer(deck: Deck) -> None:
    """A database that tells its number and then fails has not been followed."""

    async def fail() -> None:
        raise CommitFailed("locked")

    deck.follower._catch_up = fail
    deck.newest = 5
    deck.now += STALE_SECONDS
    deck.step()
    assert deck.fresh == [False]


def test_a_database_that_hangs_is_a_database_that_is_away(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer at all counts as none, and the wait for it ends by itself."""
    monkeypatch.setattr(replicas, "STALE_SECONDS", 0.01)
    deck.hang.clear()
    deck.now += 1.0

    async def scenario() -> None:
        await deck.follower.step()
        deck.hang.set()

    asyncio.run(scenario())
    assert deck.fresh == [False]


def test_catching_up_writes_nothing() -> None:
    """The operation leaves its batch empty, so the store is let go of without a commit."""
    draft = Draft(State(Index({})), now=1.0)
    CatchUp().plan(draft)
    assert draft.empty
