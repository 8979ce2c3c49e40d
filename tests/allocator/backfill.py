"""A recorded past in a real server: written once, read by many tests.

Prometheus gets it as blocks from `promtool tsdb create-blocks-from openmetrics`, VictoriaMetrics through its
import route.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import requests

from allocator.history import Series
from scripts.native import Child, find_program, free_port, prometheus

Recorded = dict[str, list[Series]]
"""Metric name to its series."""

NO_TARGETS = "global: {scrape_interval: 1h}\n"


def backfilled_prometheus(recorded: Recorded, directory: Path, args: Sequence[str] = ()) -> tuple[Child, str]:
    """A Prometheus that remembers `recorded`, not yet started, and its address."""
    text = directory / "history.om"
    text.write_text(openmetrics(recorded))
    data = directory / "data"
    subprocess.run(
        [find_program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(data)],
        check=True,
        capture_output=True,
    )
    config = directory / "prometheus.yml"
    config.write_text(NO_TARGETS)
    port = free_port()
    keep = ["--storage.tsdb.retention.time=10y", *args]
    return prometheus(config, data, port, directory / "prometheus.log", keep), f"http://127.0.0.1:{port}"


def backfilled_victoria(recorded: Recorded, directory: Path) -> tuple[Child, str]:
    """A running VictoriaMetrics that remembers `recorded`, and its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [
        find_program("victoria-metrics"),
        f"-storageDataPath={directory / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=10y",
        "-search.latencyOffset=1s",
    ]
    child = Child("victoria-metrics", argv, directory / "victoria.log", f"{url}/health").start()
    lines = [
        f"{name}{braces(one)} {value!r} {round(at * 1000)}"
        for name, found in recorded.items()
        for one in found
        for at, value in zip(one.times.tolist(), one.values.tolist(), strict=True)
    ]
    answer = requests.post(f"{url}/api/v1/import/prometheus", data="\n".join(lines), timeout=30)
    answer.raise_for_status()
    requests.get(f"{url}/internal/force_flush", timeout=30).raise_for_status()
    return child, url


def openmetrics(recorded: Recorded) -> str:
    """The past as OpenMetrics text."""
    lines = []
    for name, found in recorded.items():
        lines.append(f"# TYPE {name} gauge")
        for one in found:
            lines += [
                f"{name}{braces(one)} {value!r} {at:.3f}"
                for at, value in zip(one.times.tolist(), one.values.tolist(), strict=True)
            ]
    return "\n".join([*lines, "# EOF", ""]).replace(" nan ", " NaN ")


def braces(one: Series) -> str:
    """Labels as they stand in an exposition."""
    return "{" + ",".join(f'{key}="{value}"' for key, value in one.labels.items()) + "}"
