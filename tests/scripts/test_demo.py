from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scripts.demo import DemoSettings, check_ports, environment, grafana_argv, main, read_settings
from scripts.native import NativeError
from scripts.render import Ports


def test_nothing_set_runs_until_stopped_on_the_standard_ports() -> None:
    """A newcomer's `make demo` needs no setting."""
    assert read_settings({}) == DemoSettings(None, 0, None)


def test_settings_are_read(tmp_path: Path) -> None:
    """All three settings reach the demo."""
    values = {"DEMO_SECONDS": "40", "PORT_OFFSET": "1000", "GRAFANA_HOME": str(tmp_path)}
    assert read_settings(values) == DemoSettings(40.0, 1000, tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DEMO_SECONDS", "soon"),
        ("DEMO_SECONDS", "0"),
        ("DEMO_SECONDS", "nan"),
        ("DEMO_SECONDS", "inf"),
        ("PORT_OFFSET", "-1"),
        ("PORT_OFFSET", "60000"),
        ("PORT_OFFSET", "1.5"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_was_wanted(name: str, text: str) -> None:
    """A bad setting says its name, the value and the range, in one line."""
    with pytest.raises(NativeError, match=f"^{name}={text}: want .* from "):
        read_settings({name: text})


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    """The message has the port, whose it would be, and the setting that avoids it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(NativeError, match=rf"port {port} \(exporter\) is in use.*PORT_OFFSET"):
            check_ports(Ports(exporter=port, allocator=1, prometheus=1, alertmanager=1, grafana=1))


def test_a_grafana_home_without_grafana_is_refused(tmp_path: Path) -> None:
    """A wrong GRAFANA_HOME is said, not passed over."""
    with pytest.raises(NativeError, match=r"GRAFANA_HOME=.*no bin/grafana"):
        grafana_argv(tmp_path)


def test_a_grafana_home_is_started_from_there(tmp_path: Path) -> None:
    """GRAFANA_HOME gives the program and its home."""
    program = tmp_path / "bin" / "grafana"
    program.parent.mkdir()
    program.touch()
    assert grafana_argv(tmp_path) == [str(program), "server", "--homepath", str(tmp_path)]


def test_the_users_own_settings_do_not_reach_the_demo(tmp_path: Path) -> None:
    """A token or a store of another deck is blanked for every child."""
    env = environment(Ports(), tmp_path, grafana=False)
    assert env["DECK_TOKEN"] == ""
    assert env["DECK_STORE_URL"] == f"sqlite:///{tmp_path}/data/deck.db"
    assert env["DECK_SPOOL_DIR"] == f"{tmp_path}/data/spool"
    assert env["PROMETHEUS_URL"] == "http://127.0.0.1:9090"


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_asked_for_help_the_demo_says_how_it_is_run(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are named, and nothing starts."""
    with pytest.raises(SystemExit) as ended:
        main([argument])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "DEMO_SECONDS" in said and "PORT_OFFSET" in said


@pytest.mark.parametrize("argument", ["--seconds=40", "40", "stop"])
def test_an_argument_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo takes none, and starts nothing when it gets one."""
    with pytest.raises(SystemExit) as ended:
        main([argument])
    assert ended.value.code == 2
    assert argument in capsys.readouterr().err
