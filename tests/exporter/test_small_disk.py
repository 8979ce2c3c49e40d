from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from exporter import sql_store
from exporter.errors import CommitFailed
from exporter.sql_store import SqlStore
from exporter.store import Batch, GroupRow


def longest_log(store: SqlStore, log: Path, commits: int) -> int:
    """Its greatest length over so many commits of some kilobytes each."""
    longest = 0
    for number in range(commits):
        body = b"# " + os.urandom(3000).hex().encode() + b"\nm 1\n"
        store.commit(Batch(groups={"g": GroupRow("g", body, None, 1.0, 0.0, None)}), number + 1)
        longest = max(longest, log.stat().st_size)
    return longest


def test_the_log_is_moved_while_there_is_room_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it could not grow as much again it stays short; on any other disk it may be long."""
    longest = []
    for name, free in (("roomy", 10**12), ("small", 0)):
        room = SimpleNamespace(f_bavail=free, f_frsize=1)
        monkeypatch.setattr("os.statvfs", lambda _, room=room: room)
        (tmp_path / name).mkdir()
        store = SqlStore(f"sqlite:///{tmp_path}/{name}/deck.db")
        longest.append(longest_log(store, tmp_path / name / "deck.db-wal", 400))
        store.close()
    assert longest[1] < longest[0] / 3


def test_a_log_that_cannot_be_read_is_a_failed_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever SQLite says while it moves it, who waits gets a 503 and the next may try again."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")

    def malformed(_connection: object) -> bool:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(sql_store, "_empty_log", malformed)
        store._crowded = True
        with pytest.raises(CommitFailed, match="malformed"):
            store.begin(0, [("e", "t")])
    store.begin(0, [("e", "t")])
    store.abandon()
    store.close()
