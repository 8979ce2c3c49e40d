"""The whole stack on loopback ports for the tests: what `make demo` starts, without its console."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import native
from scripts.render import Ports, render_stack
from tests.grafana.asking import ask, has_numbers

ENGINE = "examples.replay_engine"
WARM_UP_SECONDS = 90.0
MANUAL = 'max(trading_breaker_open{breaker="manual"})'


@dataclass(frozen=True)
class Stack:
    """Addresses of a running stack."""

    exporter: str
    prometheus: str
    now: float
    """When it was warm; every query is asked for this time, so the tests see one state."""


def operate(deck: str, breaker: str, *, tripped: bool) -> None:
    """Trip or release a breaker as an operator does."""
    body = json.dumps({"tripped": tripped, "reason": "a test of the dashboards"}).encode()
    request = urllib.request.Request(
        f"{deck}/breakers/{breaker}", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def _wait_until_warm(prometheus: str, signs: list[str]) -> None:
    """Wait until each query of `signs` gives a number."""
    deadline = time.monotonic() + WARM_UP_SECONDS
    missing = list(signs)
    while missing:
        now = time.time()
        missing = [
            sign
            for sign in missing
            if not has_numbers(ask(prometheus, sign, {}, instant=True, end=now).series)
        ]
        if missing and time.monotonic() > deadline:
            raise native.NativeError(f"no data after {WARM_UP_SECONDS:g} s for: {'; '.join(missing)}")
        if missing:
            time.sleep(0.5)


@contextmanager
def running(folder: Path, signs: list[str]) -> Iterator[Stack]:
    """Start exporter, Prometheus, Alertmanager, allocator and replay engine; warm them up; end them.

    Args:
        folder: For data, logs and configuration.
        signs: Queries that must give a number before the stack is handed over.
    """
    ports = Ports(*(native.free_port() for _ in range(5)))
    rendered = render_stack(folder / "config", ports, interval_seconds=1.0)
    deck, prometheus = (f"http://127.0.0.1:{port}" for port in (ports.exporter, ports.prometheus))
    engine_env = {"DECK_URL": deck, "DECK_SPOOL_DIR": str(folder / "spool")}
    children = [
        native.exporter(ports.exporter, f"sqlite:///{folder}/deck.db", folder / "exporter.log"),
        native.alertmanager(
            rendered.alertmanager, folder / "alertmanager", ports.alertmanager, folder / "alertmanager.log"
        ),
        native.prometheus(rendered.prometheus, folder / "tsdb", ports.prometheus, folder / "prometheus.log"),
        native.allocator(
            ports.allocator,
            deck,
            prometheus,
            folder / "allocator.log",
            {"REFRESH_SEC": "1", "MIN_READINGS": "5"},
        ),
        native.python_module(ENGINE, "engine", folder / "engine.log", engine_env),
    ]
    with ExitStack() as open_children:
        for child in children:
            open_children.enter_context(child.start())
        _wait_until_warm(prometheus, signs)
        # The breaker nobody else touches opens and closes once, so that there is something to show.
        operate(deck, "manual", tripped=True)
        _wait_until_warm(prometheus, [f"{MANUAL} == 1"])
        operate(deck, "manual", tripped=False)
        _wait_until_warm(prometheus, [f"{MANUAL} == 0"])
        yield Stack(deck, prometheus, time.time())
