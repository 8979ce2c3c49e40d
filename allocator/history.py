"""Pure: from what Prometheus answered to returns on the capital given, with a name for everything else.

    r[t, i] = (PnL[t, i] − PnL[t−1, i]) / (equity[t−1] · share[t−1, i])

PnL per unit of capital, so that a strategy is neither praised nor punished for the share it had.  A cell
that cannot be computed is NaN, never zero, and says why.  Knows no clock and no network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from allocator.errors import NoDataError

__all__ = [
    "PAUSE_ROWS",
    "Answers",
    "Grid",
    "Observation",
    "Outcome",
    "Sample",
    "Series",
    "grid_for",
    "observe",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
CodeArray = npt.NDArray[np.int8]

SETTLE_SECONDS = 30.0
"""How long after a restart PnL may still show the old count: a scrape and two rule groups."""

PAUSE_ROWS = 6
"""A strategy or an account that says nothing for so many rows has left."""


class Outcome(IntEnum):
    """What one cell of the history is; the first is a reading, all others are none."""

    ONE = 0
    NONE = 1
    SEVERAL = 2
    NAN = 3
    STALE = 4
    RESET = 5
    REGROUPED = 6
    APPEARED = 7
    DISAPPEARED = 8
    GAP = 9
    CLOCK_STEP = 10
    NO_EQUITY = 11
    NO_CAPITAL = 12

    @property
    def label(self) -> str:
        """Its name in logs."""
        return self.name.lower()

    @property
    def meaning(self) -> str:
        """What it says, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    Outcome.ONE: "one fresh reading",
    Outcome.NONE: "no series at all",
    Outcome.SEVERAL: "several series for one strategy",
    Outcome.NAN: "the reading is NaN",
    Outcome.STALE: "the newest reading is too old",
    Outcome.RESET: "the engine restarted and counts anew",
    Outcome.REGROUPED: "an engine joined or left the sum",
    Outcome.APPEARED: "its first reading",
    Outcome.DISAPPEARED: "no reading, while others have one",
    Outcome.GAP: "nobody has a reading, or the first one after that",
    Outcome.CLOCK_STEP: "clocks disagree",
    Outcome.NO_EQUITY: "no equity above zero beside it",
    Outcome.NO_CAPITAL: "its share was zero",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Evaluation times: `rows` of them, `step` seconds apart, the last at `end` (epoch seconds)."""

    end: float
    step: float
    rows: int

    @property
    def start(self) -> float:
        """The first time."""
        return self.end - (self.rows - 1) * self.step


def grid_for(now: float, step: float, rows: int) -> Grid:
    """The grid whose last time is the latest multiple of `step` not after `now`.

    Multiples, so that an allocator that was killed and came back within the period sees the same rows.
    """
    return Grid(end=float(np.floor(now / step + 1e-9) * step), step=step, rows=rows)


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a range query: labels, epoch seconds, values; arrays of equal length."""

    labels: Mapping[str, str]
    times: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an instant query; `at` is the server's evaluation time, epoch seconds."""

    labels: Mapping[str, str]
    value: float
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything Prometheus said; `pnl_times` are epoch seconds of the newest PnL samples.

    `pnl_times` and `open_breakers` are None where nobody asked, as in a backtest.
    """

    pnl: Sequence[Series]
    equity: Sequence[Series]
    risk_share: Sequence[Series] = ()
    engine_start: Sequence[Series] = ()
    engines: Sequence[Series] = ()
    pnl_times: Sequence[Sample] | None = None
    equity_breaker: Sequence[Sample] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """The history a decision is made from.

    Attributes:
        as_of: Time of the last row, epoch seconds.
        step: Seconds between rows.
        strategies: Names, sorted; the columns.
        returns: Simple returns on the capital given; shape (T, n), NaN is no reading.
        outcomes: An Outcome for each cell; shape (T, n).
        absent_rows: Rows since a strategy's last PnL; shape (n,), 0 is now.
        assumed_shares: Cells whose share was not recorded, so that 1/n stood in.
        breaker_open: Prometheus shows an open equity breaker.
        readings: Rows with at least one return.
    """

    as_of: float
    step: float
    strategies: tuple[str, ...]
    returns: FloatArray
    outcomes: CodeArray
    absent_rows: npt.NDArray[np.int64]
    assumed_shares: int
    breaker_open: bool
    readings: int

    @property
    def newest(self) -> tuple[Outcome, ...]:
        """What the last row is, strategy by strategy."""
        if self.outcomes.shape[0] == 0:
            return tuple(Outcome.APPEARED for _ in self.strategies)
        return tuple(Outcome(code) for code in self.outcomes[-1].tolist())

    @property
    def counts(self) -> dict[str, int]:
        """How often each outcome but ONE occurs in the window."""
        codes, sizes = np.unique(self.outcomes, return_counts=True)
        return {
            Outcome(code).label: int(size)
            for code, size in zip(codes.tolist(), sizes.tolist(), strict=True)
            if code != Outcome.ONE
        }


def observe(
    answers: Answers, grid: Grid, *, now: float | None = None, stale_after: float = np.inf
) -> Observation:
    """The returns on `grid`, and what every cell is.

    Args:
        answers: What was read, on any times; samples off the grid's times are not used.
        grid: Evaluation times; one row of returns less than it has rows.
        now: Epoch seconds against which the newest PnL's age is taken; needed where `pnl_times` is given.
        stale_after: PnL older than so many seconds is no reading.

    Returns:
        The observation; rows before the first PnL are left out.

    Raises:
        NoDataError: No series, several for one strategy, no strategy label: nothing to compute with.
    """
    columns = _by_strategy(answers.pnl)
    strategies = tuple(sorted(columns))
    jobs = {series.labels.get("job") for series in answers.pnl}
    pnl = np.column_stack([_on_grid(columns[name], grid) for name in strategies])
    sampled = np.column_stack([_sampled(columns[name], grid) for name in strategies])
    _drop_stale(pnl, strategies, answers.pnl_times, now, stale_after)
    finite = np.isfinite(pnl)
    if not sampled.any():
        raise NoDataError("no PnL sample falls on the grid", outcome=Outcome.NONE.label)
    first = int(sampled.any(axis=1).argmax())

    equity = _equity(answers.equity, jobs, grid)
    shares, assumed = _shares(answers.risk_share, strategies, finite, grid)
    restarted = _restarted(_of_jobs(answers.engine_start, jobs), first, grid)
    regrouped = _regrouped(_of_jobs(answers.engines, jobs), strategies, grid)

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        capital = equity[:-1, None] * shares[:-1]
        returns = np.diff(pnl, axis=0) / capital
    outcomes = _outcomes(
        finite,
        sampled,
        equity[:-1, None] > 0.0,
        shares[:-1] > 0.0,
        _linger(restarted, grid)[1:, None],
        _linger(regrouped, grid)[1:],
    )
    if answers.pnl_times is not None:
        outcomes[-1, ~finite[-1] & sampled[-1] & _is_number(columns, strategies, grid)] = Outcome.STALE
    # An overflow is no reading either.
    outcomes[(outcomes == Outcome.ONE) & ~np.isfinite(returns)] = Outcome.NAN
    returns[outcomes != Outcome.ONE] = np.nan
    seen_last = np.where(finite.any(axis=0), grid.rows - 1 - finite[::-1].argmax(axis=0), -1)
    kept = slice(first, None)
    return Observation(
        as_of=grid.end,
        step=grid.step,
        strategies=strategies,
        returns=returns[kept],
        outcomes=outcomes[kept],
        absent_rows=(grid.rows - 1 - seen_last).astype(np.int64),
        assumed_shares=int(assumed[kept].sum()),
        breaker_open=any(sample.value > 0.0 for sample in answers.equity_breaker),
        readings=int(np.isfinite(returns).any(axis=1).sum()),
    )


def _by_strategy(pnl: Sequence[Series]) -> dict[str, Series]:
    """Series by strategy; each must have the label, and be the only one with its value."""
    if not pnl:
        raise NoDataError(
            "Prometheus has no PnL series: does an engine push, and are the recording rules loaded?",
            outcome=Outcome.NONE.label,
        )
    unnamed = [dict(series.labels) for series in pnl if not series.labels.get("strategy")]
    if unnamed:
        raise NoDataError(
            f"PnL series {unnamed[0]} has no label strategy: want one series a strategy",
            outcome=Outcome.NONE.label,
        )
    twice = [name for name, size in Counter(s.labels["strategy"] for s in pnl).items() if size > 1]
    if twice:
        found = [dict(series.labels) for series in pnl if series.labels["strategy"] == twice[0]]
        raise NoDataError(
            f"strategy {twice[0]} has {len(found)} PnL series, {found[0]} and {found[1]}: "
            "want one; narrow with PNL_SELECTOR or sum in a recording rule",
            outcome=Outcome.SEVERAL.label,
        )
    return {series.labels["strategy"]: series for series in pnl}


def _positions(series: Series, grid: Grid) -> tuple[npt.NDArray[np.int64], BoolArray]:
    """Row of each sample, and whether it stands on a row."""
    where = (series.times - grid.start) / grid.step
    rows = np.rint(where).astype(np.int64)
    tolerance = max(1e-3 / grid.step, 1e-6)  # Prometheus rounds to milliseconds
    return rows, (np.abs(where - rows) <= tolerance) & (rows >= 0) & (rows < grid.rows)


def _on_grid(series: Series, grid: Grid) -> FloatArray:
    """Values by row, NaN where there is no finite sample; shape (rows,)."""
    out = np.full(grid.rows, np.nan)
    rows, usable = _positions(series, grid)
    out[rows[usable]] = series.values[usable]
    out[~np.isfinite(out)] = np.nan
    return out


def _sampled(series: Series, grid: Grid) -> BoolArray:
    """Whether there is a sample at all, NaN or not; shape (rows,)."""
    out = np.zeros(grid.rows, dtype=np.bool_)
    rows, usable = _positions(series, grid)
    out[rows[usable]] = True
    return out


def _is_number(columns: Mapping[str, Series], strategies: Sequence[str], grid: Grid) -> BoolArray:
    """Whether the last row's sample is a finite number, before its age is looked at; shape (n,)."""
    return np.array([bool(np.isfinite(_on_grid(columns[name], grid)[-1])) for name in strategies])


def _drop_stale(
    pnl: FloatArray,
    strategies: Sequence[str],
    times: Sequence[Sample] | None,
    now: float | None,
    stale_after: float,
) -> None:
    """Blank the last row where the newest sample is too old, or its time is unknown."""
    if times is None or now is None:
        return
    newest: dict[str, float] = {}
    for sample in times:
        name = sample.labels.get("strategy", "")
        newest[name] = max(sample.value, newest.get(name, -np.inf))
    ages = np.array([now - newest.get(name, -np.inf) for name in strategies])
    pnl[-1, ~(ages <= stale_after)] = np.nan


def _of_jobs(series: Sequence[Series], jobs: set[str | None]) -> list[Series]:
    """Series of the jobs whose PnL is read; all, where PnL names no job."""
    known = {job for job in jobs if job}
    return [one for one in series if not known or one.labels.get("job") in known]


def _equity(series: Sequence[Series], jobs: set[str | None], grid: Grid) -> FloatArray:
    """Equity of the jobs whose PnL is read, summed; NaN where one of them is missing; shape (rows,)."""
    ours = _of_jobs(series, jobs)
    if len(ours) > 1 and not any(jobs):
        raise NoDataError(
            f"equity has {len(ours)} series and PnL names no job: want one, or a PNL_METRIC with label job",
            outcome=Outcome.SEVERAL.label,
        )
    if not ours:
        return np.full(grid.rows, np.nan)
    by_job = np.column_stack([_on_grid(one, grid) for one in ours])
    # A job that pauses leaves a hole, not a smaller sum; one that stays away is no part of it any more.
    live = np.isfinite(by_job)
    row = np.arange(grid.rows)[:, None]
    away = row - np.maximum.accumulate(np.where(live, row, -grid.rows), axis=0)
    total: FloatArray = np.where(live, by_job, 0.0).sum(axis=1)
    pauses = (away > 0) & (away < PAUSE_ROWS)
    total[pauses.any(axis=1) | ~live.any(axis=1)] = np.nan
    return total


def _shares(
    series: Iterable[Series], strategies: Sequence[str], finite: BoolArray, grid: Grid
) -> tuple[FloatArray, BoolArray]:
    """Shares in force, 1/n where they were not recorded; and where that was, for a reading's sake."""
    recorded = {one.labels.get("strategy", ""): _on_grid(one, grid) for one in series}
    blank = np.full(grid.rows, np.nan)
    shares = np.column_stack([recorded.get(name, blank) for name in strategies])
    unknown = ~np.isfinite(shares)
    equal = 1.0 / np.maximum(finite.sum(axis=1, keepdims=True), 1)
    return np.where(unknown, equal, shares), unknown & finite


def _settle_rows(grid: Grid) -> int:
    """Rows that SETTLE_SECONDS may reach into."""
    return int(np.ceil(SETTLE_SECONDS / grid.step))


def _restarted(series: Sequence[Series], first: int, grid: Grid) -> BoolArray:
    """Rows at which an engine's start took another value than its last known one; shape (rows,).

    A start that is first told long after PnL began, `first`, is a restart too: the engine before it did not
    tell.
    """
    out = np.zeros(grid.rows, dtype=np.bool_)
    for one in series:
        values = _on_grid(one, grid)
        known = np.flatnonzero(np.isfinite(values))
        if known.size:
            moved = np.flatnonzero(np.diff(values[known]) != 0.0) + 1
            out[known[moved]] = True
            out[known[0]] |= known[0] > first + _settle_rows(grid)
    return out


def _regrouped(series: Sequence[Series], strategies: Sequence[str], grid: Grid) -> BoolArray:
    """Rows at which a strategy's PnL became the sum of another number of engines; shape (rows, n)."""
    out = np.zeros((grid.rows, len(strategies)), dtype=np.bool_)
    for column, name in enumerate(strategies):
        for one in series:
            if one.labels.get("strategy") == name:
                values = _on_grid(one, grid)
                known = np.flatnonzero(np.isfinite(values))
                out[known[np.flatnonzero(np.diff(values[known]) != 0.0) + 1], column] = True
    return out


def _linger(changes: BoolArray, grid: Grid) -> BoolArray:
    """Changes, and the rows after each until recorded PnL has surely followed; shape kept."""
    out = changes.copy()
    for delay in range(1, 1 + min(_settle_rows(grid), changes.shape[0] - 1)):
        out[delay:] |= changes[:-delay]
    return out


def _outcomes(
    finite: BoolArray,
    sampled: BoolArray,
    funded: BoolArray,
    capital: BoolArray,
    restarted: BoolArray,
    regrouped: BoolArray,
) -> CodeArray:
    """What each cell is, the first that applies; shape (rows − 1, n)."""
    now, before = finite[1:], finite[:-1]
    earlier = np.maximum.accumulate(finite, axis=0)[:-1]
    nobody = ~sampled[1:].any(axis=1, keepdims=True)
    cases = [
        (~now & sampled[1:], Outcome.NAN),
        (~now & ~earlier & ~nobody, Outcome.NONE),
        (~now & ~nobody, Outcome.DISAPPEARED),
        (~now, Outcome.GAP),
        (~before & ~earlier, Outcome.APPEARED),
        (~before, Outcome.GAP),
        (restarted, Outcome.RESET),
        (regrouped, Outcome.REGROUPED),
        (~funded, Outcome.NO_EQUITY),
        (~capital, Outcome.NO_CAPITAL),
    ]
    conditions = [np.broadcast_to(condition, now.shape) for condition, _ in cases]
    codes = [np.int8(outcome) for _, outcome in cases]
    return np.select(conditions, codes, default=np.int8(Outcome.ONE)).astype(np.int8)
