"""What the engine tells its deck: every field, its unit, ids that do not repeat."""

from __future__ import annotations

import threading
from urllib.error import URLError

import pytest

from examples.account import Account
from examples.book import Fill
from examples.publisher import Publisher, TelemetryLoop
from examples.trader import Trader
from exporter.deck_payload import metrics_payload, trade_payload
from riskrails import RiskRails
from tests.examples.bars import bar, walk
from tests.fakes.recording_deck import RecordingDeck


def publisher(deck: RecordingDeck, run: str = "r1") -> Publisher:
    return Publisher(deck, "alpha", run, 1.7e9)


def test_it_says_hello_with_its_epoch_and_that_it_is_a_replay() -> None:
    """Nobody takes a replay for live money."""
    deck = RecordingDeck()
    publisher(deck).hello()
    (push,) = deck.pushes
    assert push["started_at"] == 1.7e9
    assert (push["info"]["mode"], push["info"]["quote"]) == ("replay", "USD")


def test_gauges_are_percent_where_the_deck_wants_percent_and_name_every_strategy() -> None:
    """A drawdown of 2 % goes out as 2, not as 0.02."""
    deck = RecordingDeck()
    account = Account(100_000.0)
    trader = Trader(RiskRails(), account)
    trader.warm_up(walk(168))
    account.mark(0.0, 0.0)
    account.mark(3600.0, -2_000.0)
    publisher(deck).gauges(trader)
    (push,) = deck.pushes
    assert push["drawdown_pct"] == pytest.approx(2.0)
    assert (push["equity_usd"], push["pnl_24h"]) == (98_000.0, -2_000.0)
    assert push["breaker"] == {"equity": False, "venue": False, "daily_loss": False, "manual": False}
    for name in ("pnl_by_strategy", "exposure_by_strategy", "drawdown_pct_by_strategy"):
        assert set(push[name]) == {"scalp", "momentum", "trend", "event"}
    assert metrics_payload(push) == push, "nothing a deck would refuse"


def test_the_error_rate_is_the_share_of_recent_outside_calls_that_failed() -> None:
    """1 of 4 since the start is 25 %; what failed long ago is forgotten; no calls at all are no errors."""
    deck = RecordingDeck()
    answers = [(0, 0), (1, 4), *[(1, 4 + tick) for tick in range(600)]]
    teller = Publisher(deck, "alpha", "r1", 1.7e9, lambda: answers.pop(0))
    trader = Trader(RiskRails(), Account(100_000.0))
    trader.warm_up(walk(168))
    for _ in range(602):
        teller.gauges(trader)
    rates = [push["error_rate_pct"] for push in deck.pushes]
    assert rates[:2] == [0.0, 25.0]
    assert rates[2] == 25.0
    assert 0.0 < rates[100] < 1.0
    assert rates[-1] == 0.0


def test_trades_have_ids_of_engine_run_and_number_and_carry_pnl_only_when_they_close() -> None:
    """The same run gives the same ids; another run gives others."""
    fills = [
        Fill("scalp", "buy", 0.5, 100.0, 0.025, None, "entry"),
        Fill("scalp", "sell", 0.5, 90.0, 0.0225, -5.0, "stop"),
    ]
    told = []
    for run in ("r1", "r1", "r2"):
        deck = RecordingDeck()
        teller = publisher(deck, run)
        teller.fills(bar(100, 100, 100, 100), fills)
        assert teller.trades == 2
        assert teller.fees_usd == pytest.approx(0.0475)
        told.append(deck.trades)
    assert told[0] == told[1]
    assert [trade["trade_id"] for trade in told[0]] == ["alpha-r1-000001", "alpha-r1-000002"]
    assert [trade["trade_id"] for trade in told[2]] == ["alpha-r2-000001", "alpha-r2-000002"]
    assert "pnl_usd" not in told[0][0]
    assert told[0][1]["pnl_usd"] == -5.0
    assert [trade_payload(trade) for trade in told[0]] == told[0]


def test_latency_is_the_median_and_the_95th_percentile_in_milliseconds() -> None:
    """Of 1 to 100 ms: 51 and 95; of nothing: 0."""
    teller = publisher(RecordingDeck())
    assert teller.latency_ms() == (0.0, 0.0)
    for ms in range(1, 101):
        teller.tick_took(ms / 1e3)
    assert teller.latency_ms() == pytest.approx((51.0, 95.0))


def test_counters_that_cannot_be_pushed_are_logged_once_until_they_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The engine does not fall over its telemetry, and does not fill the log with it."""
    answers = [URLError("refused"), URLError("refused"), None, URLError("refused")]

    def push() -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    loop = TelemetryLoop(push)
    assert [loop.push_once() for _ in range(4)] == [False, False, True, False]
    assert len(caplog.records) == 2


def test_closing_pushes_a_last_time() -> None:
    """The last decisions of a run are counted too."""
    pushed = threading.Semaphore(0)
    loop = TelemetryLoop(pushed.release, interval_seconds=3600.0)
    loop.start()
    loop.close()
    assert pushed.acquire(blocking=False)
