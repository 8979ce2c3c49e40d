"""The journal of pushed groups: whatever is in it and whatever is not, a group is what was committed last."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.backup import backup
from exporter.errors import CommitFailed, StoreRefused
from exporter.sql_store import SqlStore
from exporter.store import Batch, GroupRow
from tests.ports.test_store import trade, with_totals

Changes = Mapping[str, GroupRow | None]
NAMES = [f'[["job","{name}"]]' for name in "abcdef"]


def row_of(gid: str, seed: int) -> GroupRow:
    """A group that snappy can make little of."""
    noise = random.Random(seed)
    body = b"".join(b"m_%d %d\n" % (n, noise.getrandbits(60)) for n in range(noise.randrange(1, 40)))
    return GroupRow(
        gid, body, noise.choice([None, b"\x00\xff"]), float(seed), 0.5, noise.choice([None, 60.0])
    )


CHANGES: st.SearchStrategy[Changes] = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(st.none(), st.integers(0, 1000)), max_size=4
).map(lambda found: {gid: None if seed is None else row_of(gid, seed) for gid, seed in found.items()})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), CHANGES),
        st.tuples(st.sampled_from(["fail", "reopen", "crash", "backup"]), CHANGES),
    ),
    max_size=30,
)


def kept(changes: Changes) -> dict[str, GroupRow]:
    return {gid: row for gid, row in changes.items() if row is not None}


def journal_sizes(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        found = [size for (size,) in connection.execute("SELECT length(body) FROM push_journal ORDER BY seq")]
    connection.close()
    return found


@settings(deadline=None)
@given(st.sampled_from([0, 1_000, 10_000, 1_000_000]), STEPS)
def test_a_group_is_what_was_committed_last(limit: int, steps: list[tuple[str, Changes]]) -> None:
    """Commits, failed ones, restarts, crashes and backups in any order, whatever the journal holds."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "deck.db")

        def opened() -> SqlStore:
            return SqlStore(f"sqlite:///{path}", journal_bytes=limit, power_safe=False)

        store = opened()
        store.commit(with_totals(trade(1)), 1)
        revision = 1
        expected: dict[str, GroupRow | None] = {}
        for number, (step, changes) in enumerate(steps):
            if step == "commit":
                revision += 1
                store.commit(Batch(groups=changes), revision)
                expected |= changes
            elif step == "fail":
                with pytest.raises(CommitFailed):
                    store.commit(with_totals(trade(2, "t1"), groups=changes), revision + 1)
            elif step == "backup":
                copy = Path(directory, f"copy{number}.db")
                backup(f"sqlite:///{path}", copy)
                restored = SqlStore(f"sqlite:///{copy}")
                assert restored.load().groups == kept(expected)
                restored.close()
            else:
                if step == "crash":  # the files as they are, without what closing would do to them
                    crashed = Path(directory, f"crashed{number}")
                    crashed.mkdir()
                    for left in (path, Path(f"{path}-wal")):
                        shutil.copy(left, crashed)
                    path = crashed / path.name
                store.close()
                store = opened()
                if number % 2:  # a store may be written to before it is read
                    assert store.load().groups == kept(expected)
        assert store.check() == []
        assert store.load().groups == kept(expected)
        store.close()
        sizes = journal_sizes(path)
        assert sum(sizes[:-1]) <= limit


@pytest.mark.parametrize("limit", [0, 40_000])
def test_a_group_that_was_pushed_again_costs_no_row(tmp_path: Path, limit: int) -> None:
    """Of what leaves the journal only what no younger entry holds becomes a row."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db", journal_bytes=limit)
    still, busy = row_of(NAMES[0], 1), NAMES[1]
    store.commit(Batch(groups={still.id: still, busy: row_of(busy, 2)}), 1)
    for revision in range(2, 1000):
        store.commit(Batch(groups={busy: row_of(busy, revision)}), revision)
    assert store.load().groups == {still.id: still, busy: row_of(busy, 999)}
    store.close()
    with sqlite3.connect(tmp_path / "deck.db") as connection:
        rows = connection.execute("SELECT id, revision FROM push_groups").fetchall()
    connection.close()
    assert rows == [(still.id, 1)]


def test_many_large_groups_are_several_entries(tmp_path: Path) -> None:
    """A database refuses values beyond its limit; a commit of any size is cut below it."""
    large = {gid: GroupRow(gid, b"m 1\n" * 200_000, None, 1.0, 0.0, None) for gid in NAMES}
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    store.commit(Batch(groups=large), 1)
    store.close()
    assert len(journal_sizes(tmp_path / "deck.db")) == 3
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    assert store.load().groups == large
    store.close()


def test_an_entry_that_cannot_be_read_stops_the_commit_that_needs_it(tmp_path: Path) -> None:
    """Rather no push than a lost group: nothing is cleared away unread, and a start names the entry."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db", journal_bytes=0)
    store.commit(Batch(groups={NAMES[0]: row_of(NAMES[0], 1)}), 1)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE push_journal SET body = CAST('m' AS BLOB)")
    with pytest.raises(CommitFailed, match="the entry 1 of push_journal cannot be read"):
        store.commit(Batch(groups={NAMES[1]: row_of(NAMES[1], 2)}), 2)
    assert store.newest_revision() == 1
    with pytest.raises(StoreRefused, match="the entry 1 of push_journal cannot be read"):
        store.load()
    store.close()


def test_a_journal_that_could_not_be_resumed_is_tried_again(tmp_path: Path) -> None:
    """A commit before the trouble is over fails; the one after it is younger than all there was."""
    gid = NAMES[0]
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db", journal_bytes=0)
    for revision in (1, 2, 3):
        store.commit(
            Batch(groups={gid: row_of(gid, revision), NAMES[1]: row_of(NAMES[1], revision)}), revision
        )
    store.close()
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    with store.engine.begin() as connection:
        sound = connection.exec_driver_sql("SELECT body FROM push_journal").scalar_one()
        connection.exec_driver_sql("UPDATE push_journal SET body = CAST('m' AS BLOB)")
    for _ in range(2):
        with pytest.raises(CommitFailed, match="cannot be read"):
            store.commit(Batch(groups={gid: row_of(gid, 4)}), 4)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE push_journal SET body = ?", (sound,))
    store.commit(Batch(groups={gid: row_of(gid, 4)}), 4)
    assert store.load().groups == {gid: row_of(gid, 4), NAMES[1]: row_of(NAMES[1], 3)}
    assert store.check() == []
    store.close()


def test_what_no_commit_expects_takes_nothing_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any exception the transaction is over: the next commit is its own batch alone."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    lost, kept_row = row_of(NAMES[0], 1), row_of(NAMES[1], 2)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_sweep", lambda revision: [0][revision])
        with pytest.raises(IndexError):
            store.commit(Batch(groups={lost.id: lost}), 1)
    store.commit(Batch(), 1)
    store.commit(Batch(groups={kept_row.id: kept_row}), 2)
    assert store.load().groups == {kept_row.id: kept_row}
    store.close()


_VICTIM = """
import sys
from exporter.sql_store import SqlStore
from exporter.store import Batch
from tests.exporter.test_journal import changes_of
store = SqlStore(sys.argv[1], journal_bytes=20_000)
revision = store.load().revision
print(revision, flush=True)
while True:
    revision += 1
    store.commit(Batch(groups=changes_of(revision)), revision)
    print(revision, flush=True)
"""


def changes_of(revision: int) -> Changes:
    """What the commit of this number does, in every process alike."""
    choice = random.Random(revision)
    names = choice.sample([f'[["job","{n}"]]' for n in range(200)], 8)
    return {gid: None if choice.random() < 0.1 else row_of(gid, revision) for gid in names}


def test_a_kill_while_the_journal_is_cleared_loses_nothing(tmp_path: Path) -> None:
    """Killed twelve times between and within commits that clear it; what was answered is there."""
    path = tmp_path / "deck.db"
    expected: dict[str, GroupRow | None] = {}
    revision, moments = 0, random.Random(3)
    for _ in range(12):
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True
        )
        assert victim.stdout is not None
        with victim:
            answered = int(victim.stdout.readline())
            assert answered == revision
            for _ in range(moments.randrange(5, 120)):
                answered = int(victim.stdout.readline())
            victim.send_signal(signal.SIGKILL)
            answered = max([answered, *map(int, victim.stdout.read().split())])
        store = SqlStore(f"sqlite:///{path}", journal_bytes=20_000)
        found = store.load()
        # At most the commit it was in the middle of came through without an answer.
        assert answered <= found.revision <= answered + 1
        for number in range(revision + 1, found.revision + 1):
            expected |= changes_of(number)
        revision = found.revision
        assert found.groups == kept(expected)
        assert store.check() == []
        store.close()
    assert revision > 200
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM push_groups").fetchone()[0] > 50
    connection.close()
