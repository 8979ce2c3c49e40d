"""The exporter's command line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.__main__ import main
from scripts.native import ROOT, free_port
from tests.exporter.nursery import Nursling


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with no `.env`, and a store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECK_STORE_URL", "sqlite:///deck.db")
    return tmp_path


def test_backup_restore_check_say_what_they_did(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends with status 0 and one line."""
    from exporter.sql_store import SqlStore

    SqlStore("sqlite:///deck.db").close()
    assert main(["backup", "copy.db"]) == 0
    monkeypatch.setenv("DECK_STORE_URL", "sqlite:///new.db")
    assert main(["restore", "copy.db"]) == 0
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "1 rows in copy.db\n1 rows from copy.db\nthe store is sound\n"


@pytest.mark.parametrize("command", [["check"], ["backup", "copy.db"], ["restore", "none.db"]], ids=str)
def test_a_command_that_cannot_says_why(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 and a line on stderr that names the file."""
    assert main(command) == 1
    assert ".db: no such file" in capsys.readouterr().err


def test_a_bad_setting_stops_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings are read, and refused, before anything is touched."""
    monkeypatch.setenv("DECK_PORT", "eighty")
    assert main(["check"]) == 2
    assert "DECK_PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("sqlite:////proc/nope/deck.db", 1),
        ("nonsense", 2),
        ("mysql://u:pa55@h/d", 2),
        ("sqlite+nothing:///deck.db", 2),
    ],
)
def test_a_store_that_cannot_be_is_one_line(
    url: str, status: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The last line names the setting, no traceback, no password; 2 for the setting, 1 for the place."""
    monkeypatch.setenv("DECK_PORT", "0")
    monkeypatch.setenv("DECK_STORE_URL", url)
    monkeypatch.setenv("DECK_LOG_LEVEL", "error")
    assert main([]) == status
    shown = capfd.readouterr().err
    assert shown.count("\n") == 1 and "DECK_STORE_URL" in shown and "pa55" not in shown


def test_a_port_in_use_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It names DECK_PORT and the way out, and nothing was said of serving."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("DECK_PORT", str(other.getsockname()[1]))
        assert main([]) == 1
    shown = capfd.readouterr().err
    assert "set DECK_PORT to a free port" in shown.splitlines()[-1]
    assert "serving" not in shown and "Traceback" not in shown


def test_a_misspelt_variable_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its name and the near one, not its value."""
    monkeypatch.setenv("DECK_TOKNE", "s3cret")
    monkeypatch.setenv("DECK_STORE_URL", "sqlite:////proc/nope/deck.db")
    monkeypatch.setenv("DECK_PORT", "0")
    assert main([]) == 1
    shown = capfd.readouterr().err
    assert "name=DECK_TOKNE" in shown and "did_you_mean=DECK_TOKEN" in shown and "s3cret" not in shown


def test_a_store_that_is_made_is_warned_of_once(directory: Path) -> None:
    """A path with a typing error shows at the start as a new store; an existing one is not remarked upon."""
    deck = Nursling(free_port(), directory)
    said = []
    for _ in range(2):
        deck.start()
        deck.stop()
        said.append(deck.log.read_text())
        deck.log.unlink()
    assert "new, empty store" in said[0] and f"path={directory}/deck.db" in said[0]
    assert "new, empty store" not in said[1]


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("exporter", "structlog"),
        ("exporter", "sqlalchemy"),
        ("exporter", "uvicorn"),
        ("allocator", "structlog"),
        ("allocator", "pydantic"),
    ],
)
def test_without_the_extra_a_program_names_it(program: str, module: str) -> None:
    """Installed as an engine needs it, a service ends with status 2 and one line, not a traceback."""
    without = f"import runpy, sys; sys.modules[{module!r}] = None; "
    done = subprocess.run(
        [sys.executable, "-c", f"{without}runpy.run_module({program!r}, run_name='__main__')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{program}: {module} is not installed: want Deckrails with its extra server, "
        "in a checkout pip install '.[server]'\n"
    )
