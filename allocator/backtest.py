"""Pure: the same `decide`, walked over a recorded past; shares for row t see rows before t alone.

Shares are scored on the returns that were recorded: PnL per unit of capital given does not depend on the
share a strategy had, so a mixture of returns is what other shares would have earned, as far as an engine's
own size does not move its market.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from allocator.decision import InForce, Limits, decide
from allocator.errors import NoDataError
from allocator.history import PAUSE_ROWS, Observation, Outcome
from allocator.policy import LOOKBACK_ROWS

__all__ = ["Backtest", "Track", "from_returns", "replay"]

FloatArray = npt.NDArray[np.float64]
YEAR_SECONDS = 365.0 * 86_400.0


@dataclass(frozen=True, slots=True)
class Track:
    """What one way to share capital would have made.

    Attributes:
        name: Whose it is.
        shares: Share in force during each row; shape (T, n).
        returns: Return of each row after costs, ratio; shape (T,).
        step: Seconds between rows.
        turnover: Half the L1 change at each row; shape (T,).
    """

    name: str
    shares: FloatArray
    returns: FloatArray
    turnover: FloatArray
    step: float

    @property
    def wealth(self) -> FloatArray:
        """Capital after each row, begun with one; a loss of everything is the end; shape (T,)."""
        return np.asarray(np.cumprod(np.maximum(1.0 + self.returns, 0.0)), dtype=np.float64)

    @property
    def growth(self) -> float:
        """Capital at the end, begun with one."""
        return float(self.wealth[-1])

    @property
    def sharpe(self) -> float:
        """Mean over standard deviation of the rows, per year of 365 days; NaN without variation."""
        deviation = float(self.returns.std())
        if deviation <= 1e-15:
            return float("nan")
        return float(self.returns.mean()) / deviation * float(np.sqrt(YEAR_SECONDS / self.step))

    @property
    def drawdown(self) -> float:
        """Largest loss from a peak, ratio; the start is a peak too."""
        wealth = np.concatenate([[1.0], self.wealth])
        return float((1.0 - wealth / np.maximum.accumulate(wealth)).max())


@dataclass(frozen=True, slots=True)
class Backtest:
    """A walk over the past.

    Attributes:
        times: End of each row, epoch seconds; shape (T,).
        strategies: Columns.
        earned: Returns of the rows, 0 where there was no reading; shape (T, n).
        allocator, equal, best: What was decided; equal shares of those present; the one strategy that was
            best, known only afterwards.
        reasons: How often the decisions ended how: published, held, or the guard's name.
    """

    times: FloatArray
    strategies: tuple[str, ...]
    earned: FloatArray
    allocator: Track
    equal: Track
    best: Track
    reasons: Mapping[str, int]

    @property
    def tracks(self) -> tuple[Track, Track, Track]:
        """All three."""
        return self.allocator, self.equal, self.best

    def regret(self, track: Track) -> float:
        """Log growth that the best fixed strategy made more."""
        if track.growth <= 0.0:
            return float("inf")
        return float(np.log(self.best.growth) - np.log(track.growth)) if self.best.growth > 0.0 else 0.0


def from_returns(returns: FloatArray, strategies: tuple[str, ...], end: float, step: float) -> Observation:
    """An observation made of returns that are already on the capital given; NaN is no reading."""
    present = np.isfinite(returns)
    outcomes = np.where(present, Outcome.ONE, Outcome.GAP).astype(np.int8)
    return Observation(
        as_of=end,
        step=step,
        strategies=strategies,
        returns=np.where(present, returns, np.nan),
        outcomes=outcomes,
        absent_rows=_absent(present),
        assumed_shares=0,
        breaker_open=False,
        readings=int(present.any(axis=1).sum()),
    )


def replay(seen: Observation, limits: Limits, *, first: int = 1, cost_bps: float = 0.0) -> Backtest:
    """Decide before each row from what was known then, and earn the row.

    Args:
        seen: The whole past.
        limits: Bounds and knobs.
        first: First row that is earned; rows before it are known at the start.
        cost_bps: Price of turnover, basis points of capital.

    Raises:
        NoDataError: Not a single row to earn.
    """
    rows, count = seen.returns.shape
    if not 0 <= first < rows:
        raise NoDataError(f"{rows} rows of returns, the first to earn is {first}: want more", outcome="few")
    earned = np.nan_to_num(seen.returns[first:], nan=0.0)
    held = InForce(0, {})
    shares, equal = np.zeros((rows - first, count)), np.zeros((rows - first, count))
    reasons: dict[str, int] = {}
    for row, known in enumerate(_walk(seen, first)):
        decision = decide(known, held, limits)
        held = InForce(held.version + 1, decision.shares)
        how = decision.guard or decision.action.value
        reasons[how] = reasons.get(how, 0) + 1
        shares[row] = [decision.shares.get(name, 0.0) for name in seen.strategies]
        present = known.absent_rows < PAUSE_ROWS
        equal[row] = present / max(1, int(present.sum()))
    whole = np.prod(np.maximum(1.0 + earned, 0.0), axis=0)
    winner = int(whole.argmax())
    alone = np.zeros_like(shares)
    alone[:, winner] = 1.0
    return Backtest(
        times=seen.as_of - seen.step * np.arange(rows - first - 1, -1, -1, dtype=np.float64),
        strategies=seen.strategies,
        earned=earned,
        allocator=_track("allocator", shares, earned, cost_bps, seen.step),
        equal=_track("equal weight", equal, earned, cost_bps, seen.step),
        best=_track(f"best in hindsight ({seen.strategies[winner]})", alone, earned, cost_bps, seen.step),
        reasons=dict(sorted(reasons.items())),
    )


def _walk(seen: Observation, first: int) -> Iterator[Observation]:
    """What was known before each row from `first` on."""
    rows = seen.returns.shape[0]
    present = (seen.outcomes == Outcome.ONE) | _has_level(seen)
    last = np.maximum.accumulate(np.where(present, np.arange(rows)[:, None], -rows), axis=0)
    some = np.asarray(np.isfinite(seen.returns).any(axis=1))
    for row in range(first, rows):
        window = slice(max(0, row - LOOKBACK_ROWS), row)
        # Nobody was there yet: all columns are candidates, or there would be no share to begin with.
        absent = row - 1 - last[row - 1] if row > 0 else np.zeros(len(seen.strategies), dtype=np.int64)
        yield replace(
            seen,
            as_of=seen.as_of - (rows - row) * seen.step,
            returns=seen.returns[window],
            outcomes=seen.outcomes[window],
            absent_rows=absent,
            assumed_shares=0,
            breaker_open=False,
            readings=int(some[window].sum()),
        )


def _has_level(seen: Observation) -> npt.NDArray[np.bool_]:
    """Cells without a return whose PnL was there all the same."""
    there = (Outcome.RESET, Outcome.REGROUPED, Outcome.APPEARED, Outcome.NO_EQUITY, Outcome.NO_CAPITAL)
    return np.isin(seen.outcomes, there)


def _absent(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Rows since each column was last present."""
    rows = present.shape[0]
    if rows == 0:
        return np.zeros(present.shape[1], dtype=np.int64)
    absent: npt.NDArray[np.int64] = np.where(present.any(axis=0), present[::-1].argmax(axis=0), rows)
    return absent


def _track(name: str, shares: FloatArray, earned: FloatArray, cost_bps: float, step: float) -> Track:
    """Returns of the rows, less the price of getting from one row's shares to the next."""
    turnover = np.zeros(len(shares))
    turnover[1:] = 0.5 * np.abs(np.diff(shares, axis=0)).sum(axis=1)
    returns = (shares * earned).sum(axis=1) - turnover * cost_bps * 1e-4
    return Track(name, shares, returns, turnover, step)
