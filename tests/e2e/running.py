"""A compose stack that runs: how the tests speak to it, and what it must not forget."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from scripts.compose import Stack
from scripts.native import ROOT
from tests.e2e.engine import Engine

SERVICES = ("alertmanager", "allocator", "engine", "grafana", "hmm_ops", "prometheus")
PORTS = {
    "DECK_PORT": "hmm_ops",
    "ALLOCATOR_PORT": "allocator",
    "PROMETHEUS_PORT": "prometheus",
    "ALERTMANAGER_PORT": "alertmanager",
    "GRAFANA_PORT": "grafana",
}
READY = {
    "hmm_ops": "/-/ready",
    "allocator": "/-/healthy",
    "prometheus": "/-/ready",
    "alertmanager": "/-/ready",
    "grafana": "/api/health",
}


@dataclass
class Running:
    """The stack that runs, and how to speak to it."""

    engine: Engine
    stack: Stack
    env: dict[str, str]
    secrets: Path
    said: str

    def url(self, service: str, path: str) -> str:
        port = next(name for name, owner in PORTS.items() if owner == service)
        return f"http://127.0.0.1:{self.env[port]}{path}"

    def get(self, service: str, path: str, **params: str) -> Any:
        answer = requests.get(self.url(service, path), params=params, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, service: str, path: str, body: object, token: str | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token(token)}"} if token else {}
        return requests.post(self.url(service, path), json=body, headers=headers, timeout=10)

    def token(self, who: str) -> str:
        return (self.secrets / f"deck_token_{who}").read_text().strip()

    def query(self, expression: str, **params: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("prometheus", "/api/v1/query", query=expression, **params)[
            "data"
        ]["result"]
        return found

    def container(self, service: str) -> str:
        labels = {"project": self.env["COMPOSE_PROJECT_NAME"], "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return self.engine("ps", "-a", "-q", "--no-trunc", *filters).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        return self.engine.inspect(self.container(service))

    def ready(self, service: str) -> bool:
        if service not in READY:
            return bool(self.inspect(service)["State"]["Running"])
        try:
            return requests.get(self.url(service, READY[service]), timeout=2).ok
        except requests.RequestException:
            return False

    def up(self) -> str:
        return self._make("--no-build")

    def down(self) -> str:
        self.free_network()
        return self._make("down")

    def free_network(self) -> None:
        """Let go of endpoints without a container.

        Docker 20.10 leaves one now and then when a container is killed while it starts, and then cannot
        remove the network.
        """
        name = f"{self.env['COMPOSE_PROJECT_NAME']}_default"
        if name not in self.engine("network", "ls", "--format", "{{.Name}}").split():
            return
        alive = set(self.engine("ps", "-q", "--no-trunc").split())
        for container, endpoint in self.engine.inspect(name).get("Containers", {}).items():
            if container not in alive:
                self.engine("network", "disconnect", "-f", name, endpoint["Name"])

    def _make(self, argument: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.up", argument],
            cwd=ROOT,
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def until(holds: Callable[[], object], what: str, seconds: float = 90.0) -> Any:
    """Wait until it holds; what it then is. A connection that is refused meanwhile is not an answer."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = holds()
        except requests.RequestException as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.25)
    raise AssertionError(f"not in {seconds:g} s: {what}; last: {last!r}")


@dataclass
class Memory:
    """What must still be known after something was hurt."""

    trades: int
    version: int
    trips: int
    sample_at: str
    silence: str


def remember(running: Running) -> Memory:
    silence = {
        "matchers": [{"name": "alertname", "value": uuid.uuid4().hex, "isRegex": False, "isEqual": True}],
        "startsAt": "2000-01-01T00:00:00Z",
        "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "test",
        "comment": "kept?",
    }
    at = until(lambda: running.query("max(trading_equity_usd)"), "equity in Prometheus")[0]["value"][0]
    return Memory(
        trades=trades(running),
        version=running.get("hmm_ops", "/allocator/weights")["version"],
        trips=running.get("hmm_ops", "/status")["breakers"]["manual"]["trips"],
        sample_at=str(at),
        silence=running.post("alertmanager", "/api/v2/silences", silence).json()["silenceID"],
    )


def trades(running: Running) -> int:
    text = requests.get(running.url("hmm_ops", "/metrics"), timeout=10).text
    return sum(
        int(float(line.split()[-1])) for line in text.splitlines() if line.startswith("trading_trades_total{")
    )


def assert_kept(running: Running, memory: Memory, *, silence: bool = True) -> None:
    """Nothing that was acknowledged before is gone."""
    assert trades(running) >= memory.trades
    assert running.get("hmm_ops", "/allocator/weights")["version"] >= memory.version
    assert running.get("hmm_ops", "/status")["breakers"]["manual"]["trips"] >= memory.trips
    held = running.query("max_over_time(max(trading_equity_usd)[2m:1s])", time=memory.sample_at)
    assert held, f"no equity in the two minutes before {memory.sample_at}"
    if silence:
        assert running.get("alertmanager", f"/api/v2/silence/{memory.silence}")["status"]["state"] == "active"
