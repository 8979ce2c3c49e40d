"""The service's own counters, and how they join the exposition."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary
from prometheus_client.metrics_core import Metric as ClientMetric

from exporter.catalogue import CATALOGUE
from exporter.errors import REASONS
from exporter.exposition import OwnFamily
from exporter.families import escape_value

__all__ = ["Telemetry"]

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds; 0.25 is a bound because an alert stands there."""


class Telemetry:
    """Counters of this process; all label values of a fixed set are there from the start."""

    def __init__(self, version: str, revision: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.pushes = self._counter("exporter_pushes_total")
        self.rejections = self._counter("exporter_push_rejections_total")
        self.samples = self._counter("exporter_pushed_samples_total")
        self.commit_failures = self._counter("exporter_store_commit_failures_total")
        self.read_failures = self._counter("exporter_store_read_failures_total")
        self.expired = self._counter("exporter_expired_groups_total")
        self.push_seconds = self._histogram("exporter_push_duration_seconds")
        self.commit_seconds = self._histogram("exporter_store_commit_duration_seconds")
        self.render_seconds = self._histogram("exporter_render_duration_seconds")
        self.queue_length = self._gauge("exporter_queue_length")
        self.queue_capacity = self._gauge("exporter_queue_capacity")
        self.groups = self._gauge("exporter_groups")
        self.series = self._gauge("exporter_series")
        self.series_limit = self._gauge("exporter_series_limit")
        self._gauge("exporter_build_info").labels(version=version, revision=revision).set(1)
        self._gauge("pushgateway_build_info").labels(version=version, revision=revision).set(1)
        self.requests = self._counter("pushgateway_http_requests_total")
        self.http_seconds = self._summary("pushgateway_http_push_duration_seconds")
        self.http_bytes = self._summary("pushgateway_http_push_size_bytes")
        self._by_answer: dict[tuple[str, int, str], Counter] = {}
        self.by_method = {
            method: (
                self.http_seconds.labels(method=method.lower()),
                self.http_bytes.labels(method=method.lower()),
            )
            for method in ("PUT", "POST")
        }
        self.outcomes = {
            (api, outcome): self.pushes.labels(api=api, outcome=outcome)
            for api in ("gateway", "deck")
            for outcome in ("accepted", "rejected", "error")
        }
        for reason in REASONS:
            self.rejections.labels(reason=reason)

    def _counter(self, name: str) -> Counter:
        return Counter(name, CATALOGUE[name].help, CATALOGUE[name].labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, CATALOGUE[name].help, CATALOGUE[name].labels, registry=self.registry)

    def _summary(self, name: str) -> Summary:
        return Summary(name, CATALOGUE[name].help, CATALOGUE[name].labels, registry=self.registry)

    def answered(self, handler: str, status: int, method: str) -> None:
        """Count an answer as a Pushgateway does."""
        key = (handler, status, method)
        counter = self._by_answer.get(key)
        if counter is None:
            counter = self.requests.labels(handler=handler, code=str(status), method=method.lower())
            self._by_answer[key] = counter
        counter.inc()

    def _histogram(self, name: str) -> Histogram:
        return Histogram(
            name, CATALOGUE[name].help, CATALOGUE[name].labels, registry=self.registry, buckets=_FAST
        )

    def families(self) -> list[OwnFamily]:
        """Our own families for a scrape."""
        return [_own(metric) for metric in self.registry.collect()]

    def kinds(self) -> dict[str, str]:
        """Name to type of our own families; a push may not contradict it."""
        return {name: kind for name, kind, _, _ in self.families()}


def _own(metric: ClientMetric) -> OwnFamily:
    name = metric.name + ("_total" if metric.type == "counter" else "")
    return name, metric.type, metric.documentation, "".join(_lines(metric)).encode()


def _lines(metric: ClientMetric) -> Iterable[str]:
    for sample in metric.samples:
        if sample.name.endswith("_created"):
            continue  # OpenMetrics' creation stamps would be gauges of their own in text 0.0.4
        labels = ",".join(f'{k}="{escape_value(v)}"' for k, v in sample.labels.items())
        value = sample.value
        number = str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
        yield f"{sample.name}{{{labels}}} {number}\n" if labels else f"{sample.name} {number}\n"
