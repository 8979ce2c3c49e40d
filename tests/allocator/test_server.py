"""The daemon's own port."""

from __future__ import annotations

import pytest
import requests

from allocator.server import HealthServer
from allocator.telemetry import Telemetry


@pytest.fixture
def state():
    return {"healthy": (True, "healthy"), "ready": (False, "no run has ended yet")}


@pytest.fixture
def url(state):
    registry = Telemetry(600).registry
    with HealthServer("127.0.0.1", 0, registry, lambda: state["healthy"], lambda: state["ready"]) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_health_says_what_the_checks_say(url, state):
    """200 when good, 503 with words when not."""
    assert requests.get(url + "/-/healthy", timeout=5).status_code == 200
    answer = requests.get(url + "/-/ready", timeout=5)
    assert (answer.status_code, answer.text) == (503, "no run has ended yet\n")
    state["ready"] = (True, "ready")
    assert requests.get(url + "/-/ready", timeout=5).status_code == 200


def test_metrics_have_the_type_that_prometheus_wants(url):
    """Text 0.0.4 by default, OpenMetrics for who asks."""
    plain = requests.get(url + "/metrics", timeout=5)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "allocator_runs_total" in plain.text
    asked = requests.get(url + "/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=5)
    assert asked.text.endswith("# EOF\n")


def test_other_paths_are_not_found(url):
    """404 names what there is."""
    answer = requests.get(url + "/", timeout=5)
    assert answer.status_code == 404
    assert "/metrics" in answer.text


def test_head_has_no_body(url):
    """A probe by HEAD gets the head."""
    answer = requests.head(url + "/-/healthy", timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_port_in_use_is_an_os_error(url):
    """The caller says so in one line."""
    with pytest.raises(OSError, match="in use"):
        HealthServer(
            "127.0.0.1",
            int(url.rpartition(":")[2]),
            Telemetry(1).registry,
            lambda: (True, ""),
            lambda: (True, ""),
        )
