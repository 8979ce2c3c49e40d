from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import native
from scripts.receivers import ReceiverError
from scripts.render import SOURCE, Ports, duration, main, render_stack, scale_promql, seconds

PORTS = Ports().shifted(1000)
EVERYTHING = {
    "ALERT_SLACK_WEBHOOK_URL": "https://hooks.example.org/a",
    "ALERT_SLACK_CHANNEL": "#deck",
    "ALERT_TELEGRAM_TOKEN": "1:x",
    "ALERT_TELEGRAM_CHAT_ID": "-1001",
    "ALERT_DISCORD_WEBHOOK_URL": "https://discord.example.org/x",
    "ALERT_EMAIL_TO": "a@example.org",
    "ALERT_EMAIL_FROM": "b@example.org",
    "ALERT_SMTP_HOST": "mail.example.org:587",
    "ALERT_SMTP_USER": "u",
    "ALERT_SMTP_PASSWORD": "p",
    "ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook",
    "ALERT_WEBHOOK_TOKEN": "w",
    "ALERT_DEADMAN_URL": "https://hc.example.org/1",
    "DECK_TOKEN": "t",
    "DECK_READ_AUTH": "1",
}


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_ports_move_together() -> None:
    """An offset moves every port by the same amount."""
    assert Ports().shifted(10) == Ports(8012, 8013, 9100, 9103, 3010)


def test_the_copy_differs_in_intervals_and_addresses_alone(tmp_path: Path) -> None:
    """A demo runs the committed configuration: what fires there fires in production."""
    done = render_stack(tmp_path, PORTS, interval_seconds=1)
    ours, theirs = load(done.prometheus), load(SOURCE / "prometheus.yml")
    for config in (ours, theirs):
        config["global"] = set(config["global"])
        for job in config["scrape_configs"]:
            for name in ("scrape_interval", "scrape_timeout"):
                job.pop(name, None)
    assert ours == theirs
    for path in done.rules:
        rendered, committed = load(path), load(SOURCE / "rules" / path.name)
        assert {group["interval"] for group in rendered["groups"]} == {"1s"}
        for group in (*rendered["groups"], *committed["groups"]):
            group.pop("interval")
        assert rendered == committed


def test_no_interval_keeps_the_committed_ones(tmp_path: Path) -> None:
    """Production is the committed file word for word, but for comments."""
    done = render_stack(tmp_path, Ports(), interval_seconds=None)
    assert load(done.prometheus) == load(SOURCE / "prometheus.yml")
    assert load(done.alertmanager) == load(SOURCE / "alertmanager.yml")
    for path in (*done.rules, *done.targets):
        assert yaml.safe_load(path.read_text()) == yaml.safe_load(
            (SOURCE / path.relative_to(tmp_path)).read_text()
        )


def test_targets_and_webhook_follow_the_ports(tmp_path: Path) -> None:
    """Each role is scraped, and the exporter called back, where it listens."""
    done = render_stack(tmp_path, PORTS)
    addresses = {path.stem: yaml.safe_load(path.read_text())[0]["targets"][0] for path in done.targets}
    assert addresses == {
        "exporter": "127.0.0.1:9002",
        "allocator": "127.0.0.1:9003",
        "prometheus": "127.0.0.1:10090",
        "alertmanager": "127.0.0.1:10093",
    }
    hook = load(done.alertmanager)["receivers"][0]["webhook_configs"][0]
    assert hook["url"] == "http://127.0.0.1:9002/alerts"


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["nothing", "everything"])
def test_what_is_rendered_is_valid(tmp_path: Path, settings: dict[str, str]) -> None:
    """Both promtool and amtool accept the copy with no receiver and with all of them."""
    done = render_stack(tmp_path, PORTS, interval_seconds=0.5, time_scale=0.05, settings=settings)
    assert "1 templates" in run(native.find_program("amtool"), "check-config", str(done.alertmanager))
    run(native.find_program("promtool"), "check", "config", str(done.prometheus))


def test_nothing_set_says_so(tmp_path: Path) -> None:
    """A stack that pages nobody is valid and says that it pages nobody."""
    assert "nobody else" in render_stack(tmp_path / "a", PORTS).summary
    loud = render_stack(tmp_path / "b", PORTS, settings=EVERYTHING).summary
    assert "pager: slack, telegram, discord, email, webhook" in loud
    assert "deadman: webhook" in loud


def test_receivers_land_in_their_roles(tmp_path: Path) -> None:
    """The pager gets what ALERT_PAGER names, the chat the rest, the switch its own URL."""
    settings = {**EVERYTHING, "ALERT_PAGER": "telegram,email", "ALERT_CHAT": "slack"}
    done = render_stack(tmp_path, PORTS, settings=settings)
    by_name = {one["name"]: set(one) - {"name"} for one in load(done.alertmanager)["receivers"]}
    assert by_name == {
        "exporter": {"webhook_configs"},
        "pager": {"telegram_configs", "email_configs"},
        "chat": {"slack_configs"},
        "log": set(),
        "deadman": {"webhook_configs"},
    }


def test_a_file_with_secrets_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Secrets land in files of mode 0600, also where a readable one was before."""
    first = render_stack(tmp_path, PORTS)
    assert first.alertmanager.stat().st_mode & 0o777 == 0o644
    done = render_stack(tmp_path, PORTS, settings=EVERYTHING)
    assert done.alertmanager.stat().st_mode & 0o777 == 0o600
    assert done.prometheus.stat().st_mode & 0o777 == 0o600


def test_tokens_and_tls_reach_scrape_and_webhook(tmp_path: Path) -> None:
    """With a token and a certificate both ways to the exporter carry them."""
    settings = {
        "DECK_TOKEN": "t",
        "SCRAPE_TOKEN": "r",
        "DECK_READ_AUTH": "1",
        "DECK_TLS_CERT": "/tls/cert.pem",
    }
    done = render_stack(tmp_path, PORTS, settings=settings)
    job = load(done.prometheus)["scrape_configs"][0]
    assert job["scheme"] == "https"
    assert job["authorization"] == {"credentials": "r"}
    assert job["tls_config"] == {"ca_file": "/tls/cert.pem"}
    hook = load(done.alertmanager)["receivers"][0]["webhook_configs"][0]
    assert hook["url"].startswith("https://")
    assert hook["http_config"] == {
        "authorization": {"credentials": "t"},
        "tls_config": {"ca_file": "/tls/cert.pem"},
    }


def test_a_bad_setting_leaves_the_old_files_whole(tmp_path: Path) -> None:
    """Half a receiver is refused before anything is written."""
    before = render_stack(tmp_path, PORTS).alertmanager.read_text()
    with pytest.raises(ReceiverError):
        render_stack(tmp_path, Ports(), settings={"ALERT_TELEGRAM_TOKEN": "x"})
    assert (tmp_path / "alertmanager.yml").read_text() == before
    assert "9002" in (tmp_path / "targets" / "exporter.yml").read_text()


@pytest.mark.parametrize("options", [{"interval_seconds": 0.0}, {"time_scale": 0.0}, {"time_scale": 2.0}])
def test_intervals_and_scales_are_positive(tmp_path: Path, options: dict[str, float]) -> None:
    """An interval or scale of nothing is refused with what came and what was wanted."""
    with pytest.raises(ValueError, match=r"=[02]: want "):
        render_stack(tmp_path, PORTS, **options)  # type: ignore[arg-type]


def test_links_get_their_base(tmp_path: Path) -> None:
    """With a base the runbook's link opens from a message, and the dashboard's stands beside it."""
    settings = {"ALERT_RUNBOOK_BASE_URL": "https://ops.example.org/r/", "ALERT_GRAFANA_URL": "http://g:3000"}
    done = render_stack(tmp_path, PORTS, settings=settings)
    alerts = next(path for path in done.rules if path.name == "alerts.yml")
    notes = load(alerts)["groups"][0]["rules"][0]["annotations"]
    assert notes["runbook_url"] == "https://ops.example.org/r/docs/runbooks/TradingBreakerOpen.md"
    assert notes["dashboard_url"] == "http://g:3000/d/trading-risk"


@pytest.mark.parametrize("name", ["ALERT_RUNBOOK_BASE_URL", "ALERT_GRAFANA_URL"])
def test_a_base_that_is_no_url_is_refused(tmp_path: Path, name: str) -> None:
    """A link that opens nothing is found at the start, by the name of its setting."""
    with pytest.raises(ReceiverError, match=f"{name} does not start with http"):
        render_stack(tmp_path, PORTS, settings={name: "ops.example.org"})


@pytest.mark.parametrize(
    ("expr", "scaled"),
    [
        ("rate(x[5m])", "rate(x[30s])"),
        ("rate(x[10s])", "rate(x[4s])"),
        ("x offset 6h", "x offset 2160s"),
        ("job_instance:push_time_seconds:age < 60", "job_instance:push_time_seconds:age < 6"),
        (
            'job_instance:push_time_seconds:age{job="a"} > 30',
            'job_instance:push_time_seconds:age{job="a"} > 3',
        ),
        ("trading_drawdown_ratio > 60", "trading_drawdown_ratio > 60"),
    ],
)
def test_scaling_shortens_time_and_nothing_else(expr: str, scaled: str) -> None:
    """Ranges, offsets and age limits shrink; other numbers stay."""
    assert scale_promql(expr, 0.1, 4) == scaled


def test_durations_go_both_ways() -> None:
    """Prometheus's durations are read and written to the millisecond."""
    assert [seconds(text) for text in ("1h30m", "250ms", "0s")] == [5400, 0.25, 0]
    assert [duration(value) for value in (90, 0.25, 0)] == ["90s", "250ms", "0s"]
    with pytest.raises(ValueError, match="5x: want a duration"):
        seconds("5x")


def test_the_command_line_renders_for_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In compose the targets are service names."""
    monkeypatch.chdir(tmp_path)
    assert main(["--out", str(tmp_path / "out"), "--compose"]) == 0
    text = (tmp_path / "out" / "targets" / "alertmanager.yml").read_text()
    assert yaml.safe_load(text) == [{"targets": ["alertmanager:9093"]}]


def test_the_command_line_names_a_bad_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A half set up receiver is one line and status 2, not a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ALERT_TELEGRAM_TOKEN=x\n")
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "render: telegram is half set up: ALERT_TELEGRAM_CHAT_ID is missing\n"


@pytest.mark.parametrize("offset", ["99999", "-9000", "56443", "1.5", "ten"])
def test_a_port_offset_out_of_range_is_refused(
    offset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file gets a port that cannot be; one line has the range, and the status is 2."""
    monkeypatch.chdir(tmp_path)
    assert main(["--out", str(tmp_path / "out"), "--port-offset", offset]) == 2
    said = f"render: --port-offset {offset}: want a whole number from 0 to 56442\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the place and the reason; the status is 2."""
    monkeypatch.chdir(tmp_path)
    assert main(["--out", "/proc/nope"]) == 2
    assert capsys.readouterr().err.startswith("render: cannot write /proc/nope")
