"""What the containers read: service names for hosts, mounted tokens, no path of this machine."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.compose_files import render_for_compose
from scripts.native import NativeError, find_program
from scripts.receivers import ReceiverError
from scripts.up import let_containers_read


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def hook(out: Path) -> Any:
    receivers = load(out / "alertmanager" / "alertmanager.yml")["receivers"]
    return next(one for one in receivers if one["name"] == "exporter")["webhook_configs"][0]


def test_hosts_are_service_names(tmp_path: Path) -> None:
    """Prometheus scrapes, and Alertmanager tells, services by the names they have in the network."""
    render_for_compose({}, tmp_path)
    targets = {path.stem: load(path)[0]["targets"] for path in (tmp_path / "prometheus/targets").iterdir()}
    assert targets == {
        "exporter": ["exporter:8002"],
        "allocator": ["allocator:8003"],
        "prometheus": ["prometheus:9090"],
        "alertmanager": ["alertmanager:9093"],
    }
    assert hook(tmp_path)["url"] == "http://exporter:8002/alerts"


def test_the_exporter_is_told_with_the_mounted_token(tmp_path: Path) -> None:
    """Alertmanager's token is named by the path it has in the container, and stands in no rendered file."""
    render_for_compose({"DECK_TOKEN": "text-of-the-shell"}, tmp_path)
    assert hook(tmp_path)["http_config"] == {
        "authorization": {"credentials_file": "/run/secrets/deck_token_alerts"}
    }
    assert "text-of-the-shell" not in "".join(p.read_text() for p in tmp_path.rglob("*.yml"))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({}, None), ({"DECK_READ_AUTH": "1"}, {"credentials_file": "/run/secrets/deck_token_metrics"})],
    ids=["open", "read-auth"],
)
def test_prometheus_shows_a_token_where_reading_needs_one(
    tmp_path: Path, settings: dict[str, str], wanted: Any
) -> None:
    """With DECK_READ_AUTH the exporter's scrape, and no other, carries the mounted token."""
    render_for_compose(settings, tmp_path)
    jobs = {job["job_name"]: job for job in load(tmp_path / "prometheus/prometheus.yml")["scrape_configs"]}
    assert jobs["exporter"].get("authorization") == wanted
    assert [name for name, job in jobs.items() if name != "exporter" and "authorization" in job] == []


def test_a_secret_named_by_its_path_is_written_in(tmp_path: Path) -> None:
    """A receiver's secret file of the host becomes text, since its path means nothing in a container."""
    secret = tmp_path / "hook"
    secret.write_text("https://chat.example/T0/B0\n")
    out = tmp_path / "out"
    render_for_compose({"ALERT_SLACK_WEBHOOK_URL_FILE": str(secret)}, out)
    text = (out / "alertmanager" / "alertmanager.yml").read_text()
    assert "https://chat.example/T0/B0" in text
    assert str(secret) not in text


def test_a_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing secret file stops the start with the setting's name and the path."""
    with pytest.raises(ReceiverError, match=r"ALERT_SLACK_WEBHOOK_URL_FILE=.*/none: cannot read"):
        render_for_compose({"ALERT_SLACK_WEBHOOK_URL_FILE": str(tmp_path / "none")}, tmp_path / "out")


def test_certificates_of_the_host_are_not_named(tmp_path: Path) -> None:
    """TLS settings of the native stack leave the inner network as it is."""
    render_for_compose({"DECK_TLS_CERT": "/etc/host.pem", "DECK_TLS_KEY": "/etc/host.key"}, tmp_path)
    assert "host.pem" not in "".join(p.read_text() for p in tmp_path.rglob("*.yml"))


def test_samples_go_elsewhere_too_where_that_is_set(tmp_path: Path) -> None:
    """PROMETHEUS_REMOTE_WRITE_URL becomes Prometheus's remote_write; without it there is none."""
    config = tmp_path / "prometheus" / "prometheus.yml"
    render_for_compose({}, tmp_path)
    assert "remote_write" not in load(config)
    render_for_compose({"PROMETHEUS_REMOTE_WRITE_URL": "http://victoria:8428/api/v1/write"}, tmp_path)
    assert load(config)["remote_write"] == [{"url": "http://victoria:8428/api/v1/write"}]


SCALED = {"COMPOSE_FILE": "docker-compose.yml:docker-compose.scale.yml"}


def test_replicas_are_scraped_without_writing_anything_twice(tmp_path: Path) -> None:
    """Pushed series come through the proxy alone; what a replica counts of itself, from each by name."""
    render_for_compose(SCALED | {"DECK_READ_AUTH": "1"}, tmp_path)
    jobs = {job["job_name"]: job for job in load(tmp_path / "prometheus/prometheus.yml")["scrape_configs"]}
    shared, own = jobs["exporter"], jobs["exporter_replica"]
    assert own["static_configs"] == [{"targets": ["exporter_a:8002", "exporter_b:8002"]}]
    rules = [shared["metric_relabel_configs"][0], own["metric_relabel_configs"][0]]
    assert [rule["action"] for rule in rules] == ["drop", "keep"]
    assert rules[0]["regex"] == rules[1]["regex"]
    for name in ("exporter_pushes_total", "process_cpu_seconds_total", "pushgateway_http_requests_total"):
        assert re.fullmatch(rules[0]["regex"], name)
    for name in ("trading_equity_usd", "push_time_seconds", "allocator_risk_share_ratio"):
        assert not re.fullmatch(rules[0]["regex"], name)
    assert own["authorization"] == shared["authorization"]


def test_the_scaled_stack_writes_to_its_long_term_store(tmp_path: Path) -> None:
    """With the scale file every sample goes to the cluster, or to the address that `.env` gives instead."""
    config = tmp_path / "prometheus" / "prometheus.yml"
    render_for_compose(SCALED, tmp_path)
    assert load(config)["remote_write"] == [{"url": "http://vminsert:8480/insert/0/prometheus/api/v1/write"}]
    render_for_compose(SCALED | {"PROMETHEUS_REMOTE_WRITE_URL": "http://mimir:9009/api/v1/push"}, tmp_path)
    assert load(config)["remote_write"] == [{"url": "http://mimir:9009/api/v1/push"}]


def test_a_second_rendering_says_whether_anything_changed(tmp_path: Path) -> None:
    """Services are restarted for a change of what they read, and for nothing else."""
    assert render_for_compose({}, tmp_path)[1]
    assert not render_for_compose({}, tmp_path)[1]
    assert render_for_compose({"ALERT_WEBHOOK_URL": "http://pager.example/"}, tmp_path)[1]


def test_only_the_owner_enters_and_containers_read(tmp_path: Path) -> None:
    """The outer directory is closed; what is mounted from inside it can be read by any user."""
    out = tmp_path / "out"
    render_for_compose({"ALERT_WEBHOOK_URL": "http://pager.example/"}, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*")}
    assert {name: mode for name, mode in modes.items() if mode not in {0o755, 0o444}} == {}


@pytest.mark.parametrize(
    ("role", "arguments"),
    [
        ("promtool", ["check", "config", "--syntax-only", "prometheus/prometheus.yml"]),
        ("amtool", ["check-config", "alertmanager/alertmanager.yml"]),
    ],
)
def test_their_own_checkers_accept_it(tmp_path: Path, role: str, arguments: list[str]) -> None:
    """Their own checkers find nothing wrong with what is rendered."""
    try:
        program = find_program(role)
    except NativeError as error:
        pytest.skip(str(error))
    some = {"DECK_READ_AUTH": "1", "ALERT_WEBHOOK_URL": "http://pager.example/"}
    render_for_compose(SCALED | some, tmp_path)
    done = subprocess.run(
        [program, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_checkout_that_is_closed_to_others_can_be_read_in_containers(tmp_path: Path) -> None:
    """After a clone under umask 077 what is mounted or copied is readable to any user, and nothing else."""
    for name in ("grafana/json/deck.json", "grafana/build.py", "deploy/entry.sh"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(0o700 if path.suffix == ".sh" else 0o600)
        path.parent.chmod(0o700)
    let_containers_read(tmp_path, ("grafana/json", "deploy"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "grafana": 0o700,
        "json": 0o755,
        "deck.json": 0o644,
        "build.py": 0o600,
        "deploy": 0o755,
        "entry.sh": 0o755,
    }
