"""The exporter's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.__main__ import main


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
    assert main(["check"]) == 1
    assert "DECK_PORT" in capsys.readouterr().err
