"""A PromQL API in memory: answers by query id, failures on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from allocator.errors import QueryError
from allocator.history import Grid, Sample, Series
from allocator.queries import Query


@dataclass
class FakeMetrics:
    """Implements `allocator.loop.Metrics`.

    Attributes:
        ranges: Series by query id; a range query gives the samples that fall on its grid.
        instants: Samples by query id.
        clock: What `time()` says.
        failures: Errors raised by the next queries, first come first served.
    """

    clock: Callable[[], float]
    ranges: dict[str, list[Series]] = field(default_factory=dict)
    instants: dict[str, list[Sample]] = field(default_factory=dict)
    failures: list[QueryError] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def range(self, query: Query, grid: Grid) -> list[Series]:
        self._ask(query)
        found = []
        for one in self.ranges.get(query.id, []):
            kept = (one.times >= grid.start - 1e-6) & (one.times <= grid.end + 1e-6)
            if kept.any():
                found.append(Series(one.labels, one.times[kept], one.values[kept]))
        return found

    def instant(self, query: Query, at: float | None = None) -> list[Sample]:
        self._ask(query)
        if query.id == "clock":
            return [Sample({}, self.clock(), self.clock())]
        return self.instants.get(query.id, [])

    def _ask(self, query: Query) -> None:
        self.asked.append(query.id)
        if self.failures:
            raise self.failures.pop(0)


def series(values: Sequence[float] | np.ndarray, end: float, step: float, **labels: str) -> Series:
    """A series whose last value stands at `end`; None-like gaps are not possible, NaN is a NaN sample."""
    array = np.asarray(values, dtype=np.float64)
    return Series(labels, end - step * np.arange(array.size - 1, -1, -1, dtype=np.float64), array)


def without(one: Series, *rows: int) -> Series:
    """The series with the samples of these rows left out."""
    kept = np.ones(one.times.size, dtype=bool)
    kept[list(rows)] = False
    return Series(one.labels, one.times[kept], one.values[kept])
