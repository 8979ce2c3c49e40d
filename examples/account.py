"""Pure: one account over several books: equity, the last 24 hours, and riskrails' breakers on it."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Final

from riskrails.breakers import BreakerEvent, BreakerPolicy, Breakers

__all__ = ["HOUR", "LEVELS", "Account"]

HOUR: Final = 3600.0
DAY: Final = 86_400.0

LEVELS: Final = BreakerPolicy(dd_trip=0.10, dd_release=0.05, equity_cooldown_seconds=72.0 * HOUR)
"""Tighter than the sizing's own limits: a replay shows a breaker before the rails stop sizing (JC)."""


class Account:
    """Equity marked to market, hour by hour, in market time.

    Attributes:
        start_usd: What it began with.
        equity_usd: Unrealised PnL included.
        breakers: Latched, from the peak; see riskrails.breakers.
        trips: How often each breaker tripped.
    """

    def __init__(self, start_usd: float, levels: BreakerPolicy = LEVELS) -> None:
        if not start_usd > 0.0:
            raise ValueError(f"start_usd={start_usd}: want USD above 0")
        self.start_usd = self.equity_usd = start_usd
        self.breakers = Breakers(levels)
        self.trips: Counter[str] = Counter()
        self._time: float | None = None
        self._offset = 0.0
        self._history: deque[tuple[float, float]] = deque()

    @property
    def drawdown_ratio(self) -> float:
        """Below the peak, 0 to 1."""
        return self.breakers.drawdown_pct

    @property
    def daily_pnl_ratio(self) -> float:
        """PnL since the day's start, ratio of the equity it began with, at least −1."""
        return self.breakers.daily_pnl_pct

    @property
    def pnl_24h_usd(self) -> float:
        """PnL of the last 24 hours of market time."""
        return self.equity_usd - (self._history[0][1] if self._history else self.start_usd)

    @property
    def equity_halted_hours(self) -> float:
        """How long the equity breaker has been open, market hours; 0 while it is closed."""
        latch = self.breakers.latches.get("equity")
        return (self.breakers.last_seen - latch.since) / HOUR if latch else 0.0

    def mark(self, time: float, pnl_usd: float) -> tuple[BreakerEvent, ...]:
        """Take the books' PnL at the close of an hour, and trip or release the breakers.

        Args:
            time: Epoch seconds, market time.  Where the data starts over it jumps back; the account's own
                clock then goes on by whole days, because its breakers and its memory must.
            pnl_usd: All books together.

        Returns:
            What the breakers did, for the log.
        """
        if self._time is None:
            self.breakers = self.breakers.observe(self.start_usd, time)
        elif time < self._time:
            self._offset += DAY * (math.floor((self._time - time) / DAY) + 1)
            self._history.clear()
        self._time = time
        now = time + self._offset
        self.equity_usd = self.start_usd + pnl_usd
        while self._history and self._history[0][0] < now - DAY:
            self._history.popleft()
        self._history.append((now, self.equity_usd))
        self.breakers = self.breakers.observe(self.equity_usd, now)
        self.trips.update(event.breaker for event in self.breakers.events if event.change == "tripped")
        return self.breakers.events

    def accept_loss(self, reason: str) -> tuple[BreakerEvent, ...]:
        """Begin anew from today's equity, as a person may decide: move the peak, release the equity breaker.

        Returns:
            Both events, for the log: a peak never moves silently.  None with nothing left to begin from.
        """
        now = self.breakers.last_seen
        if self.equity_usd <= 0.0:
            return ()
        moved = self.breakers.rebase_peak(self.equity_usd, reason, now)
        self.breakers = moved.release("equity", reason, now)
        return (*moved.events, *self.breakers.events[len(moved.events) :])
