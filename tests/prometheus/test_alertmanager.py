from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from scripts import native
from scripts.render import SOURCE, Ports, render_stack
from tests.prometheus.rulebook import ALERTS, load

CONFIG = SOURCE / "alertmanager.yml"
ENGINE = {"component": "engine", "job": "trading_engine", "instance": "default"}
OTHER = {**ENGINE, "instance": "second"}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
EXPORTER = {"component": "exporter", "job": "exporter", "instance": "127.0.0.1:8002"}
ALLOCATOR = {"component": "allocator", "job": "allocator", "instance": "127.0.0.1:8003"}


def amtool(*argv: str) -> str:
    done = subprocess.run([native.find_program("amtool"), *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def receivers_of(**labels: str) -> list[str]:
    argv = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={CONFIG}", *argv).split(",")


def test_the_committed_configuration_is_valid() -> None:
    """Alertmanager starts with no receiver set."""
    assert "SUCCESS" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("critical", "pager"), ("warning", "chat"), ("info", "log"), ("none", "log")],
)
def test_a_severity_has_its_receiver(severity: str, receiver: str) -> None:
    """Critical pages, warning goes to the chat, the rest to the log, and all to the exporter."""
    assert receivers_of(alertname="Anything", severity=severity) == ["exporter", receiver]


def test_what_has_no_severity_goes_to_the_chat() -> None:
    """An alert of the user's own rules without a severity is not lost."""
    assert receivers_of(alertname="Anything") == ["exporter", "chat"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_goes_where_its_severity_says(rule: Mapping[str, Any]) -> None:
    """No route catches an alert by accident."""
    expected = {"critical": "pager", "warning": "chat", "info": "log", "none": "deadman"}
    found = receivers_of(alertname=rule["alert"], **rule["labels"])
    assert found == ["exporter", expected[rule["labels"]["severity"]]]


def routes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load(CONFIG)["route"]["routes"]
    return found


def test_a_halt_is_paged_without_waiting_and_again_each_half_hour() -> None:
    """An open breaker and a halt wait for no company."""
    (route,) = [one for one in routes() if any("TradingBreakerOpen" in m for m in one.get("matchers", []))]
    assert (route["receiver"], route["group_wait"], route["repeat_interval"]) == ("pager", "0s", "30m")
    assert "RiskrailsHalt" in route["matchers"][0]


def test_the_switch_is_fed_each_minute() -> None:
    """The dead man's switch hears of the watchdog every minute."""
    (route,) = [one for one in routes() if one["receiver"] == "deadman"]
    assert (route["matchers"], route["repeat_interval"]) == (['alertname="Watchdog"'], "1m")


def test_the_exporter_hears_every_alert_alone_and_at_once() -> None:
    """A second breaker does not wait for the group of the first."""
    first = routes()[0]
    assert (first["receiver"], first["continue"], first["group_by"]) == ("exporter", True, ["..."])
    assert first["group_wait"] == "0s"
    assert "matchers" not in first


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    out = tmp_path_factory.mktemp("alertmanager")
    port = native.free_port()
    # Nobody listens where the exporter would: what is tested is who is muted.
    done = render_stack(out, Ports(exporter=native.free_port(), alertmanager=port), interval_seconds=None)
    with native.alertmanager(done.alertmanager, out / "data", port, out / "alertmanager.log"):
        yield f"http://127.0.0.1:{port}/api/v2/alerts"


def call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def muted(url: str, case: str, *alerts: Mapping[str, str]) -> list[bool]:
    """Whether each of the alerts, firing together, is muted; the first is the one that should mute."""
    # A label of its own keeps the cases of this module apart in one server: `equal` does not look at it.
    named = [{**alert, "case": case} for alert in alerts]
    ends = time.time() + 3600
    call(
        url,
        [
            {"labels": labels, "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))}
            for labels in named
        ],
    )
    deadline = time.monotonic() + 10
    states: list[bool] = []
    # The inhibitor learns of the sources a moment after the answer; a state that holds twice is the state.
    while time.monotonic() < deadline:
        found = {
            json.dumps(a["labels"], sort_keys=True): a for a in call(f"{url}?filter=case%3D%22{case}%22")
        }
        new = [bool(found[json.dumps(one, sort_keys=True)]["status"]["inhibitedBy"]) for one in named]
        if new == states and (any(new) or time.monotonic() > deadline - 9):
            break
        states = new
        time.sleep(0.1)
    # Gone again, or this case's sources would mute in the next.
    call(
        url,
        [
            {"labels": labels, "endsAt": "2020-01-01T00:00:00Z", "startsAt": "2019-01-01T00:00:00Z"}
            for labels in named
        ],
    )
    return states


CASES: dict[str, tuple[list[dict[str, str]], list[bool]]] = {
    "critical mutes its milder form": (
        [
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingDrawdown", **ENGINE, **WARNING},
            {"alertname": "TradingDrawdown", **ENGINE, "severity": "info"},
            {"alertname": "TradingDailyLoss", **ENGINE, **WARNING},
        ],
        [False, True, True, False],
    ),
    "critical of another engine, strategy, breaker or cap mutes nothing": (
        [
            {"alertname": "A", **ENGINE, **CRITICAL, "strategy": "x", "breaker": "equity", "cap": "risk"},
            {"alertname": "A", **OTHER, **WARNING, "strategy": "x", "breaker": "equity", "cap": "risk"},
            {"alertname": "A", **ENGINE, **WARNING, "strategy": "y", "breaker": "equity", "cap": "risk"},
            {"alertname": "A", **ENGINE, **WARNING, "strategy": "x", "breaker": "venue", "cap": "risk"},
            {"alertname": "A", **ENGINE, **WARNING, "strategy": "x", "breaker": "equity", "cap": "gross"},
            {"alertname": "A", **ENGINE, **WARNING, "strategy": "x", "breaker": "equity", "cap": "risk"},
        ],
        [False, False, False, False, False, True],
    ),
    "without the exporter the engine and the exporter's own are silent": (
        [
            {"alertname": "ExporterDown", **EXPORTER, **CRITICAL},
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingEngineAbsent", "component": "engine", "job": "trading_engine", **CRITICAL},
            {"alertname": "TradingBreakerOpen", **ENGINE, **CRITICAL, "breaker": "equity"},
            {"alertname": "ExporterRejectingPushes", "component": "exporter", "job": "exporter", **CRITICAL},
            {"alertname": "TargetDown", **EXPORTER, **WARNING, "component": "prometheus"},
            {"alertname": "TargetDown", **ALLOCATOR, **WARNING, "component": "prometheus"},
            {"alertname": "AllocatorStale", **ALLOCATOR, **CRITICAL},
            {"alertname": "RiskrailsHalt", "component": "riskrails", "job": "riskrails", **CRITICAL},
            {"alertname": "Watchdog", "component": "prometheus", "severity": "none"},
        ],
        [False, True, True, True, True, True, False, False, False, False],
    ),
    "an engine that is absent explains the rest but no open breaker": (
        [
            {"alertname": "TradingEngineAbsent", "component": "engine", "job": "trading_engine", **CRITICAL},
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingStrategySilent", "component": "engine", "job": "trading_engine", **WARNING},
            {"alertname": "TradingEnginePushStale", **ENGINE, **CRITICAL},
            {"alertname": "TradingBreakerOpen", **ENGINE, **CRITICAL, "breaker": "equity"},
            {"alertname": "ExporterRejectingPushes", "component": "exporter", "job": "exporter", **CRITICAL},
        ],
        [False, True, True, False, False, False],
    ),
    "a stale engine mutes its own alerts and those that name none, not its neighbour's": (
        [
            {"alertname": "TradingEnginePushStale", **ENGINE, **CRITICAL},
            {"alertname": "TradingEnginePushStale", **ENGINE, **WARNING},
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingDrawdown", **OTHER, **CRITICAL},
            {"alertname": "TradingStrategySilent", "component": "engine", "job": "trading_engine", **WARNING},
            {"alertname": "TradingBreakerOpen", **ENGINE, **CRITICAL, "breaker": "equity"},
            {"alertname": "TradingEngineAbsent", "component": "engine", "job": "trading_engine", **CRITICAL},
        ],
        # The absent one mutes the neighbour's drawdown in this row, as it should: it is of the whole job.
        [False, True, True, True, True, False, False],
    ),
    "a stale engine alone leaves its neighbour": (
        [
            {"alertname": "TradingEnginePushStale", **ENGINE, **CRITICAL},
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingDrawdown", **OTHER, **CRITICAL},
        ],
        [False, True, False],
    ),
    "an engine that is only late mutes nothing": (
        [
            {"alertname": "TradingEnginePushStale", **ENGINE, **WARNING},
            {"alertname": "TradingDrawdown", **ENGINE, **CRITICAL},
            {"alertname": "TradingTickLatencyHigh", **ENGINE, **WARNING},
        ],
        [False, False, False],
    ),
    "without the allocator its alerts are silent and a halt is heard": (
        [
            {"alertname": "AllocatorDown", **ALLOCATOR, **CRITICAL},
            {"alertname": "AllocatorStale", **ALLOCATOR, **CRITICAL},
            {
                "alertname": "AllocatorSharesNotNormalised",
                "component": "allocator",
                "job": "exporter",
                **CRITICAL,
            },
            {"alertname": "TargetDown", **ALLOCATOR, **WARNING, "component": "prometheus"},
            {"alertname": "RiskrailsHalt", "component": "riskrails", "job": "riskrails", **CRITICAL},
            {"alertname": "TradingDrawdown", **ENGINE, **WARNING},
        ],
        [False, True, True, True, False, False],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_mutes_whom(server: str, case: str) -> None:
    """A real Alertmanager mutes what another alert explains, and nothing else."""
    alerts, expected = CASES[case]
    assert muted(server, f"c{list(CASES).index(case)}", *alerts) == expected
