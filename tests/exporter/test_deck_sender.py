"""The background sender against a real HTTP server: nothing lost, nothing twice, nothing raised in a tick."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.deck_errors import DeckClosedError, SpoolError
from exporter.deck_http import DeckHttp, RetryPolicy
from exporter.deck_sender import Sender
from exporter.spool import Spool
from tests.fakes.http_deck import Scripted, Seen, StandInDeck

SOON = 20.0
"""Longest wait for something that takes milliseconds; a bound for a broken run, not a measurement."""


@pytest.fixture
def deck() -> Iterator[StandInDeck]:
    with StandInDeck() as running:
        yield running


class Senders:
    """Makes senders on one spool directory and closes what a test leaves open."""

    def __init__(self, place: Path, deck: StandInDeck) -> None:
        self.place = place
        self.deck = deck
        self.made: list[Sender] = []

    def __call__(self, token: str | None = None, spool: Spool | None = None, **settings: Any) -> Sender:
        http = DeckHttp(self.deck.url, token, timeout_seconds=(1.0, 3.0))
        settings = {"interval_seconds": 0.0, "patience": RetryPolicy(base_seconds=0.01), **settings}
        sender = Sender(http, spool or Spool(self.place), **settings)
        self.made.append(sender)
        sender.start()
        return sender


@pytest.fixture
def make(tmp_path: Path, deck: StandInDeck) -> Iterator[Senders]:
    senders = Senders(tmp_path / "spool", deck)
    yield senders
    for sender in senders.made:
        sender.close(0.2)


def trade(number: int, **change: Any) -> dict[str, Any]:
    return {
        "trade_id": f"t{number}",
        "ts": 1_700_000_000.0 + number,
        "strategy": "scalp",
        "symbol": "BTC-USD",
        "side": "buy",
        "qty": 0.5,
        "price": 37_000.0,
        "fee_usd": 9.25,
        **change,
    }


def ids(numbers: range | list[int]) -> list[str]:
    return [f"t{number}" for number in numbers]


def test_gauges_and_trades_reach_the_deck(make: Senders, deck: StandInDeck) -> None:
    """The plain case: offered, flushed, there."""
    sender = make()
    sender.offer_metrics(None, {"equity_usd": 1.0})
    for number in range(3):
        sender.offer_trade(trade(number))
    assert sender.flush(SOON)
    assert deck.pushes[-1] == {"equity_usd": 1.0}
    assert list(deck.trades) == ids(range(3))
    counters = sender.counters()
    assert (counters.sent_trades, counters.pending, counters.spooled, counters.dropped) == (3, 0, 0, 0)


def test_trades_wait_on_disk_while_the_deck_is_away_and_come_in_order_when_it_is_back(
    make: Senders, deck: StandInDeck
) -> None:
    """Away means spooled and counted; back means delivered once, in order."""
    sender = make()
    deck.stop()
    for number in range(1200):
        sender.offer_trade(trade(number))
    assert not sender.flush(0.1)
    away = sender.counters()
    assert (away.pending, away.spooled, away.sent_trades, away.held) == (1200, 1200, 0, 0)
    deck.start()
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(1200))
    assert sum(len(seen.body["trades"]) for seen in deck.seen) == 1200
    back = sender.counters()
    assert (back.pending, back.sent_trades, back.duplicates) == (0, 1200, 0)
    assert back.retried > 0


def test_the_newest_gauge_is_what_the_deck_hears_after_it_was_away(make: Senders, deck: StandInDeck) -> None:
    """Old ticks are no news; one push brings the present."""
    sender = make()
    deck.stop()
    for tick in range(100):
        sender.offer_metrics(None, {"equity_usd": float(tick), "tick_p50_ms": 1.0})
    assert not sender.flush(0.05)
    deck.start()
    assert sender.flush(SOON)
    assert deck.pushes == [{"equity_usd": 99.0, "tick_p50_ms": 1.0}]


def test_an_answer_lost_on_the_way_repeats_the_batch_and_each_trade_counts_once(
    make: Senders, deck: StandInDeck
) -> None:
    """The deck took the batch, the connection broke before the answer: the id makes the repeat harmless."""
    deck.trades["t0"] = trade(0)
    sender = make()
    sender.offer_trade(trade(0))
    sender.offer_trade(trade(1))
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(2))
    assert (sender.counters().duplicates, sender.counters().sent_trades) == (1, 2)


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_a_deck_that_is_busy_gets_the_same_trade_again(make: Senders, deck: StandInDeck, status: int) -> None:
    """Not now is not never."""
    deck.script += [Scripted(status, {"error": "busy", "detail": "later"})] * 2
    sender = make()
    sender.offer_trade(trade(0))
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t0"]
    assert sender.counters().dead_lettered == 0


def test_the_deck_is_not_asked_again_before_the_time_it_gave(make: Senders, tmp_path: Path) -> None:
    """Retry-After counts in the background too, up to a minute; without it the jittered wait stands."""
    patience = RetryPolicy(base_seconds=1.0, cap_seconds=4.0)
    sender = make(patience=patience, dice=lambda: 0.5)
    assert sender.pause_seconds(1, None) == 0.5
    assert sender.pause_seconds(9, 1.0) == 2.0
    assert sender.pause_seconds(1, 7.0) == 7.0
    assert sender.pause_seconds(1, 86_400.0) == 60.0


def test_a_signal_handler_may_push_in_the_middle_of_a_push(make: Senders, deck: StandInDeck) -> None:
    """A handler that reports a breaker must not wait for the very thread it interrupted."""
    sender = make()
    with sender._guard, sender.spool._guard:  # as if interrupted there
        sender.offer_metrics(None, {"breaker": {"equity": True}})
        sender.offer_trade(trade(0))
    assert sender.flush(SOON)
    assert deck.pushes == [{"breaker": {"equity": True}}]
    assert list(deck.trades) == ["t0"]


def test_a_refused_trade_is_set_aside_with_its_reason_and_its_neighbours_are_delivered(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad trade neither blocks the spool for ever nor vanishes."""
    deck.stop()
    sender = make()
    for number in range(20):
        sender.offer_trade(trade(number, qty=-1.0) if number in {7, 13} else trade(number))
    deck.start()
    with caplog.at_level(logging.ERROR, "deckrails.client"):
        assert sender.flush(SOON)
    assert list(deck.trades) == ids([n for n in range(20) if n not in {7, 13}])
    letters = [json.loads(line) for line in sender.spool.dead_letters.read_text().splitlines()]
    assert [letter["trade"]["trade_id"] for letter in letters] == ["t7", "t13"]
    assert (letters[0]["status"], letters[0]["error"]) == (400, "out_of_range")
    assert sender.counters().dead_lettered == 2
    assert "a trade was refused and set aside" in caplog.text


def test_a_refused_trade_that_cannot_be_set_aside_stays_in_the_queue(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """Never neither here nor there: it waits until the disk takes the dead letter, and the log says so."""
    sender = make()
    sender.spool.dead_letters.mkdir()
    sender.offer_trade(trade(0, qty=-1.0))
    sender.offer_trade(trade(1))
    assert not sender.flush(0.2)
    assert sender.counters().pending == 2
    assert "the spool does not work, trades wait" in caplog.text
    sender.spool.dead_letters.rmdir()
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t1"]
    assert sender.counters().dead_lettered == 1


def test_the_same_id_with_other_content_is_set_aside(make: Senders, deck: StandInDeck) -> None:
    """409 is a bug in the engine's ids: kept for a person, the rest goes on."""
    deck.trades["t0"] = trade(0, price=1.0)
    sender = make()
    sender.offer_trade(trade(0))
    sender.offer_trade(trade(1))
    assert sender.flush(SOON)
    assert sorted(deck.trades) == ids(range(2))
    assert deck.trades["t0"]["price"] == 1.0
    assert sender.counters().dead_lettered == 1


def test_a_wrong_token_sets_nothing_aside_and_the_right_one_delivers_all(
    make: Senders, deck: StandInDeck
) -> None:
    """401 says nothing about the trade: it waits on disk for the process that has the right token."""
    deck.token = "right"
    wrong = make(token="wrong")
    wrong.offer_trade(trade(0))
    wrong.offer_metrics(None, {"equity_usd": 1.0})
    assert not wrong.flush(0.2)
    assert not wrong.close(0.1)
    assert deck.trades == {}
    right = make(token="right")
    assert right.counters().recovered == 1
    assert right.flush(SOON)
    assert list(deck.trades) == ["t0"]
    assert right.counters().dead_lettered == 0


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(404, {"error": "not_found", "detail": "no such page"}),
        Scripted(400, "<html>a proxy's page</html>"),
        Scripted(301, {}, {"Location": "https://elsewhere/"}),
        Scripted(200, "<html>please log in</html>"),
        Scripted(200, {"accepted": 0, "duplicates": 0}),
        Scripted(200, {"ok": True}),
        Scripted(200, {"accepted": True, "duplicates": 0}),
        Scripted(200, {"accepted": 1}),
        Scripted(200, {"accepted": 2, "duplicates": -1}),
        Scripted(200, {"accepted": 1.0, "duplicates": 0}),
    ],
)
def test_an_answer_that_is_not_a_decks_receipt_keeps_the_trade(
    make: Senders, deck: StandInDeck, answer: Scripted
) -> None:
    """A wrong address answers in many ways; none of them is a delivery or a verdict."""
    deck.script += [answer] * 3
    sender = make()
    sender.offer_trade(trade(0))
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t0"]
    assert (sender.counters().sent_trades, sender.counters().dead_lettered) == (1, 0)
    assert len(deck.seen) == 4


def test_gauges_wait_while_something_else_answers_for_the_deck(make: Senders, deck: StandInDeck) -> None:
    """A foreign 200 is no delivery of a breaker either."""
    deck.script += [Scripted(200, {"foo": 1})] * 2
    sender = make()
    sender.offer_metrics(None, {"breaker": {"equity": True}})
    assert sender.flush(SOON)
    assert deck.pushes == [{"breaker": {"equity": True}}] * 3
    assert sender.counters().sent == 1


def test_a_batch_too_large_for_a_proxy_is_halved_until_it_passes(make: Senders, deck: StandInDeck) -> None:
    """413 of something in between is cured by smaller batches, whatever its page looks like."""
    deck.script.append(Scripted(413, "<html>too large</html>"))
    deck.stop()
    sender = make()
    for number in range(4):
        sender.offer_trade(trade(number))
    deck.start()
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(4))
    assert [len(seen.body["trades"]) for seen in deck.seen] == [4, 2, 2]


def test_a_trade_no_deck_would_take_is_set_aside_and_not_raised_in_the_tick(
    make: Senders, deck: StandInDeck
) -> None:
    """NaN in a fee must not end the engine's tick, and must not be lost either."""
    sender = make()
    sender.offer_trade(trade(0, fee_usd=math.nan))
    sender.offer_trade({"nonsense": object()})
    sender.offer_trade(trade(1))
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t1"]
    first, second = [json.loads(line) for line in sender.spool.dead_letters.read_text().splitlines()]
    assert (first["error"], first["field"]) == ("not_finite", "fee_usd")
    assert "'t0'" in first["trade"]
    assert second["error"] == "missing_field"
    assert sender.counters().dead_lettered == 2


def test_one_bad_gauge_holds_back_no_breaker_and_the_deck_hears_of_it(
    make: Senders, deck: StandInDeck
) -> None:
    """The engine whose equity became NaN is the one whose breaker must get through."""
    sender = make()
    sender.offer_metrics(None, {"equity_usd": math.nan, "breaker": {"equity": True}})
    assert sender.flush(SOON)
    assert deck.pushes == [{"breaker": {"equity": True}}, {"equity_usd": "not sent: nan"}]
    assert sender.counters().refused == 1


def test_a_tick_that_also_pushes_nothing_each_time_holds_back_no_breaker_and_no_trade(
    make: Senders, deck: StandInDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad pushes come as fast as the deck hears of them; what is good goes all the same."""
    sender = make()
    answer = deck.answer

    def next_tick(seen: Seen) -> Scripted:
        if seen.body == {}:
            with contextlib.suppress(DeckClosedError):
                sender.offer_metrics(None, {})
        return answer(seen)

    monkeypatch.setattr(deck, "answer", next_tick)
    sender.offer_metrics(None, {})
    sender.offer_metrics(None, {"breaker": {"equity": True}})
    sender.offer_trade(trade(0))
    sender.flush(1.0)
    assert {"breaker": {"equity": True}} in deck.pushes
    assert list(deck.trades) == ["t0"]


def test_bad_pushes_of_one_kind_are_one_request_and_wait_while_the_deck_is_away(
    make: Senders, deck: StandInDeck
) -> None:
    """The deck hears of each kind once it is back, however many there were; all are counted."""
    deck.stop()
    sender = make()
    for _ in range(5):
        sender.offer_metrics(None, {})
        sender.offer_metrics("", {"equity_usd": 1.0})
    assert not sender.flush(0.1)
    deck.start()
    assert sender.flush(SOON)
    assert [list(body) for body in deck.pushes] == [[], ["engine"]]
    assert sender.counters().refused == 10


def test_a_gauge_the_deck_refuses_is_left_out_and_the_rest_goes(make: Senders, deck: StandInDeck) -> None:
    """The deck judges ranges; its refusal names the field."""
    refusal = {"error": "out_of_range", "detail": "drawdown_pct is 500", "field": "drawdown_pct"}
    deck.script.append(Scripted(400, refusal))
    sender = make()
    sender.offer_metrics(None, {"drawdown_pct": 500.0, "breaker": {"equity": True}})
    assert sender.flush(SOON)
    assert deck.pushes[1:] == [{"breaker": {"equity": True}}]
    assert sender.counters().refused == 1


def test_a_refusal_that_names_no_field_drops_that_push_and_not_the_next(
    make: Senders, deck: StandInDeck
) -> None:
    """Sending it for ever would starve the gauges that come after it."""
    deck.script.append(Scripted(400, {"error": "bad", "detail": "no"}))
    sender = make()
    sender.offer_metrics(None, {"equity_usd": 1.0})
    assert sender.flush(SOON)
    sender.offer_metrics(None, {"equity_usd": 2.0})
    assert sender.flush(SOON)
    assert deck.pushes == [{"equity_usd": 1.0}, {"equity_usd": 2.0}]


@pytest.mark.parametrize("status", [400, 409, 413, 422])
@pytest.mark.parametrize("field", [None, "X-Group-TTL"])
def test_a_refusal_that_names_no_field_of_ours_does_not_lose_a_trip(
    make: Senders, deck: StandInDeck, status: int, field: str | None
) -> None:
    """The breakers go again alone, whatever the deck held against the gauges beside them."""
    deck.script.append(Scripted(status, {"error": "inconsistent", "detail": "no", "field": field}))
    sender = make()
    sender.offer_metrics(None, {"equity_usd": 1.0, "breaker": {"manual": True}})
    assert sender.flush(SOON)
    assert deck.pushes[1:] == [{"breaker": {"manual": True}}]


def test_breakers_that_are_refused_alone_are_not_sent_for_ever(make: Senders, deck: StandInDeck) -> None:
    """Two refusals in a row end it; the next push goes."""
    deck.script += [Scripted(400, {"error": "bad", "detail": "no"})] * 2
    sender = make()
    sender.offer_metrics(None, {"equity_usd": 1.0, "breaker": {"manual": True}})
    assert sender.flush(SOON)
    sender.offer_metrics(None, {"equity_usd": 2.0})
    assert sender.flush(SOON)
    assert deck.pushes[1:] == [{"breaker": {"manual": True}}, {"equity_usd": 2.0}]


class FullDisk(Spool):
    """A spool whose disk refuses records while `full`."""

    full = True

    def append(self, body: bytes) -> None:
        if self.full:
            raise SpoolError("no space left on device")
        super().append(body)


def test_a_full_disk_keeps_trades_in_memory_and_they_still_reach_the_deck_in_order(
    make: Senders, deck: StandInDeck, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The spool is the second line; the first, the deck, still works."""
    sender = make(spool=FullDisk(tmp_path / "full"))
    with caplog.at_level(logging.CRITICAL, "deckrails.client"):
        for number in range(5):
            sender.offer_trade(trade(number))
        assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(5))
    assert (sender.counters().held, sender.counters().dropped) == (0, 0)
    assert "the disk refuses the spool" in caplog.text


def test_a_disk_that_is_full_for_a_while_keeps_the_order_over_memory_and_disk(
    make: Senders, deck: StandInDeck, tmp_path: Path
) -> None:
    """First on disk, then in memory, then on disk again: delivered in that order."""
    deck.stop()
    spool = FullDisk(tmp_path / "full")
    sender = make(spool=spool)
    for number in range(30):
        spool.full = 10 <= number < 20
        sender.offer_trade(trade(number))
    deck.start()
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(30))


def test_a_disk_filled_by_our_own_sent_trades_is_given_back_before_trades_wait_in_memory(
    make: Senders, deck: StandInDeck, tmp_path: Path
) -> None:
    """What is sent frees its place: else a full disk would stay full of trades the deck has."""

    class TightDisk(Spool):
        """Room for three records, freed only by giving back what is sent."""

        room = 3

        def append(self, body: bytes) -> None:
            if not self.room:
                raise SpoolError("no space left on device")
            super().append(body)
            self.room -= 1

        def reclaim(self) -> bool:
            done = super().reclaim()
            self.room = 3 if done else self.room
            return done

    deck.stop()
    spool = TightDisk(tmp_path / "tight")
    sender = make(spool=spool)
    for number in range(10):
        sender.offer_trade(trade(number))
    assert sender.counters().held == 7
    deck.start()
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(10))
    assert spool.room > 0


def test_what_neither_disk_nor_memory_takes_is_counted_as_dropped(
    make: Senders, deck: StandInDeck, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is bounded; a loss is never silent."""
    deck.stop()
    sender = make(spool=FullDisk(tmp_path / "full"), held_trades=3)
    with caplog.at_level(logging.CRITICAL, "deckrails.client"):
        for number in range(5):
            sender.offer_trade(trade(number))
        assert not sender.flush(0.1)
    counters = sender.counters()
    assert (counters.held, counters.dropped, counters.pending) == (3, 2, 3)
    assert "trades wait in memory: trades=" in caplog.text
    assert "trades are LOST: lost=2" in caplog.text
    deck.start()
    assert sender.flush(SOON)
    assert list(deck.trades) == ids(range(3))


def test_bad_trades_that_the_disk_does_not_take_fill_no_memory(make: Senders, deck: StandInDeck) -> None:
    """As many as good ones may wait; what goes beyond is counted."""
    sender = make(held_trades=3)
    sender.spool.dead_letters.mkdir()
    for number in range(5):
        sender.offer_trade(trade(number, qty=math.nan))
    assert sender.counters().dropped == 2
    sender.spool.dead_letters.rmdir()
    assert sender.flush(SOON)
    assert sender.counters().dead_lettered == 3


def test_trades_outlive_the_removal_of_their_directory(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """Removed while the deck is away, closed before it is back: the next process sends them all the same."""
    deck.stop()
    first = make()
    first.offer_trade(trade(0))
    assert not first.flush(0.1)
    shutil.rmtree(make.place)
    first.offer_trade(trade(1))
    assert not first.flush(0.2)
    assert "somebody removed the spool's files" in caplog.text
    first.close(0.1)
    deck.start()
    assert make().flush(SOON)
    assert list(deck.trades) == ids(range(2))


def test_a_lost_file_of_an_earlier_process_is_told_and_the_new_trades_go(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """What is gone is an emergency for a person, not a reason to send nothing more."""
    deck.stop()
    first = make()
    first.offer_trade(trade(0))
    assert not first.close(0.1)
    spool = Spool(make.place)
    min(make.place.glob("*.log")).unlink()
    deck.start()
    second = make(spool=spool)
    second.offer_trade(trade(1))
    assert second.flush(SOON)
    assert list(deck.trades) == ["t1"]
    assert (second.counters().dropped, second.counters().pending) == (1, 0)
    assert "trades are LOST: directory=" in caplog.text


def test_close_leaves_on_disk_what_the_deck_did_not_take_and_the_next_process_sends_it(
    make: Senders, deck: StandInDeck
) -> None:
    """A restart of the engine while the deck is away costs no trade."""
    deck.stop()
    first = make()
    for number in range(3):
        first.offer_trade(trade(number))
    assert not first.close(0.1)
    with pytest.raises(DeckClosedError, match="closed"):
        first.offer_trade(trade(3))
    with pytest.raises(DeckClosedError, match="closed"):
        first.offer_metrics(None, {"equity_usd": 1.0})
    deck.start()
    second = make()
    assert second.flush(SOON)
    assert list(deck.trades) == ids(range(3))
    assert second.counters().recovered == 3


def test_a_trade_that_meets_the_close_half_way_is_refused_and_not_lost(
    make: Senders, deck: StandInDeck
) -> None:
    """Taken means on disk or with the deck: between the two the engine hears that it was too late."""
    sender = make()

    class Closing(dict[str, Any]):
        """Closes the sender in the middle of the push."""

        def get(self, name: str, default: Any = None) -> Any:
            sender.close(SOON)
            return super().get(name, default)

    with pytest.raises(DeckClosedError):
        sender.offer_trade(Closing(trade(0)))
    assert sender.counters().held == 0


def test_a_trade_whose_push_a_signal_handler_closes_is_refused_and_not_lost(
    make: Senders, deck: StandInDeck, tmp_path: Path
) -> None:
    """The handler runs in the middle of the write; nobody would look into memory afterwards."""

    class Interrupted(Spool):
        def append(self, body: bytes) -> None:
            sender._closed_because = "closed"  # what the handler's close would leave, without its waits
            self.close()
            super().append(body)

    sender = make(spool=Interrupted(tmp_path / "interrupted"))
    with pytest.raises(DeckClosedError):
        sender.offer_trade(trade(0))
    assert sender.counters().held == 0


def test_a_trade_no_deck_would_take_is_set_aside_by_a_close_that_has_no_time(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """What was wrong with it is for a person to see, also when the engine ends at once."""
    sender = make(patience=RetryPolicy(base_seconds=60.0, cap_seconds=60.0), dice=lambda: 1.0)
    sender.spool.dead_letters.mkdir()
    sender.offer_trade(trade(0, qty=math.nan))
    assert not sender.flush(0.1)
    sender.spool.dead_letters.rmdir()
    assert not sender.close(0.0)
    assert "'t0'" in sender.spool.dead_letters.read_text()


def test_a_close_says_what_it_could_set_aside_nowhere(
    make: Senders, deck: StandInDeck, caplog: pytest.LogCaptureFixture
) -> None:
    """The last chance to hear of it."""
    sender = make()
    sender.spool.dead_letters.mkdir()
    sender.offer_trade(trade(0, qty=math.nan))
    assert not sender.close(0.1)
    assert "refused trades that the disk did not take: lost=1" in caplog.text


def test_a_second_close_says_what_the_first_said(make: Senders, deck: StandInDeck) -> None:
    """Trades left on disk are not sent by asking again."""
    sent = make()
    sent.offer_trade(trade(0))
    assert sent.close(SOON)
    assert sent.close(SOON)
    deck.stop()
    left = make()
    left.offer_trade(trade(1))
    assert not left.close(0.1)
    assert not left.close(0.1)


def test_a_close_that_is_interrupted_is_made_up_for_by_the_next(
    make: Senders, deck: StandInDeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in its last wait: what waits in memory comes to disk, and the spool is free for another."""
    deck.stop()
    spool = FullDisk(tmp_path / "full")
    sender = make(spool=spool)
    sender.offer_trade(trade(0))

    def interrupted(timeout: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sender._thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sender.close(0.1)
    spool.full = False
    assert not sender.close(0.1)
    after = Spool(tmp_path / "full")
    assert after.pending == 1
    after.close()


def test_a_close_beside_another_threads_close_does_not_say_done_before_it_is(
    make: Senders, deck: StandInDeck
) -> None:
    """It waits as long as it may, and then says that not all is sent."""
    sender = make()
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with sender._closing:  # as the other close does from its beginning to its end
            begun.set()
            end.wait(SOON)

    other = threading.Thread(target=hold)
    other.start()
    begun.wait(SOON)
    meanwhile = sender.close(0.01), sender.closed
    end.set()
    other.join()
    assert meanwhile == (False, False)
    assert sender.close(SOON)
    assert sender.closed


def once_closed(sender: Sender, deck: StandInDeck) -> Callable[[Seen], Scripted]:
    """The deck's answers, each held back until the sender is closed."""
    answer = deck.answer

    def slow(seen: Seen) -> Scripted:
        while not sender._closed_because:
            time.sleep(0.001)
        return answer(seen)

    return slow


@pytest.mark.parametrize("refused", [False, True])
def test_a_closed_sender_ends_with_the_request_on_its_way_and_sends_nothing_after_it(
    make: Senders, deck: StandInDeck, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """What is left on disk is the next process's: two that send it would only be in each other's way."""
    sender = make()
    deck.stop()  # so that the thread finds all of them at once
    for number in range(1200):
        sender.offer_trade(trade(number, qty=-1.0) if refused and number == 0 else trade(number))
    monkeypatch.setattr(deck, "answer", once_closed(sender, deck))
    deck.start()
    while not deck.seen:
        time.sleep(0.001)
    assert not sender.close(0.0)
    assert not sender._thread.is_alive()
    assert len(deck.seen) == 1
    assert sender.spool._fds == {}
    assert make().flush(SOON)
    assert sorted(deck.trades) == sorted(ids(range(refused, 1200)))


def test_gauges_that_a_close_overtakes_are_not_sent(
    make: Senders, deck: StandInDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ends with the push on its way, however many engines' gauges wait behind it."""
    sender = make()
    deck.stop()
    for number in range(5):
        sender.offer_metrics(f"engine{number}", {"equity_usd": 1.0})
    monkeypatch.setattr(deck, "answer", once_closed(sender, deck))
    deck.start()
    while not deck.seen:
        time.sleep(0.001)
    assert not sender.close(0.0)
    assert not sender._thread.is_alive()
    assert len(deck.seen) == 1


def test_the_bell_of_a_close_finds_the_thread_in_a_hurry(
    make: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Woken before it, a thread that waits out a fault would sleep on, and the close with it."""
    sender = make()
    hurried: list[bool] = []
    ring = sender._wake.ring

    def noted() -> None:
        if sender._closed_because:
            hurried.append(sender._hurry.is_set())
        ring()

    monkeypatch.setattr(sender._wake, "ring", noted)
    monkeypatch.setattr(sender, "flush", lambda _: True)  # its own hurry is over by then
    assert sender.close(SOON)
    assert hurried == [True]


def test_the_child_of_a_fork_is_refused_and_the_parent_goes_on(make: Senders, deck: StandInDeck) -> None:
    """The thread and the spool are the parent's; a copy that took trades would lose them."""
    sender = make()
    sender.offer_trade(trade(0))
    # What the fork handler does in the child, on a second sender: a real fork is in test_deck_metrics.
    child = Sender(DeckHttp(deck.url, None), Spool(make.place.parent / "child"))
    child.after_fork_in_child()
    with pytest.raises(DeckClosedError, match=f"make one in process {os.getpid()}"):
        child.offer_trade(trade(1))
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t0"]


def test_a_fault_of_the_client_itself_does_not_end_its_thread(
    make: Senders, deck: StandInDeck, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead thread would leave the trades on disk for ever; the fault is logged with its trace."""

    class Buggy(Spool):
        faults = 1

        def peek(self, limit: int) -> Any:
            if self.faults:
                self.faults -= 1
                raise KeyError("a bug")
            return super().peek(limit)

    sender = make(spool=Buggy(tmp_path / "buggy"))
    sender.offer_trade(trade(0))
    assert sender.flush(SOON)
    assert list(deck.trades) == ["t0"]
    assert "a fault of the client itself" in caplog.text
