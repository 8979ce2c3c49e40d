"""A recorded past for a backtest: from Prometheus in pieces it will answer, or from a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from allocator.backtest import from_returns
from allocator.errors import NoDataError, SettingsError
from allocator.history import Answers, Grid, Observation, Series, grid_for, observe
from allocator.loop import Metrics
from allocator.policy import LOOKBACK_ROWS
from allocator.queries import Queries, Query

__all__ = ["from_csv", "from_prometheus", "moment"]

_POINTS = 10_000  # of the 11,000 that Prometheus gives at most
_LONGEST = 1_000_000  # rows of a file's grid; nobody walks more, and one wrong time can make any number
_EQUITY = "equity_usd"
_RETURN = "return:"
_SHARE = "share:"


def moment(text: str) -> float:
    """Epoch seconds of a number or an ISO 8601 time, UTC where it names no zone.

    Raises:
        SettingsError: It is neither.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError as error:
            raise SettingsError(f"{text!r} is no time: want ISO 8601 or epoch seconds") from error
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise SettingsError(f"{text!r} is no time: want ISO 8601 or epoch seconds")
    return value


def from_prometheus(
    metrics: Metrics, asked: Queries, begin: float, end: float, step: float
) -> tuple[Observation, int]:
    """The past as recorded, with what was known before `begin`.

    Args:
        metrics: Where it is read.
        asked: The queries of the daemon.
        begin: First time to earn, epoch seconds.
        end: Last.
        step: Seconds between rows.

    Returns:
        The observation, and its first row to earn.

    Raises:
        QueryError: A query failed.
        NoDataError: There is no usable PnL.
    """
    last = grid_for(end, step, 2).end
    earn = max(1, round((last - grid_for(begin, step, 2).end) / step))
    grid = Grid(last, step, earn + LOOKBACK_ROWS + 1)
    seen = observe(
        Answers(
            pnl=_pieces(metrics, asked.pnl, grid),
            equity=_pieces(metrics, asked.equity, grid),
            risk_share=_pieces(metrics, asked.risk_share, grid),
            engine_start=_pieces(metrics, asked.engine_start, grid),
            engines=_pieces(metrics, asked.engines, grid),
        ),
        grid,
    )
    rows = seen.returns.shape[0]
    return seen, min(max(1, rows - earn), max(rows - 1, 0))


def _pieces(metrics: Metrics, query: Query, grid: Grid) -> list[Series]:
    """One query in ranges that a server will answer, put together again."""
    parts: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for start in range(0, grid.rows, _POINTS):
        size = min(_POINTS, grid.rows - start)
        piece = Grid(grid.start + (start + size - 1) * grid.step, grid.step, size)
        for one in metrics.range(query, piece):
            parts.setdefault(tuple(sorted(one.labels.items())), []).append(one)
    return [
        Series(
            found[0].labels,
            np.concatenate([one.times for one in found]),
            np.concatenate([one.values for one in found]),
        )
        for found in parts.values()
    ]


def from_csv(path: Path, step: float | None) -> Observation:
    """The past in a file: a row a time, `time` first, then a column a strategy.

    Columns are cumulative PnL in dollars beside a column `equity_usd`, with the share each had in
    `share:NAME` where it was not 1/n; or, all of them named `return:NAME`, returns on the capital given.
    An empty cell is no reading.  Where `step` is longer than the lines are apart, the returns of one row's
    lines are compounded, and of cumulative PnL, equity and shares the last line counts.

    Args:
        path: The file.
        step: Seconds between rows; the usual distance of the file's times by default.

    Raises:
        SettingsError: It cannot be read, a cell, a column or the order of times is wrong, or the times are
            on no common step.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path}: {error}: want a CSV file") from error
    head, body = (lines[0], [line for line in lines[1:] if line]) if lines else ([], [])
    if len(head) < 2 or head[0] != "time" or len(set(head)) != len(head):
        raise SettingsError(f"{path}: columns are {head[:6]}: want time first, then different names")
    if len(body) < 2:
        raise SettingsError(f"{path}: {len(body)} rows: want at least 2")
    cells = np.array([_cells(path, number, line, head) for number, line in enumerate(body, 2)])
    times = cells[:, 0]
    gaps = np.diff(times)
    if (gaps <= 0).any():
        row = int((gaps <= 0).argmax()) + 3
        raise SettingsError(
            f"{path} line {row}: time is not later than the line before: want ascending times"
        )
    usual = step or float(np.median(gaps))
    rows = _rows(path, times, usual, given=step is not None)
    columns = {name: cells[:, index] for index, name in enumerate(head) if index}
    returns = {
        name.removeprefix(_RETURN): values for name, values in columns.items() if name.startswith(_RETURN)
    }
    if returns:
        if len(returns) != len(columns):
            other = next(name for name in columns if not name.startswith(_RETURN))
            raise SettingsError(f"{path}: {other} stands beside return: columns: want all of them so named")
        return _returns_observation(times, rows, returns, usual)
    if _EQUITY not in columns:
        raise SettingsError(f"{path}: no column {_EQUITY}: want it beside PnL, or columns named return:NAME")
    return _pnl_observation(times, rows, columns, usual)


def _cells(path: Path, number: int, line: Sequence[str], head: Sequence[str]) -> list[float]:
    if len(line) != len(head):
        raise SettingsError(f"{path} line {number}: {len(line)} cells: want {len(head)}")
    try:
        out = [moment(line[0])]
    except SettingsError as error:
        raise SettingsError(f"{path} line {number}: {error}") from error
    for name, text in zip(head[1:], line[1:], strict=True):
        try:
            out.append(float(text) if text.strip() else float("nan"))
        except ValueError as error:
            raise SettingsError(f"{path} line {number}: {name} is {text!r}: want a number") from error
    return out


def _rows(path: Path, times: np.ndarray, step: float, *, given: bool) -> np.ndarray:
    """Each line's row on a grid that ends with the last time; several lines may share one; shape (lines,).

    A row is the time since the row before.  Half the usual distance of lines, at most half a row, is left for
    times that are not quite on the grid.
    """
    gaps = np.diff(times)
    slack = 0.5 * min(step, float(np.median(gaps)))
    length = (times[-1] - times[0]) / step + 1.0
    if length > _LONGEST:
        worst = int(gaps.argmax())
        raise SettingsError(
            f"{path} line {worst + 3}: {gaps[worst]:g} s after the line before; with a step of {step:g} s "
            f"the file has {length:.0f} rows: want at most {_LONGEST}"
        )
    back = np.floor((times[-1] - times + slack) / step).astype(np.int64)
    rows: np.ndarray = back[0] - back
    same = np.diff(rows) == 0
    if same.any() and not given:
        row = int(same.argmax())
        raise SettingsError(
            f"{path} line {row + 3}: {gaps[row]:g} s after the line before, where {step:g} s are usual: "
            "want even times, or say --step"
        )
    return rows


def _compounded(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns of the lines of each row, one after the other; NaN where none has one; shape (rows,)."""
    present = np.isfinite(values)
    growth = np.ones(int(rows[-1]) + 1)
    np.multiply.at(growth, rows[present], 1.0 + values[present])
    out = np.full(growth.shape, np.nan)
    out[rows[present]] = growth[rows[present]] - 1.0
    alone = present & (np.bincount(rows, present)[rows] == 1)
    out[rows[alone]] = values[alone]  # to the bit, as it stands in the file
    return out


def _returns_observation(
    times: np.ndarray, rows: np.ndarray, returns: dict[str, np.ndarray], step: float
) -> Observation:
    names = tuple(sorted(returns))
    table = np.column_stack([_compounded(rows, returns[name]) for name in names])
    return from_returns(table, names, float(times[-1]), step)


def _pnl_observation(
    times: np.ndarray, rows: np.ndarray, columns: dict[str, np.ndarray], step: float
) -> Observation:
    grid = Grid(float(times[-1]), step, int(rows[-1]) + 1)

    def one(values: np.ndarray, **labels: str) -> Series:
        present = np.isfinite(values)
        level = np.full(grid.rows, np.nan, dtype=np.float64)
        level[rows[present]] = values[present]  # lines are in order: the last of a row stays
        kept = np.flatnonzero(np.isfinite(level))
        return Series(labels, np.asarray(grid.start + kept * step, dtype=np.float64), level[kept])

    strategies = [name for name in columns if name != _EQUITY and not name.startswith(_SHARE)]
    shares = {name.removeprefix(_SHARE): name for name in columns if name.startswith(_SHARE)}
    unknown = shares.keys() - set(strategies)
    if unknown or not strategies:
        raise NoDataError(f"share:{min(unknown, default='')} has no PnL column beside it", outcome="none")
    return observe(
        Answers(
            pnl=[one(columns[name], strategy=name) for name in strategies],
            equity=[one(columns[_EQUITY])],
            risk_share=[one(columns[column], strategy=name) for name, column in shares.items()],
        ),
        grid,
    )
