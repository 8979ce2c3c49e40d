"""Secrets of a compose stack: made once, closed to others, only hashes on the exporter's side."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from scripts.deck_secrets import PASSWORDS, SCOPES, TABLE, ensure_secrets


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_the_first_start_makes_every_secret(tmp_path: Path) -> None:
    """An empty directory gets a password, a token for each part and the table of their hashes."""
    changed = ensure_secrets(tmp_path / "secrets")
    made = contents(tmp_path / "secrets")
    assert set(made) == {*PASSWORDS, TABLE, *(f"deck_token_{who}" for who in SCOPES)}
    assert set(changed) == set(made)
    assert len(set(made.values())) == len(made)  # no two alike
    assert all(len(text) > 40 for text in made.values())


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    """What was made once stays, byte for byte."""
    ensure_secrets(tmp_path)
    before = contents(tmp_path)
    assert ensure_secrets(tmp_path) == []
    assert contents(tmp_path) == before


def test_the_table_has_each_token_as_a_hash_with_its_scopes(tmp_path: Path) -> None:
    """The exporter's table never holds a token, and each part may do its own work alone."""
    ensure_secrets(tmp_path)
    lines = dict(line.split(" ", 1) for line in (tmp_path / TABLE).read_text().splitlines())
    for who, scopes in SCOPES.items():
        token = (tmp_path / f"deck_token_{who}").read_text().strip()
        assert token not in (tmp_path / TABLE).read_text()
        assert lines[hashlib.sha256(token.encode()).hexdigest()] == f"{scopes} {who}"
    assert SCOPES["engine"].split(",") == ["push", "read"]
    assert SCOPES["allocator"].split(",") == ["allocate", "read"]
    assert SCOPES["alerts"] == "operate"


def test_a_token_that_was_issued_by_hand_is_kept(tmp_path: Path) -> None:
    """A line of somebody else's in the table survives, before and after a rotation of ours."""
    ensure_secrets(tmp_path)
    table = tmp_path / TABLE
    theirs = "0" * 64 + " push desk-7"
    table.chmod(0o644)
    table.write_text(table.read_text() + theirs + "\n")
    (tmp_path / "deck_token_engine").unlink()
    assert set(ensure_secrets(tmp_path)) == {"deck_token_engine", TABLE}
    assert theirs in table.read_text().splitlines()


def test_a_deleted_token_is_issued_anew_and_the_old_one_ends(tmp_path: Path) -> None:
    """Deleting a token's file is how it is rotated: another value, and the old hash leaves the table."""
    ensure_secrets(tmp_path)
    path = tmp_path / "deck_token_engine"
    old = path.read_text().strip()
    others = {name: text for name, text in contents(tmp_path).items() if name not in {path.name, TABLE}}
    path.unlink()
    ensure_secrets(tmp_path)
    assert path.read_text().strip() != old
    assert hashlib.sha256(old.encode()).hexdigest() not in (tmp_path / TABLE).read_text()
    assert others.items() <= contents(tmp_path).items()


def test_others_on_the_host_cannot_enter_and_a_container_can_read(tmp_path: Path) -> None:
    """The directory is its owner's alone; a mounted file is readable to a user the host does not know."""
    directory = tmp_path / "secrets"
    ensure_secrets(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o444}


def test_a_directory_that_was_open_is_closed(tmp_path: Path) -> None:
    """A directory made by hand with a laxer mode does not stay so."""
    tmp_path.chmod(0o755)
    ensure_secrets(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
