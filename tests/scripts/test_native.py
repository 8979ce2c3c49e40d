from __future__ import annotations

from pathlib import Path

import pytest

from scripts.native import NativeError, find_program


def program(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_program_that_stands_first_on_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who puts another version first on PATH runs that one, though Debian's has a name of its own."""
    theirs = program(tmp_path / "mine" / "alertmanager")
    debian = program(tmp_path / "debian" / "prometheus-alertmanager")
    monkeypatch.setenv("PATH", f"{tmp_path / 'mine'}:{tmp_path / 'debian'}")
    assert find_program("alertmanager") == theirs
    monkeypatch.setenv("PATH", f"{tmp_path / 'debian'}:{tmp_path / 'mine'}")
    assert find_program("alertmanager") == debian


def test_a_program_that_is_missing_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks it reads what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeError, match=r"alertmanager is not on PATH: .*package prometheus-alertmanager"):
        find_program("alertmanager")
