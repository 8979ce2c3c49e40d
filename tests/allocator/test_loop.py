"""Observe, decide, publish, retry, survive: with both ends in memory and a clock in hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import structlog
from structlog.testing import LogCapture

from allocator.decision import InForce, Limits
from allocator.errors import PublishError, QueryError
from allocator.history import Sample
from allocator.loop import Allocator, Result
from allocator.queries import queries
from allocator.telemetry import Telemetry
from tests.fakes.deck import FakeDeck
from tests.fakes.metrics import FakeMetrics, series

START = 1_700_000_400.0  # a multiple of the period
STEP = 600.0
JOB = "trading_engine"


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    time: float = START + 1.0
    slept: list[float] = field(default_factory=list)
    stop_after: int = 10_000

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.time += seconds
        return len(self.slept) >= self.stop_after


class Rig:
    """An allocator, its two ends, its clock and what it logged."""

    def __init__(self, deck: FakeDeck | None = None, **limits) -> None:
        self.clock = Clock()
        self.metrics = FakeMetrics(self.clock.now)
        self.deck = deck or FakeDeck()
        self.telemetry = Telemetry(STEP)
        self.capture = LogCapture()
        log = structlog.wrap_logger(
            structlog.PrintLogger(), processors=[self.capture], wrapper_class=structlog.BoundLogger
        )
        self.allocator = Allocator(
            self.metrics,
            self.deck,
            queries("pnl"),
            Limits(**limits),
            stale_after_seconds=1800.0,
            telemetry=self.telemetry,
            log=log,
            now=self.clock.now,
            sleep=self.clock.sleep,
            rng=random.Random(1),
        )
        self.history()

    def history(self, rows: int = 300, drift=(0.0, -1.0, 0.0), end: float = START) -> None:
        rng = np.random.default_rng(5)
        names = ("scalp", "trend", "event")
        gains = rng.normal(0.0, 1.0, (rows, 3)) + np.array(drift)
        pnl = np.cumsum(gains, axis=0)
        self.metrics.ranges = {
            "pnl": [series(pnl[:, i], end, STEP, strategy=name, job=JOB) for i, name in enumerate(names)],
            "equity": [series([1000.0] * rows, end, STEP, job=JOB)],
        }
        self.metrics.instants = {"pnl_time": [Sample({"strategy": name}, end) for name in names]}

    def value(self, name: str, **labels: str) -> float:
        found = self.telemetry.registry.get_sample_value(name, labels)
        assert found is not None, f"no sample {name} {labels}"
        return found

    @property
    def last(self) -> dict[str, Any]:
        return dict(self.capture.entries[-1])


def test_a_run_publishes_and_tells():
    """One run reads, decides, writes, and logs one line with shares and reasons."""
    rig = Rig()
    assert rig.allocator.run_once() is Result.SUCCESS
    assert rig.deck.published[0]["trend"] == 0.05
    assert sum(rig.deck.published[0].values()) == pytest.approx(1.0, abs=1e-12)
    assert len(rig.capture.entries) == 1
    assert rig.last["event"] == "shares published"
    assert rig.last["shares"].endswith(" trend=0.0500")
    assert "trend +0.050 to 0.050: at MIN_SHARE 0.05, loses against the others" in rig.last["reason"]
    assert rig.last["result"] == "success"
    assert rig.deck.reasons[0] == rig.last["reason"]
    assert set(rig.deck.scores[0]) == {"scalp", "trend", "event"}


def test_a_steady_loser_ends_at_the_floor_step_by_step():
    """Within MAX_STEP a refresh, one refresh after the other, and not further."""
    rig = Rig(FakeDeck(InForce(1, dict.fromkeys(("scalp", "trend", "event"), 1 / 3))))
    shares = []
    for turn in range(6):
        rig.history(300 + turn, end=START + turn * STEP)
        rig.allocator.run_once()
        shares.append(rig.deck.in_force.shares["trend"])
        rig.clock.time += STEP
    assert shares[0] > shares[1] > shares[2]
    assert shares[-1] == 0.05
    assert max(abs(np.diff([1 / 3, *shares]))) <= 0.10 + 1e-12


def quiet(rig: Rig, turns: int, fault=None) -> list[float]:
    """Ages of the shares just before and after each of some refreshes in which no share has to move."""
    ages: list[float | None] = []
    for turn in range(1, turns + 1):
        rig.clock.time = START + turn * STEP + 1.0
        rig.history(300 + turn, drift=(0.0, 0.0, 0.0), end=START + turn * STEP)
        if fault is not None:
            fault(rig)
        ages.append(rig.deck.age())
        rig.allocator.run_once()
        ages.append(rig.deck.age())
    return [age for age in ages if age is not None]


def test_two_hours_of_holds_leave_no_old_shares():
    """Who reads the shares sees that somebody still stands by them; nothing has moved."""
    rig = Rig(dead_band=0.5)
    rig.deck.now = rig.clock.now
    rig.allocator.run_once()
    first = rig.deck.in_force.shares
    assert max(quiet(rig, 12)) < 3 * STEP
    assert rig.deck.published == [first] * 7
    assert rig.deck.reasons[-1].startswith("confirmed as they are: turnover 0.")
    assert rig.last["event"] in ("shares held", "shares confirmed")
    assert rig.value("allocator_runs_total", result="success") == 13
    assert rig.value("allocator_turnover_ratio_sum") == 0.5
    assert rig.value("allocator_turnover_last_ratio") == 0.0


def test_a_guard_lets_the_shares_grow_old():
    """While nobody decides nobody may say that the shares still hold."""

    def breaker(rig: Rig) -> None:
        rig.metrics.instants["equity_breaker"] = [Sample({}, 1.0)]

    rig = Rig(dead_band=0.5)
    rig.deck.now = rig.clock.now
    rig.allocator.run_once()
    assert quiet(rig, 12, breaker)[-1] == 12 * STEP
    assert len(rig.deck.published) == 1


def test_a_confirmation_that_lost_a_race_is_decided_again():
    """Shares that somebody wrote meanwhile are not overwritten with old ones."""
    rig = Rig(dead_band=0.5)
    rig.deck.now = rig.clock.now
    rig.allocator.run_once()
    first = rig.deck.in_force.shares
    quiet(rig, 1)
    rival = {"scalp": 0.4, "trend": 0.3, "event": 0.3}
    rig.deck.rivals = [rival]
    quiet(rig, 2)
    assert rig.deck.published == [first, rival]
    assert [entry["event"] for entry in rig.capture.entries].count("shares changed under us") == 1


def test_metrics_follow_a_run():
    """What was decided, how it ended, when."""
    rig = Rig()
    rig.allocator.run_once()
    assert rig.value("allocator_runs_total", result="success") == 1
    assert rig.value("allocator_last_run_timestamp_seconds") == rig.clock.time
    assert rig.value("allocator_last_success_timestamp_seconds") == rig.clock.time
    assert rig.value("allocator_turnover_last_ratio") == 0.5
    assert rig.value("allocator_weights_frozen") == 0
    assert rig.value("allocator_queries_total", query="pnl") == 1
    assert rig.value("allocator_queries_total", query="deck_publish") == 1
    ema = {name: rig.value("allocator_score_ema", strategy=name) for name in ("scalp", "trend")}
    assert ema["scalp"] > ema["trend"]


def test_a_failed_query_keeps_the_shares():
    """A refusal is not repeated: skipped, frozen, counted, told."""
    rig = Rig()
    rig.metrics.failures = [QueryError("pnl: answers 400: parse error", query="pnl")]
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.deck.published == []
    assert rig.value("allocator_weights_frozen") == 1
    assert rig.value("allocator_runs_total", result="skipped") == 1
    assert rig.value("allocator_query_errors_total", query="clock") == 1
    assert rig.value("allocator_last_success_timestamp_seconds") == 0
    assert rig.last["guard"] == "query"
    assert "parse error" in rig.last["reason"]


def test_what_may_pass_is_tried_again_within_the_period():
    """Two lost connections cost two short waits, not a decision."""
    rig = Rig()
    rig.metrics.failures = [QueryError("no answer", query="clock", retryable=True)] * 2
    assert rig.allocator.run_once() is Result.SUCCESS
    assert len(rig.clock.slept) == 2
    assert [entry["event"] for entry in rig.capture.entries] == ["trying again"] * 2 + ["shares published"]


def test_retries_end_before_the_period_does():
    """A dead Prometheus is given up on in time for the next decision."""
    rig = Rig()
    rig.metrics.failures = [QueryError("no answer", query="clock", retryable=True)] * 10_000
    began = rig.clock.time
    assert rig.allocator.run_once() is Result.SKIPPED
    assert 0.3 * STEP < rig.clock.time - began <= 0.8 * STEP
    assert max(rig.clock.slept) <= 30.0


def test_shares_that_cannot_be_published_are_an_error():
    """Retried, counted, then given up; nothing is queued."""
    rig = Rig()
    rig.deck.refusals = [PublishError("answers 503")] * 10_000
    assert rig.allocator.run_once() is Result.ERROR
    assert rig.value("allocator_runs_total", result="error") == 1
    assert rig.value("allocator_query_errors_total", query="deck_publish") > 5
    assert rig.last["guard"] == "deck"


def test_shares_that_cannot_be_read_are_a_guard():
    """Without what is in force nothing is decided: skipped and frozen, like any failed read."""
    rig = Rig()
    rig.deck.failures = [PublishError("no answer")] * 10_000
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.allocator.unreachable
    assert rig.value("allocator_runs_total", result="skipped") == 1
    assert rig.value("allocator_weights_frozen") == 1
    assert rig.value("allocator_query_errors_total", query="deck_read") > 5
    assert rig.last["guard"] == "deck"


def test_a_retry_reads_everything_again():
    """What is published after a failure is decided from what is true then, not before."""
    rig = Rig()
    rig.deck.failures = [PublishError("busy")]
    rig.allocator.run_once()
    assert rig.metrics.asked.count("pnl") == 2
    assert len(rig.deck.published) == 1


def test_a_token_that_is_refused_is_not_tried_again():
    """401 will be 401 in a second."""
    rig = Rig()
    rig.deck.refusals = [PublishError("answers 401", retryable=False)]
    assert rig.allocator.run_once() is Result.ERROR
    rig.deck.failures = [PublishError("answers 401", retryable=False)]
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.clock.slept == []


def test_of_two_allocators_one_is_told_and_decides_again():
    """After a lost race the shares that won are where the next step starts."""
    rig = Rig(FakeDeck(InForce(1, dict.fromkeys(("scalp", "trend", "event"), 1 / 3))))
    rig.deck.rivals = [{"scalp": 0.4, "trend": 0.3, "event": 0.3}]
    assert rig.allocator.run_once() is Result.SUCCESS
    assert rig.deck.reads == 2
    assert rig.deck.in_force.version == 3
    assert rig.deck.in_force.shares["trend"] == pytest.approx(0.2)
    assert rig.capture.entries[0]["event"] == "shares changed under us"


def test_no_series_keep_the_shares_by_name():
    """An empty Prometheus is a named outcome."""
    rig = Rig()
    rig.metrics.ranges = {}
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.last["guard"] == "none"
    assert rig.value("allocator_weights_frozen") == 1


def test_stale_pnl_keeps_the_shares():
    """PnL that nobody renewed is no reading."""
    rig = Rig()
    rig.metrics.instants["pnl_time"] = [
        Sample({"strategy": name}, START - 4000) for name in ("scalp", "trend", "event")
    ]
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.last["guard"] == "stale"
    assert rig.deck.published == []


def test_a_breaker_in_prometheus_freezes():
    """The equity breaker as scraped keeps the shares."""
    rig = Rig()
    rig.metrics.instants["equity_breaker"] = [Sample({}, 1.0)]
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.last["guard"] == "breaker"


def test_a_breaker_in_the_exporter_freezes():
    """The equity breaker as the exporter has it keeps the shares, before any scrape."""
    rig = Rig(FakeDeck(InForce(1, {"scalp": 1.0}, breaker_open=True)))
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.value("allocator_weights_frozen") == 1


def test_clocks_that_disagree_keep_the_shares():
    """A grid laid by a wrong clock would read the wrong rows."""
    rig = Rig()
    rig.metrics.clock = lambda: START - 7200.0
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.last["guard"] == "clock_step"
    assert "ahead of Prometheus" in rig.last["reason"]


def test_a_server_without_a_clock_is_a_failed_query():
    """No time, no grid."""
    rig = Rig()
    rig.metrics.instant = lambda query, at=None: []  # type: ignore[method-assign]
    assert rig.allocator.run_once() is Result.SKIPPED
    assert rig.last["guard"] == "query"


def test_after_a_kill_the_same_is_decided():
    """A second allocator with no memory but the same two ends decides what the first would have."""
    equal = dict.fromkeys(("scalp", "trend", "event"), 1 / 3)
    straight, broken = Rig(FakeDeck(InForce(1, equal))), Rig(FakeDeck(InForce(1, equal)))
    for turn in range(4):
        end = START + turn * STEP
        if turn == 2:
            broken = Rig(broken.deck)  # killed, and back
        for rig in (straight, broken):
            rig.clock.time = end + 1
            rig.history(300 + turn, end=end)
            rig.allocator.run_once()
        if turn == 3:
            broken.allocator.run_once()  # and twice within the period
    assert broken.deck.in_force.shares == straight.deck.in_force.shares
    assert broken.deck.in_force.version == straight.deck.in_force.version


def test_the_daemon_wakes_at_each_multiple_of_the_period():
    """However long a run takes, decisions stand on the same grid, a moment after it."""
    rig = Rig()
    rig.clock.stop_after = 3
    rig.clock.time = START + 250.0
    rig.allocator.run()
    assert rig.clock.slept == [351.0, 600.0, 600.0]


def test_the_daemon_stops_when_told():
    """A true sleep is the end, between two runs."""
    rig = Rig()
    rig.clock.stop_after = 1
    rig.allocator.run()
    assert rig.value("allocator_runs_total", result="success") == 1


def test_a_stop_during_a_retry_is_obeyed():
    """Nobody waits out a period of retries to end."""
    rig = Rig()
    rig.clock.stop_after = 1
    rig.metrics.failures = [QueryError("no answer", query="clock", retryable=True)] * 10_000
    rig.allocator.run_once()
    assert len(rig.clock.slept) == 1


def test_what_is_no_error_of_ours_ends_the_process():
    """A bug is not survived in silence."""
    rig = Rig()

    def broken(query, grid):
        raise ZeroDivisionError

    rig.metrics.range = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        rig.allocator.run_once()


def test_by_hand_the_tries_are_counted():
    """--once gives up after a few, whatever the period."""
    rig = Rig()
    rig.metrics.failures = [QueryError("no answer", query="clock", retryable=True)] * 10
    assert rig.allocator.run_once(attempts=3) is Result.SKIPPED
    assert rig.allocator.unreachable
    assert len(rig.clock.slept) == 2


def test_a_dry_run_publishes_nothing():
    """What would be decided is returned, and the deck is as it was."""
    rig = Rig()
    decision = rig.allocator.look()
    assert decision.shares["trend"] == 0.05
    assert rig.deck.published == []


def test_relaxed_bounds_are_told_once():
    """A warning when it begins, a flag as long as it lasts."""
    rig = Rig(min_share=0.4, max_share=0.9)
    for _ in range(2):
        rig.allocator.run_once()
        rig.clock.time += STEP
        rig.history(end=rig.clock.time - 1)
    told = [entry for entry in rig.capture.entries if "bounds leave no choice" in entry["event"]]
    assert len(told) == 1
    assert rig.value("allocator_bounds_relaxed") == 1


def test_a_guard_leaves_what_is_known_on_the_page():
    """Frozen shares are still those of relaxed bounds and losing strategies."""
    rig = Rig(min_share=0.4, max_share=0.9)
    rig.history(2000, drift=(-1.0, -1.0, -1.0))
    rig.allocator.run_once()
    rig.metrics.instants["equity_breaker"] = [Sample({}, 1.0)]
    rig.allocator.run_once()
    assert rig.value("allocator_weights_frozen") == 1
    assert rig.value("allocator_bounds_relaxed") == 1
    assert rig.value("allocator_all_negative") == 1


def test_a_run_longer_than_its_period_is_told():
    """Who cannot keep up should know."""
    rig = Rig()
    inner = rig.deck.read

    def slow() -> InForce:
        rig.clock.time += STEP + 1
        return inner()

    rig.deck.read = slow  # type: ignore[method-assign]
    rig.allocator.run_once()
    assert rig.last["event"] == "run was longer than the period"


def test_a_strategy_that_left_leaves_the_metrics():
    """No series of the dead stays on /metrics."""
    rig = Rig()
    rig.allocator.run_once()
    rig.history(rows=320, end=START + 20 * STEP)
    rig.metrics.ranges["pnl"].pop()
    rig.clock.time = START + 20 * STEP + 1
    rig.allocator.run_once()
    sample = rig.telemetry.registry.get_sample_value
    assert sample("allocator_score", {"strategy": "event"}) is None
    assert sample("allocator_score", {"strategy": "scalp"}) is not None
