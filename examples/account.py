"""Pure: one account over several books: equity, drawdown, the day's PnL, and the breakers they trip."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["Account", "Limits"]

HOUR: Final = 3600.0
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When the account's own breakers trip.

    Attributes:
        drawdown: Below the peak, ratio: the equity breaker trips and stays.
        release_drawdown: The equity breaker may release at this drawdown or less.
        release_hours: And not before so many hours after it tripped.
        daily_loss: Of the equity the day began with, ratio: no new risk until the next day, UTC.
    """

    drawdown: float = 0.10
    release_drawdown: float = 0.05
    release_hours: float = 72.0
    daily_loss: float = 0.03


class Account:
    """Equity marked to market, hour by hour.

    The equity breaker is latched: it is measured from the peak, unrealised PnL included, and a recovery alone
    does not release it.  It releases after `release_hours` with the drawdown back under `release_drawdown`,
    or when a person calls `rebase`, the only thing that moves the peak down, and never silently.
    """

    def __init__(self, start_usd: float, limits: Limits | None = None) -> None:
        if not start_usd > 0.0:
            raise ValueError(f"start_usd={start_usd}: want USD above 0")
        self.start_usd = self.equity_usd = self.peak_usd = self.day_start_usd = start_usd
        self.limits = limits or Limits()
        self.breakers = {"equity": False, "daily_loss": False}
        self.trips = dict.fromkeys(self.breakers, 0)
        self.equity_tripped_at: float | None = None
        """Market time at which the equity breaker tripped; None while it is closed."""
        self._day: float | None = None
        self._history: deque[tuple[float, float]] = deque()

    @property
    def drawdown_ratio(self) -> float:
        """Below the peak, 0 to 1."""
        return min(1.0, max(0.0, (self.peak_usd - self.equity_usd) / self.peak_usd))

    @property
    def daily_pnl_ratio(self) -> float:
        """PnL since the day's start, ratio of the equity it began with."""
        return (
            (self.equity_usd - self.day_start_usd) / self.day_start_usd if self.day_start_usd > 0.0 else -1.0
        )

    @property
    def pnl_24h_usd(self) -> float:
        """PnL of the last 24 hours of market time."""
        return self.equity_usd - (self._history[0][1] if self._history else self.start_usd)

    def mark(self, time: float, pnl_usd: float) -> list[str]:
        """Take the books' PnL at the close of an hour, and trip or release the breakers.

        Args:
            time: Epoch seconds, market time; it may jump back when the data starts over.
            pnl_usd: All books together.

        Returns:
            The breakers that tripped now.
        """
        before = dict(self.breakers)
        if self._day != time // DAY:
            self._day, self.day_start_usd = time // DAY, self.equity_usd
            self.breakers["daily_loss"] = False
        if self._history and time < self._history[-1][0]:
            self._history.clear()
            if self.equity_tripped_at is not None:
                self.equity_tripped_at = time
        self.equity_usd = self.start_usd + pnl_usd
        self.peak_usd = max(self.peak_usd, self.equity_usd)
        while self._history and self._history[0][0] < time - 24 * HOUR:
            self._history.popleft()
        self._history.append((time, self.equity_usd))
        self.breakers["daily_loss"] |= self.daily_pnl_ratio <= -self.limits.daily_loss
        self._judge_equity(time)
        tripped = [name for name, is_open in self.breakers.items() if is_open and not before[name]]
        for name in tripped:
            self.trips[name] += 1
        return tripped

    def _judge_equity(self, time: float) -> None:
        if self.drawdown_ratio >= self.limits.drawdown:
            if self.equity_tripped_at is None:
                self.equity_tripped_at = time
        elif self.equity_tripped_at is not None:
            rested = time - self.equity_tripped_at >= self.limits.release_hours * HOUR
            if rested and self.drawdown_ratio <= self.limits.release_drawdown:
                self.equity_tripped_at = None
        self.breakers["equity"] = self.equity_tripped_at is not None

    def rebase(self) -> str:
        """Begin anew from today's equity: the peak moves down, the equity breaker releases.

        Returns:
            What happened, for the log: a peak never moves silently.
        """
        story = f"peak moved from {self.peak_usd:.2f} to {self.equity_usd:.2f} USD, equity breaker released"
        self.peak_usd = self.equity_usd
        self.equity_tripped_at = None
        self.breakers["equity"] = False
        return story
