"""A backup is whole or not there; a restore fills an empty store or changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from exporter.backup import backup, check, restore
from exporter.errors import StoreRefused
from exporter.schema import groups, journal, metadata
from exporter.sql_store import SqlStore
from exporter.store import Batch, GroupRow
from scripts.native import Child, NativeError, exporter, find_postgres, free_port
from scripts.native_postgres import running_postgres


def fill(url: str) -> None:
    """Something of every table."""

    def post(path: str, body: object) -> None:
        requests.post(url + path, json=body, timeout=10).raise_for_status()

    post("/metrics/push", {"equity_usd": 1000.0, "pnl_by_strategy": {"scalp": 1.5}})
    requests.put(f"{url}/metrics/job/batch", data="done 1\n", timeout=10).raise_for_status()
    post("/allocator/weights", {"weights": {"scalp": 1.0}, "reason": "first"})
    post("/breakers/venue", {"tripped": True, "reason": "away"})
    post(
        "/trades",
        [
            {
                "trade_id": f"t{n}",
                "ts": 1_700_000_000 + n,
                "strategy": "scalp",
                "symbol": "BTCUSD",
                "side": "buy",
                "qty": 0.1,
                "price": 100.1,
                "fee_usd": 0.01,
                "pnl_usd": n - 5.0,
            }
            for n in range(20)
        ],
    )


def started(store: Path | str, directory: Path) -> tuple[Child, str]:
    port = free_port()
    url = store if isinstance(store, str) else f"sqlite:///{store}"
    return exporter(port, url, directory / "exporter.log").start(), f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after a day's work, closed."""
    path = tmp_path_factory.mktemp("filled") / "deck.db"
    child, url = started(path, path.parent)
    try:
        fill(url)
    finally:
        child.stop()
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything to."""
    return Path(shutil.copy(filled, tmp_path / "deck.db"))


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; of groups what a start would load, be it in their table or in the journal."""
    store = SqlStore(url)
    try:
        with store.engine.connect() as connection:
            found = {
                table.name: [
                    tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))
                ]
                for table in metadata.sorted_tables
                if table not in (groups, journal)
            }
        found["groups"] = [(gid, row) for gid, row in sorted(store.load().groups.items())]
        return found
    finally:
        store.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    try:
        find_postgres("initdb")
    except NativeError as error:
        pytest.skip(str(error))
    with running_postgres() as server:
        yield server.url


def test_a_backup_has_every_row(store: Path, tmp_path: Path) -> None:
    """What is in the store is in the file, and the file is a sound store itself."""
    rows = backup(f"sqlite:///{store}", tmp_path / "copy.db")
    assert contents(f"sqlite:///{tmp_path}/copy.db") == contents(f"sqlite:///{store}")
    assert rows == sum(len(found) for found in contents(f"sqlite:///{store}").values())
    assert rows > 20
    assert check(f"sqlite:///{tmp_path}/copy.db") == []


def test_a_store_in_use_is_backed_up(tmp_path: Path) -> None:
    """No downtime: the running exporter goes on, and the copy has what it had acknowledged."""
    child, url = started(tmp_path / "deck.db", tmp_path)
    with child:
        fill(url)
        backup(f"sqlite:///{tmp_path}/deck.db", tmp_path / "copy.db")
        assert check(f"sqlite:///{tmp_path}/deck.db") == []
        assert requests.post(f"{url}/metrics/push", json={"equity_usd": 1.0}, timeout=10).ok
    assert len(contents(f"sqlite:///{tmp_path}/copy.db")["trades"]) == 20


def test_what_was_restored_serves(store: Path, tmp_path: Path) -> None:
    """An exporter on a restored store shows the trades, shares and breakers of the old one."""
    backup(f"sqlite:///{store}", tmp_path / "copy.db")
    restore(tmp_path / "copy.db", f"sqlite:///{tmp_path}/new.db")
    child, url = started(tmp_path / "new.db", tmp_path)
    with child:
        status = requests.get(f"{url}/status", timeout=10).json()
        assert status["risk_share"] == {"scalp": 1.0}
        assert status["breakers"]["venue"]["open"]
        assert len(requests.get(f"{url}/trades", timeout=10).json()["trades"]) == 20
        assert 'done{instance="",job="batch"} 1' in requests.get(f"{url}/metrics", timeout=10).text


def test_a_backup_of_an_older_version_is_restored(store: Path, tmp_path: Path) -> None:
    """Yesterday's backup is worth something after today's upgrade; the file itself stays as it was."""
    old = tmp_path / "old.db"
    backup(f"sqlite:///{store}", old)
    with sqlite3.connect(old) as connection:  # all that tells a backup of this version from one of 0001
        connection.execute("DROP TABLE push_journal")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()
    before = old.read_bytes()
    restore(old, f"sqlite:///{tmp_path}/new.db")
    assert contents(f"sqlite:///{tmp_path}/new.db") == contents(f"sqlite:///{store}")
    assert old.read_bytes() == before


def test_what_is_no_backup_is_not_restored(tmp_path: Path) -> None:
    """The file that is wrong is named, not the store that was to be filled, and that one is not made."""
    (tmp_path / "photo.db").write_bytes(b"not a database " * 100)
    with pytest.raises(StoreRefused, match=r"photo\.db cannot be read: file is not a database"):
        restore(tmp_path / "photo.db", f"sqlite:///{tmp_path}/data/new.db")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.db"]


def test_a_restore_overwrites_nothing(store: Path, tmp_path: Path) -> None:
    """A store with anything in it is refused and stays as it was."""
    backup(f"sqlite:///{store}", tmp_path / "copy.db")
    before = contents(f"sqlite:///{store}")
    with pytest.raises(StoreRefused, match="is not empty"):
        restore(tmp_path / "copy.db", f"sqlite:///{store}")
    assert contents(f"sqlite:///{store}") == before


def test_a_backup_overwrites_nothing(store: Path, tmp_path: Path) -> None:
    """A file of that name is left alone."""
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreRefused, match="there already"):
        backup(f"sqlite:///{store}", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_an_unsound_store_is_not_backed_up(store: Path, tmp_path: Path) -> None:
    """A store whose totals do not add up gives no file that looks like a backup."""
    with sqlite3.connect(store) as connection:
        connection.execute("DELETE FROM trades WHERE trade_id = 't3'")
    connection.close()
    assert check(f"sqlite:///{store}")
    with pytest.raises(StoreRefused, match="not sound"):
        backup(f"sqlite:///{store}", tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("copy*")) == []


def test_an_unsound_backup_is_not_restored(store: Path, tmp_path: Path) -> None:
    """A damaged backup makes no store."""
    with sqlite3.connect(store) as connection:
        connection.execute("DELETE FROM weights")
        connection.execute("UPDATE trades SET pnl_usd = 1000 WHERE trade_id = 't3'")
    connection.close()
    with pytest.raises(StoreRefused, match="not sound"):
        restore(store, f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()


def test_a_store_in_use_is_not_restored_into(store: Path, tmp_path: Path) -> None:
    """A running exporter keeps its store to itself."""
    child, _ = started(tmp_path / "new.db", tmp_path)
    with child, pytest.raises(StoreRefused, match="in use"):
        restore(store, f"sqlite:///{tmp_path}/new.db")


@pytest.mark.parametrize("kind", ["missing", "text", "other"])
def test_what_is_no_store_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """A file that is not there, no database, or somebody else's, is named and not touched."""
    path = tmp_path / "deck.db"
    if kind == "text":
        path.write_text("not a database " * 100)
    if kind == "other":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
        connection.close()
    before = path.read_bytes() if path.exists() else None
    for call in (
        lambda: check(f"sqlite:///{path}"),
        lambda: backup(f"sqlite:///{path}", tmp_path / "copy.db"),
    ):
        with pytest.raises(StoreRefused, match=r"deck\.db"):
            call()
    assert (path.read_bytes() if path.exists() else None) == before
    assert not (tmp_path / "copy.db").exists()


def test_a_store_left_by_a_crash_is_checked_and_backed_up(tmp_path: Path) -> None:
    """What was acknowledged before a kill is in the backup taken after it."""
    child, url = started(tmp_path / "deck.db", tmp_path)
    fill(url)
    child.kill()
    assert check(f"sqlite:///{tmp_path}/deck.db") == []
    backup(f"sqlite:///{tmp_path}/deck.db", tmp_path / "copy.db")
    assert len(contents(f"sqlite:///{tmp_path}/copy.db")["trades"]) == 20


def test_a_deck_moves_to_postgresql_and_back(store: Path, tmp_path: Path, postgres: str) -> None:
    """The same rows on PostgreSQL as on SQLite, and after the way back."""
    before = contents(f"sqlite:///{store}")
    restore(store, postgres)
    assert contents(postgres) == before
    assert check(postgres) == []
    backup(postgres, tmp_path / "back.db")
    assert contents(f"sqlite:///{tmp_path}/back.db") == before
    with pytest.raises(StoreRefused, match="is not empty"):
        restore(store, postgres)


def test_a_group_with_a_row_and_a_younger_entry_is_backed_up_once(tmp_path: Path) -> None:
    """The journal's word counts: another text, or that the group is gone."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db", journal_bytes=0)
    first, gone, other = (GroupRow(f'[["job","{name}"]]', b"m 1\n", None, 1.0, 0.0, None) for name in "abc")
    newer = GroupRow(first.id, b"m 2\n", None, 2.0, 0.0, None)
    store.commit(Batch(groups={first.id: first, gone.id: gone}), 1)
    store.commit(Batch(groups={other.id: other}), 2)
    store.commit(Batch(groups={first.id: newer, gone.id: None}), 3)
    store.close()
    backup(f"sqlite:///{tmp_path}/deck.db", tmp_path / "copy.db")
    assert contents(f"sqlite:///{tmp_path}/copy.db")["groups"] == [(first.id, newer), (other.id, other)]
