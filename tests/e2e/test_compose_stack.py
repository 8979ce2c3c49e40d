"""The compose file run for real, on the tests' own Docker engine and stand-ins for what cannot be pulled.

One stack is started for the module, as `make up` does it; the tests look at it, then hurt it.  They run in
the order they stand in: the last one takes the stack down and up again.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.compose import Stack, find_compose
from scripts.native import ROOT, free_port
from tests.e2e.engine import Engine, EngineError, running_engine
from tests.e2e.running import PORTS, SERVICES, Running, assert_kept, remember, until
from tests.e2e.standins import all_images, defaults

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PROVISIONED = "/tmp/provisioned"  # noqa: S108 - in the container, written by the stand-in


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        with running_engine() as engine:
            yield engine
    except EngineError as error:
        pytest.skip(f"no Docker engine can run here: {error}")


@pytest.fixture(scope="module")
def images(engine: Engine) -> Engine:
    """Stand-ins, and on them our own image from its own Dockerfile."""
    for image in all_images():
        engine.ensure(image)
    version = defaults()
    # The first is named so that pruning leaves its layers, and the next run finds the packages installed.
    for target, name in [("wheels", "deckrails-wheels"), ("deck", "deckrails"), ("demo", "deckrails-demo")]:
        engine(
            "build",
            # The package index is reached as from this machine.
            *("--network", "host", "--target", target, "--tag", f"{name}:{version['DECKRAILS_VERSION']}"),
            *("--build-arg", f"PYTHON_VERSION={version['DECKRAILS_PYTHON_VERSION']}"),
            str(ROOT),
            timeout=600.0,
        )
    engine("image", "prune", "-f")
    return engine


@pytest.fixture(scope="module")
def running(images: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The whole stack with the demo engine, as `make up` starts it, and gone without a trace after."""
    directory = tmp_path_factory.mktemp("stack")
    env = {
        **images.env,
        **{name: str(free_port()) for name in PORTS},
        "COMPOSE_PROJECT_NAME": "deckrails-test",
        "COMPOSE_FILE": str(ROOT / "docker-compose.yml"),
        "COMPOSE_PROFILES": "demo",
        "DECKRAILS_SECRETS_DIR": str(directory / "secrets"),
        "DECKRAILS_RENDERED_DIR": str(directory / "rendered"),
        "REFRESH_SEC": "5",
        "MIN_READINGS": "3",
        "STALE_AFTER_SEC": "60",
    }
    stack = Stack(find_compose(), env)
    stack.run("down", "--volumes", "--remove-orphans", capture=True)
    running = Running(images, stack, env, directory / "secrets", "")
    try:
        running.said = running.up()
        yield running
    finally:
        running.free_network()
        stack.run("down", "--volumes", "--remove-orphans", "--timeout", "5", capture=True)


def test_one_command_starts_everything_healthy(running: Running) -> None:
    """`make up` ends when every service runs and passes its check, and says where each is."""
    states = running.stack.states()
    assert {state.service for state in states} == set(SERVICES)
    assert all(state.health == "healthy" for state in states)
    for port in PORTS:
        assert f"http://127.0.0.1:{running.env[port]}" in running.said


def test_a_second_start_changes_no_secret_and_no_container(running: Running) -> None:
    """Starting what runs is harmless: same passwords, same containers."""
    secrets = {path.name: path.read_text() for path in running.secrets.iterdir()}
    before = {state.service: state.container for state in running.stack.states()}
    running.up()
    assert {path.name: path.read_text() for path in running.secrets.iterdir()} == secrets
    assert {state.service: state.container for state in running.stack.states()} == before


def test_prometheus_scrapes_every_target(running: Running) -> None:
    """All four jobs are up under their service names."""
    until(
        lambda: (
            {row["metric"]["job"]: row["value"][1] for row in running.query("up")}
            == dict.fromkeys(("exporter", "allocator", "prometheus", "alertmanager"), "1")
        ),
        "four targets up",
    )


def test_prometheus_knows_its_alertmanager(running: Running) -> None:
    """Alerts have somewhere to go."""
    found = until(
        lambda: running.get("prometheus", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"],
        "an Alertmanager",
    )
    assert [one["url"] for one in found] == ["http://alertmanager:9093/api/v2/alerts"]


def test_the_engine_pushes_and_trades(running: Running) -> None:
    """What the replay engine pushes is on the deck and in Prometheus."""
    until(lambda: running.query("sum(trading_trades_total) > 0"), "trades in Prometheus")
    status = running.get("hmm_ops", "/status")
    assert status["metrics"]["equity_usd"]["value"] > 0
    assert status["metrics"]["equity_usd"]["age_seconds"] < 60


def test_the_allocator_writes_shares(running: Running) -> None:
    """The allocator reads PnL from Prometheus and puts shares in force that sum to one."""
    weights = until(
        lambda: (found := running.get("hmm_ops", "/allocator/weights"))["version"] >= 2 and found,
        "a second version of the weights",
        120.0,
    )
    assert sum(weights["weights"].values()) == pytest.approx(1.0, abs=1e-6)


def test_no_process_is_root_or_can_become_it(running: Running) -> None:
    """Every process of every container has an ordinary user, no capability and no way to gain one."""
    for service in SERVICES:
        facts = running.inspect(service)
        assert facts["HostConfig"]["ReadonlyRootfs"] is True
        assert facts["HostConfig"]["CapDrop"] == ["ALL"]
        assert facts["HostConfig"]["Memory"] > 0
        assert facts["HostConfig"]["PidsLimit"] > 0
        listed = running.engine("top", facts["Id"], "-eo", "pid").split()[1:]
        assert listed
        for pid in listed:
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line
            )
            assert "0" not in status["Uid"].split(), (service, pid)
            assert int(status["CapEff"], 16) == 0, (service, pid)
            assert int(status["CapBnd"], 16) == 0, (service, pid)
            assert status["NoNewPrivs"].strip() == "1", (service, pid)


@pytest.mark.parametrize("service", SERVICES)
def test_no_root_file_system_can_be_written(running: Running, service: str) -> None:
    """A write outside the volume and /tmp fails, and what is in /tmp cannot be run."""
    shell = ("exec", running.container(service), "sh", "-c")
    for path in ("/x", "/etc/x", "/bin/x", "/app/x", "/usr/x"):
        said = running.engine(*shell, f"touch {path} 2>&1; true")
        assert "Read-only" in said or "No such file" in said, path
    said = running.engine(*shell, "printf '#!/bin/sh\\necho ran' >/tmp/x; chmod +x /tmp/x; /tmp/x 2>&1; true")
    assert "Permission denied" in said


def test_only_loopback_ports_are_open(running: Running) -> None:
    """What listens for the stack on this machine listens on 127.0.0.1."""
    published = {
        (binding["HostIp"], binding["HostPort"])
        for service in SERVICES
        for bindings in running.inspect(service)["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {("127.0.0.1", running.env[port]) for port in PORTS}
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and str(int(port, 16)) in {running.env[name] for name in PORTS}:
                listening.add(address)
    assert listening == {"0100007F"}


@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        (None, "/metrics/push", {"equity_usd": 1.0}),
        ("allocator", "/metrics/push", {"equity_usd": 1.0}),
        ("engine", "/allocator/weights", {"weights": {"a": 1.0}}),
        ("engine", "/breakers/manual", {"tripped": False, "reason": "a stolen token"}),
        ("alerts", "/trades", []),
        ("metrics", "/breakers/manual", {"tripped": True, "reason": "a stolen token"}),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, type(None))) else "",
)
def test_each_token_opens_its_own_door_only(
    running: Running, who: str | None, path: str, body: object
) -> None:
    """A token that `make up` issued for one part is refused where another part's work is done."""
    assert running.post("hmm_ops", path, body, who).status_code == (403 if who else 401)


def test_grafana_got_its_password_and_dashboards_to_read(running: Running) -> None:
    """Password, provisioning files and dashboards are where Grafana looks, and readable to it."""
    seen = running.engine("exec", running.container("grafana"), "cat", PROVISIONED).split()
    assert "/etc/grafana/provisioning/datasources/deckrails.yaml" in seen
    assert len([path for path in seen if path.startswith("/etc/grafana/dashboards/")]) == len(
        list((ROOT / "grafana" / "json").glob("*.json"))
    )


def test_an_alert_fires_all_the_way_round(running: Running) -> None:
    """An operator trips a breaker: Prometheus sees it, the alert fires, Alertmanager has it."""
    body = {"tripped": True, "reason": "a test of the wiring"}
    assert running.post("hmm_ops", "/breakers/manual", body, "operator").ok
    assert running.get("hmm_ops", "/status")["halted"] is True
    until(
        lambda: running.query('ALERTS{alertname="TradingBreakerOpen", alertstate="firing"}'),
        "the alert fires in Prometheus",
    )
    until(
        lambda: any(
            alert["labels"]["alertname"] == "TradingBreakerOpen"
            for alert in running.get("alertmanager", "/api/v2/alerts")
        ),
        "Alertmanager has the alert",
    )
    body = {"tripped": False, "reason": "the test is over"}
    assert running.post("hmm_ops", "/breakers/manual", body, "operator").ok
    assert running.get("hmm_ops", "/status")["halted"] is False


def test_alertmanager_reaches_the_exporter_with_its_token(running: Running) -> None:
    """The webhook is accepted: Alertmanager counts deliveries to the exporter and no failure."""

    def counts() -> dict[str, float]:
        text = requests.get(running.url("alertmanager", "/metrics"), timeout=10).text
        found = re.findall(
            r'^(alertmanager_notifications\w*_total)\{integration="webhook"\} (\S+)$', text, re.MULTILINE
        )
        return {name: float(value) for name, value in found}

    until(lambda: counts()["alertmanager_notifications_total"] > 0, "a delivery to the exporter")
    assert counts().get("alertmanager_notifications_failed_total", 0.0) == 0


def test_a_restart_loses_nothing(running: Running) -> None:
    """Trades, shares, breakers, samples and silences are there after every service was restarted."""
    memory = remember(running)
    running.stack.run("restart", capture=True)
    for service in SERVICES:
        until(lambda service=service: running.ready(service), f"{service} answers again")  # type: ignore[misc]
    assert_kept(running, memory)


@pytest.mark.parametrize("service", SERVICES)
def test_a_crash_of_a_service_mends_itself(running: Running, service: str) -> None:
    """Killed as when memory runs out, each service comes back by itself and nothing is lost."""
    memory = remember(running)
    before = running.inspect(service)
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    until(
        lambda: running.inspect(service)["State"]["StartedAt"] != before["State"]["StartedAt"],
        f"{service} is started again",
    )
    until(lambda: running.ready(service), f"{service} answers again")
    # Alertmanager writes silences down every 15 minutes and when it is asked to stop.
    assert_kept(running, memory, silence=service != "alertmanager")


@pytest.mark.parametrize("service", SERVICES)
def test_docker_kill_is_mended_by_make_up(running: Running, service: str) -> None:
    """Docker takes `docker kill` for a wish: it stays dead until the next start, which loses nothing."""
    memory = remember(running)
    running.engine("kill", running.container(service))
    running.stack.run("up", "-d", "--no-build", capture=True)
    until(lambda: running.ready(service), f"{service} answers again")
    assert_kept(running, memory, silence=service != "alertmanager")


def test_the_image_is_small_and_has_nothing_to_build_with(running: Running) -> None:
    """No compiler, no package manager of ours, no file of the checkout that is not the product."""
    script = "which gcc cc; ls -A /app; ls /opt/deckrails/lib/python*/site-packages; true"
    said = running.engine("exec", running.container("hmm_ops"), "sh", "-c", script).split()
    assert not [word for word in said if word in {"pip", "setuptools", "pytest", "matplotlib"}]
    assert {"allocator", "deckrails", "deploy", "exporter", "riskrails"} <= set(said)
    assert not {"tests", ".git", ".env", "secrets", "gcc"} & set(said)
    history = running.engine("history", "--no-trunc", "--format", "{{.CreatedBy}}", "deckrails:0.1.0")
    assert "token" not in history.lower()


def test_a_backup_is_restored_in_containers(running: Running) -> None:
    """As docs/deploy.md says: back up in use, restore in place of a store that stays whole."""
    memory = remember(running)
    run = running.stack.run
    run("exec", "-T", "hmm_ops", "python", "-m", "exporter", "backup", "data/backup.db", capture=True)
    run("stop", "hmm_ops", capture=True)
    once = ("run", "--rm", "-T", "--no-deps")
    assert "sound" in run(*once, "hmm_ops", "exporter", "check", capture=True)
    script = "mkdir data/old && mv data/deck.db* data/old/"
    run(*once, "--entrypoint", "sh", "hmm_ops", "-c", script, capture=True)
    run(*once, "hmm_ops", "exporter", "restore", "data/backup.db", capture=True)
    old = ("-e", "DECK_STORE_URL=sqlite:///data/old/deck.db")
    assert "sound" in run(*once, *old, "hmm_ops", "exporter", "check", capture=True)
    run("start", "hmm_ops", capture=True)
    until(lambda: running.ready("hmm_ops"), "the exporter answers again")
    assert_kept(running, memory)


def test_data_outlive_down_and_up(running: Running) -> None:
    """`make down` removes every container, `make up` finds everything where it was."""
    memory = remember(running)
    running.down()
    assert running.stack.states() == []
    running.up()
    assert_kept(running, memory)
    starts = running.engine("exec", running.container("grafana"), "cat", "/var/lib/grafana/starts")
    assert len(starts.splitlines()) >= 2
