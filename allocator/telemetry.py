"""The allocator's own metrics; every series is there from the start, at zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary

from allocator.decision import Decision
from allocator.errors import AllocatorError
from allocator.queries import QUERY_IDS
from deckrails import __version__

__all__ = ["RESULTS", "Telemetry"]

RESULTS = ("success", "error", "skipped")
_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Telemetry:
    """What `/metrics` shows.

    Args:
        interval_seconds: Time between decisions.
        revision: Source revision of this build, where it is known.
    """

    def __init__(self, interval_seconds: float, revision: str = "unknown") -> None:
        # The `_created` companions double the page and no rule reads them.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        by_strategy = (
            ("allocator_raw_share_ratio", "Share before bounds and MAX_STEP."),
            ("allocator_score", "Score of the newest row."),
            ("allocator_score_ema", "Smoothed score, what shares are made of."),
            ("allocator_bonus", "Exploration bonus in the score."),
        )
        self._by_strategy = {
            name: Gauge(name, text, ["strategy"], registry=registry) for name, text in by_strategy
        }
        self._interval = Gauge("allocator_interval_seconds", "Time between decisions.", registry=registry)
        self._interval.set(interval_seconds)
        self._turnover_last = Gauge(
            "allocator_turnover_last_ratio",
            "Half the L1 change that the last run published.",
            registry=registry,
        )
        self._frozen = Gauge(
            "allocator_weights_frozen",
            "1 while a guard or a failed request holds the shares.",
            registry=registry,
        )
        self._relaxed = Gauge(
            "allocator_bounds_relaxed",
            "1 if the bounds leave so many strategies no choice.",
            registry=registry,
        )
        self._all_negative = Gauge(
            "allocator_all_negative", "1 if every strategy's mean return is below zero.", registry=registry
        )
        self._last_run = Gauge(
            "allocator_last_run_timestamp_seconds", "When a run last ended; 0 is never.", registry=registry
        )
        self._last_success = Gauge(
            "allocator_last_success_timestamp_seconds",
            "When a run last succeeded; 0 is never.",
            registry=registry,
        )
        self._runs = Counter(
            "allocator_runs_total", "Runs by result: success, error, skipped.", ["result"], registry=registry
        )
        self._run_duration = Histogram(
            "allocator_run_duration_seconds", "Time of a run.", buckets=_DURATION_BUCKETS, registry=registry
        )
        self._query_duration = Histogram(
            "allocator_query_duration_seconds",
            "Time of a request to Prometheus or the exporter.",
            ["query"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self._queries = Counter(
            "allocator_queries_total",
            "Requests to Prometheus and the exporter.",
            ["query"],
            registry=registry,
        )
        self._query_errors = Counter(
            "allocator_query_errors_total",
            "Requests to Prometheus and the exporter that failed.",
            ["query"],
            registry=registry,
        )
        self._turnover = Summary(
            "allocator_turnover_ratio",
            "Half the L1 change that each run published, summed.",
            registry=registry,
        )
        build = Gauge(
            "allocator_build_info", "What runs: always 1.", ["version", "revision"], registry=registry
        )
        build.labels(__version__, revision).set(1)
        for result in RESULTS:
            self._runs.labels(result)
        for query in QUERY_IDS:
            self._queries.labels(query)
            self._query_errors.labels(query)
            self._query_duration.labels(query)
        self._shown: set[str] = set()

    @contextmanager
    def query(self, query: str) -> Iterator[None]:
        """Count and time one query; one that raises is an error too."""
        self._queries.labels(query).inc()
        try:
            with self._query_duration.labels(query).time():
                yield
        except AllocatorError:
            self._query_errors.labels(query).inc()
            raise

    def decided(self, decision: Decision) -> None:
        """Show what the policy thought; strategies it was not asked about lose their series.

        A guard that keeps the shares leaves all but `allocator_weights_frozen` as it was.
        """
        self._frozen.set(decision.frozen)
        if decision.frozen:  # nothing was found out, so what is shown still stands
            return
        self._relaxed.set(decision.relaxed)
        self._all_negative.set(decision.all_negative)
        scored = {view.name: view for view in decision.views if view.score_ema == view.score_ema}
        for name in self._shown - scored.keys():
            for gauge in self._by_strategy.values():
                gauge.remove(name)
        for name, view in scored.items():
            self._by_strategy["allocator_raw_share_ratio"].labels(name).set(view.raw_share)
            self._by_strategy["allocator_score"].labels(name).set(view.score)
            self._by_strategy["allocator_score_ema"].labels(name).set(view.score_ema)
            self._by_strategy["allocator_bonus"].labels(name).set(view.bonus)
        self._shown = set(scored)

    def failed(self) -> None:
        """The run could not read: whatever is in force stays."""
        self._frozen.set(1)

    def ran(self, result: str, *, seconds: float, ended_at: float, turnover: float) -> None:
        """Count one run.

        Args:
            result: One of RESULTS.
            seconds: How long it took.
            ended_at: Epoch seconds.
            turnover: Half the L1 change it published.
        """
        self._runs.labels(result).inc()
        self._run_duration.observe(seconds)
        self._last_run.set(ended_at)
        self._turnover_last.set(turnover)
        self._turnover.observe(turnover)
        if result == "success":
            self._last_success.set(ended_at)
