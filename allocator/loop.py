"""Observe, decide, publish; wait; survive what may go wrong outside.

Owns the protocols of the two ends it talks to, and nothing of the decision.  Knows no real clock: `now` and
`sleep` are handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from allocator.decision import Action, Decision, InForce, Limits, decide
from allocator.errors import ConflictError, DeckReadError, NoDataError, PublishError, QueryError
from allocator.explain import LONGEST_REASON, one_line, shares_line
from allocator.history import Answers, Grid, Observation, Outcome, Sample, Series, grid_for, observe
from allocator.policy import LOOKBACK_ROWS
from allocator.queries import DECK_PUBLISH, DECK_READ, Queries, Query
from allocator.telemetry import Telemetry

__all__ = ["Allocator", "Deck", "Metrics", "Result"]

CLOCK_TOLERANCE_SECONDS = 30.0
"""Clocks that differ by more than this, or than a reading may be old, do not agree."""

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_PART_FOR_RETRIES = 0.8  # of a period; the rest is left to the next decision
_SETTLE_PART = 0.1  # of a period, at most a second: what was scraped at the row's time is in by then


class Metrics(Protocol):
    """A PromQL API."""

    def range(self, query: Query, grid: Grid) -> list[Series]:
        """Series at the grid's times; QueryError if it fails."""
        ...

    def instant(self, query: Query, at: float | None = None) -> list[Sample]:
        """Samples at a time, or at the server's now; QueryError if it fails."""
        ...


class Deck(Protocol):
    """The shares in force: whoever writes must name the version it read."""

    def read(self) -> InForce:
        """What is in force now; PublishError if it fails."""
        ...

    def publish(
        self,
        shares: Mapping[str, float],
        *,
        scores: Mapping[str, float],
        reason: str,
        as_of: float,
        version: int,
    ) -> int:
        """The new version; ConflictError if `version` is not in force, PublishError if it fails."""
        ...


class Result(Enum):
    """How a run ended; the value is the label in metrics."""

    SUCCESS = "success"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class _Ran:
    result: Result
    turnover: float = 0.0


class Allocator:
    """One allocator: `run_once` is a decision with its retries, `run` is the daemon.

    Args:
        metrics: Where history is read.
        deck: Where shares are read and written.
        asked: The queries.
        limits: Bounds and knobs.
        stale_after_seconds: Older PnL than this is no reading.
        telemetry: What is counted.
        log: Where each decision is told.
        now: Epoch seconds.
        sleep: Waits so many seconds; true if it was told to stop meanwhile.
        rng: Source of the retries' jitter.
        again: Decide a row again that was decided before, as one asks for by hand.

    Attributes:
        last_run_at: When the last run ended, epoch seconds; None before the first.
        last_result: How it ended.
        unreachable: It ended because a request failed, not because a guard held.
    """

    def __init__(
        self,
        metrics: Metrics,
        deck: Deck,
        asked: Queries,
        limits: Limits,
        *,
        stale_after_seconds: float,
        telemetry: Telemetry,
        log: FilteringBoundLogger,
        now: Callable[[], float],
        sleep: Callable[[float], bool],
        rng: random.Random,
        again: bool = False,
    ) -> None:
        self._metrics = metrics
        self._deck = deck
        self._asked = asked
        self._limits = limits
        self._stale_after = stale_after_seconds
        self._telemetry = telemetry
        self._log = log
        self._now = now
        self._sleep = sleep
        self._rng = rng
        self._again = again
        self._relaxed_told = False
        self.last_run_at: float | None = None
        self.last_result: Result | None = None
        self.unreachable = False

    def run(self) -> None:
        """Decide at every multiple of the period until told to stop; what is no AllocatorError ends it."""
        period = self._limits.refresh_seconds
        while True:
            self.run_once()
            wait = period - self._now() % period + min(1.0, _SETTLE_PART * period)
            # After a step of the clock this is still at most a period and a bit.
            if self._sleep(wait):
                return

    def run_once(self, *, attempts: int | None = None) -> Result:
        """One decision; requests that may yet succeed are repeated within the period.

        Args:
            attempts: At most so many tries; as many as the period has time for without it.
        """
        began = self._now()
        ran = self._tried(began, attempts)
        ended = self._now()
        self._telemetry.ran(
            ran.result.value, seconds=max(0.0, ended - began), ended_at=ended, turnover=ran.turnover
        )
        self.last_run_at, self.last_result = ended, ran.result
        if ended - began > self._limits.refresh_seconds:
            self._log.warning("run was longer than the period", seconds=round(ended - began, 3))
        return ran.result

    def look(self) -> Decision:
        """What would be decided now; nothing is published.

        Raises:
            AllocatorError: It could not be read.
        """
        return decide(self._observe(), self._read(), self._limits, again=self._again)

    def _tried(self, began: float, attempts: int | None) -> _Ran:
        """Whole turns until one ends: a repeated one reads again, so that no old decision is sent."""
        tried = 0
        self.unreachable = False
        while True:
            tried += 1
            try:
                return self._turn()
            except NoDataError as error:
                self._telemetry.failed()
                self._log.warning("shares kept", guard=error.outcome, reason=str(error), result="skipped")
                return _Ran(Result.SKIPPED)
            except (QueryError, DeckReadError, PublishError) as error:
                delay = self._delay(tried)
                spent = self._now() - began + delay
                over = (attempts is not None and tried >= attempts) or (
                    spent > _PART_FOR_RETRIES * self._limits.refresh_seconds
                )
                if not error.retryable or over:
                    return self._gave_up(error, tried)
                words = "shares changed under us" if isinstance(error, ConflictError) else "trying again"
                self._log.warning(words, reason=str(error), attempt=tried, delay_seconds=round(delay, 3))
                if self._sleep(delay):
                    return self._gave_up(error, tried)

    def _gave_up(self, error: QueryError | DeckReadError | PublishError, tried: int) -> _Ran:
        """A read that failed is a guard; shares that could not be published are an error."""
        self._telemetry.failed()
        self.unreachable = True
        result = Result.ERROR if isinstance(error, PublishError) else Result.SKIPPED
        guard = "query" if isinstance(error, QueryError) else "deck"
        self._log.error("shares kept", guard=guard, reason=str(error), attempts=tried, result=result.value)
        return _Ran(result)

    def _delay(self, tried: int) -> float:
        """Full jitter: anything up to a bound that doubles."""
        bound = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2.0 ** (tried - 1))
        return self._rng.uniform(0.1 * bound, min(bound, 0.5 * self._limits.refresh_seconds + 0.1 * bound))

    def _turn(self) -> _Ran:
        """Observe, decide, publish, and tell."""
        seen = self._observe()
        held = self._read()
        decision = decide(seen, held, self._limits, again=self._again)
        self._telemetry.decided(decision)
        self._warn_of_bounds(decision)
        if decision.action in (Action.PUBLISH, Action.CONFIRM):
            with self._telemetry.query(DECK_PUBLISH):
                version = self._deck.publish(
                    decision.shares,
                    scores={
                        view.name: view.score_ema
                        for view in decision.views
                        if view.score_ema == view.score_ema
                    },
                    reason=one_line(decision, LONGEST_REASON),
                    as_of=decision.as_of,
                    version=held.version,
                )
        else:
            version = held.version
        result = Result.SKIPPED if decision.action is Action.SKIP else Result.SUCCESS
        self._tell(decision, seen, version, result)
        return _Ran(result, decision.turnover)

    def _tell(self, decision: Decision, seen: Observation, version: int, result: Result) -> None:
        """The one line of a decision: who has how much, and why."""
        phrase = {
            Action.PUBLISH: "shares published",
            Action.HOLD: "shares held",
            Action.CONFIRM: "shares confirmed",
            Action.SKIP: "shares kept",
        }
        tell = self._log.warning if decision.frozen else self._log.info
        extra: dict[str, object] = {"guard": decision.guard} if decision.guard else {}
        if seen.counts:
            extra["no_reading"] = seen.counts
        if seen.assumed_shares:
            extra["assumed_equal_shares"] = seen.assumed_shares
        tell(
            phrase[decision.action],
            shares=shares_line(decision),
            reason=one_line(decision),
            turnover_ratio=round(decision.turnover, 6),
            signal=round(decision.gate, 4),
            readings=seen.readings,
            as_of=decision.as_of,
            version=version,
            result=result.value,
            **extra,
        )

    def _warn_of_bounds(self, decision: Decision) -> None:
        """Said when it begins, not at every decision."""
        if decision.relaxed and not self._relaxed_told:
            self._log.warning(
                "bounds leave no choice: shares are equal",
                min_share=self._limits.min_share,
                max_share=self._limits.max_share,
                strategies=len(decision.shares),
            )
        if not decision.frozen:
            self._relaxed_told = decision.relaxed

    def _read(self) -> InForce:
        with self._telemetry.query(DECK_READ):
            try:
                return self._deck.read()
            except PublishError as error:
                raise DeckReadError(str(error), retryable=error.retryable) from error

    def _observe(self) -> Observation:
        """Everything Prometheus has to say, as one observation.

        Raises:
            QueryError: A query failed.
            NoDataError: There is nothing usable, or the clocks disagree.
        """
        now = self._now()
        self._compare_clocks(now)
        grid = grid_for(now, self._limits.refresh_seconds, LOOKBACK_ROWS + 1)
        asked = self._asked
        answers = Answers(
            pnl=self._range(asked.pnl, grid),
            equity=self._range(asked.equity, grid),
            risk_share=self._range(asked.risk_share, grid),
            engine_start=self._range(asked.engine_start, grid),
            engines=self._range(asked.engines, grid),
            pnl_times=self._instant(asked.pnl_time, grid.end),
            equity_breaker=self._instant(asked.equity_breaker, None),
        )
        return observe(answers, grid, now=now, stale_after=self._stale_after)

    def _compare_clocks(self, now: float) -> None:
        """A grid laid by a wrong clock would read the wrong rows."""
        told = self._instant(self._asked.clock, None)
        if not told:
            raise QueryError("clock: the server does not say its time", query=self._asked.clock.id)
        # Not the value: VictoriaMetrics evaluates half a minute in the past, and says when it was asked.
        apart = now - told[0].at
        if abs(apart) > max(CLOCK_TOLERANCE_SECONDS, self._stale_after):
            raise NoDataError(
                f"this clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} Prometheus's",
                outcome=Outcome.CLOCK_STEP.label,
            )

    def _range(self, query: Query, grid: Grid) -> list[Series]:
        with self._telemetry.query(query.id):
            return self._metrics.range(query, grid)

    def _instant(self, query: Query, at: float | None) -> list[Sample]:
        with self._telemetry.query(query.id):
            return self._metrics.instant(query, at)
