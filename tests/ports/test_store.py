"""One suite for every store: the fake, SQLite and a real PostgreSQL keep the same promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from exporter.backup import check
from exporter.errors import CommitFailed, StoreRefused, Unstorable
from exporter.grouping import MAX_GROUP_BYTES
from exporter.index import Index
from exporter.messages import MAX_NAME
from exporter.records import BreakerChange, BreakerDoc, EngineDoc, Hold, Totals, Trade, WeightsDoc
from exporter.schema import documents, groups, metadata
from exporter.sql_store import SqlStore
from exporter.state import State
from exporter.store import Batch, GroupRow, Snapshot, Store, TradeQuery
from exporter.trades import ZERO_TOTALS, add_trades
from exporter.writer import restore
from scripts.native_postgres import running_postgres
from tests.fakes.store import FakeStore

Opener = Callable[[], Store]
KEPT_COMMITS = 20


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as server:
        yield server.url


def emptied(url: str) -> str:
    """The same database without a table."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return url


@pytest.fixture(params=["fake", "sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store, again and again; the one before is closed first."""
    opened: list[Store] = []
    if request.param == "fake":
        fake = FakeStore()

        def make() -> Store:
            return fake
    else:
        url = f"sqlite:///{tmp_path}/deck.db"
        if request.param == "postgres":
            url = emptied(request.getfixturevalue("postgres"))

        def make() -> Store:
            return SqlStore(url, kept_commits=KEPT_COMMITS)

    def open_again() -> Store:
        while opened:
            opened.pop().close()
        opened.append(make())
        return opened[0]

    yield open_again
    while opened:
        opened.pop().close()


@pytest.fixture
def store(reopen: Opener) -> Store:
    opened = reopen()
    opened.load()
    return opened


@pytest.fixture
def shared(postgres: str) -> Iterator[Store]:
    """A store that others may write to."""
    opened = SqlStore(emptied(postgres), kept_commits=KEPT_COMMITS)
    opened.load()
    yield opened
    opened.close()


def changes_since(store: Store, seen: int) -> Snapshot:
    """What a replica is told that was last here at this revision."""
    changes, _ = store.begin(seen, [])
    store.abandon()
    return changes


def group(name: str, body: bytes = b"# TYPE m gauge\nm 1\n") -> GroupRow:
    return GroupRow(f'[["job","{name}"]]', body, None, 1.5, 0.0, None)


def trade(seq: int, trade_id: str | None = None, **changes: object) -> Trade:
    fields = {
        "engine": "default",
        "trade_id": trade_id or f"t{seq}",
        "seq": seq,
        "ts": 1000.0 + seq,
        "strategy": "scalp",
        "symbol": "BTC-USD",
        "side": "buy",
        "qty": 0.1,
        "price": 100.1,
        "fee_usd": -0.01,
        "pnl_usd": None,
        **changes,
    }
    return Trade(**fields)  # type: ignore[arg-type]  # the fields of a trade by name


def with_totals(*trades: Trade, **more: object) -> Batch:
    totals: dict[tuple[str, str], Totals] = {}
    for one in trades:
        key = (one.engine, one.strategy)
        totals[key] = add_trades(totals.get(key, ZERO_TOTALS), [one])
    return Batch(trades=trades, totals=totals, touches_deck=True, **more)  # type: ignore[arg-type]


def test_what_was_committed_is_loaded(reopen: Opener) -> None:
    """Every kind of record comes back equal, unicode and exact floats included."""
    store = reopen()
    store.load()
    engine = EngineDoc(scalars={"equity_usd": (0.1 + 0.2, 5.0)}, info={"mode": "live"}, pushed_at=5.0)
    breaker = BreakerDoc(holds={"alert": Hold(since=1.0, reason="é", keys=("a",))}, trips=3, changed_at=1.0)
    weights = WeightsDoc(version=1, weights={"日本": 0.25}, reason="r", updated_at=2.0, who="me")
    row = GroupRow('[["job","é"]]', 'm{a="é"} 1\n'.encode(), b"\x00\xff", 1.25, 2.5, 60.0)
    change = BreakerChange(
        seq=1,
        at=1.0,
        engine="default",
        breaker="equity",
        source="alert",
        tripped=True,
        open=True,
        reason="é",
        who="w",
    )
    batch = with_totals(
        trade(1, pnl_usd=1.5),
        groups={row.id: row},
        engines={"default": engine},
        breakers={("default", "equity"): breaker},
        weights=[weights],
        history=[change],
    )
    store.commit(batch, 1)
    store = reopen()
    found = store.load()
    assert found.whole
    assert found.groups == {row.id: row}
    assert found.engines == {"default": engine}
    assert found.breakers == {("default", "equity"): breaker}
    assert found.totals == batch.totals
    assert found.weights == weights
    assert (found.revision, found.deck_revision, found.trade_seq, found.history_seq) == (1, 1, 1, 1)
    assert store.read_trades(TradeQuery()) == [trade(1, pnl_usd=1.5)]
    assert store.read_breaker_history(None, None, 10) == [change]
    assert store.check() == []


def test_the_last_write_of_a_record_counts(store: Store) -> None:
    """A second commit replaces a group; a removed group does not come back."""
    a, b = group("a"), group("b")
    store.commit(Batch(groups={a.id: a, b.id: b}), 1)
    newer = group("a", b"# TYPE m gauge\nm 2\n")
    store.commit(Batch(groups={a.id: newer, b.id: None}), 2)
    # A shared store keeps a note of what was removed, for those who have it still.
    assert {k: v for k, v in store.load().groups.items() if v is not None} == {a.id: newer}


def test_the_longest_names_there_may_be_fit_every_key(store: Store) -> None:
    """Letters of four bytes that nothing compresses, in each key of each table at once."""
    letters = random.Random(1)

    def name(length: int = MAX_NAME) -> str:
        return "".join(chr(letters.randrange(0x10000, 0x110000)) for _ in range(length))

    engine, strategy, breaker = name(), name(), name()
    frame = group("").id
    row = GroupRow(group(name((MAX_GROUP_BYTES - len(frame)) // 4)).id, b"m 1\n", None, 1.0, 0.0, None)
    change = BreakerChange(
        seq=1,
        at=1.0,
        engine=engine,
        breaker=breaker,
        source="alert",
        tripped=True,
        open=True,
        reason="",
        who="",
    )
    batch = with_totals(
        trade(1, name(), engine=engine, strategy=strategy),
        groups={row.id: row},
        engines={engine: EngineDoc()},
        breakers={(engine, breaker): BreakerDoc()},
        history=[change],
    )
    store.commit(batch, 1)
    found = store.load()
    assert (found.groups, found.totals, set(found.breakers)) == (
        {row.id: row},
        batch.totals,
        {(engine, breaker)},
    )


def test_a_known_trade_is_found_and_cannot_be_written_twice(store: Store) -> None:
    """begin() tells known trades apart by engine and id; a second row of one id fails the whole batch."""
    store.commit(with_totals(trade(1)), 1)
    _, known = store.begin(1, [("default", "t1"), ("default", "t2"), ("other", "t1")])
    assert known == {("default", "t1"): trade(1)}
    store.abandon()
    row = group("a")
    with pytest.raises(CommitFailed):
        store.commit(with_totals(trade(2, "t2"), trade(3, "t1"), groups={row.id: row}), 2)
    assert store.newest_revision() == 1
    assert store.load().groups == {}
    assert [t.seq for t in store.read_trades(TradeQuery())] == [1]
    store.commit(with_totals(trade(2, "t2")), 2)
    assert store.newest_revision() == 2


def test_what_the_database_has_no_place_for_is_told_from_what_it_cannot_do_now(shared: Store) -> None:
    """A key beyond its index and a text it does not know are the data's fault, in commit() and in begin()."""
    letters = random.Random(1)
    row = group("".join(letters.choices("0123456789abcdef", k=8000)))
    with pytest.raises(Unstorable, match="exceeds btree"):
        shared.commit(Batch(groups={row.id: row}), 1)
    with pytest.raises(Unstorable, match="NUL"):
        shared.begin(0, [("default", "a\0b")])
    with pytest.raises(CommitFailed) as found:
        shared.commit(with_totals(trade(1), trade(1)), 1)
    assert not isinstance(found.value, Unstorable)
    row = group("a")
    shared.commit(Batch(groups={row.id: row}), 1)
    assert shared.load().groups == {row.id: row}


def test_a_batch_that_was_abandoned_left_nothing(store: Store) -> None:
    """After abandon() the next batch begins as if there had been none."""
    store.begin(0, [])
    store.abandon()
    row = group("a")
    store.commit(Batch(groups={row.id: row}), 1)
    assert store.load().revision == 1


def test_changes_since_a_revision_are_the_later_ones(shared: Store) -> None:
    """What a replica asks for: later rows, removed ones as None, nothing older."""
    a, b = group("a"), group("b")
    shared.commit(Batch(groups={a.id: a}), 1)
    shared.commit(Batch(groups={b.id: b}, engines={"x": EngineDoc(pushed_at=1.0)}, touches_deck=True), 2)
    shared.commit(Batch(groups={a.id: None}, engines={"x": None}, touches_deck=True), 3)
    found = changes_since(shared, 1)
    assert found.groups == {a.id: None, b.id: b}
    assert found.engines == {"x": None}
    assert (found.revision, found.deck_revision, found.weights) == (3, 3, None)
    assert changes_since(shared, 3).groups == {}


@pytest.mark.parametrize(
    ("power_safe", "of_the_role", "here"),
    [
        (True, "off", "on"),
        (True, "local", "on"),
        (True, "remote_write", "on"),
        (True, "on", "on"),
        (True, "remote_apply", "remote_apply"),
        (False, "on", "off"),
    ],
)
def test_a_commit_waits_for_the_disk_whatever_the_database_has_set(
    postgres: str, power_safe: bool, of_the_role: str, here: str
) -> None:
    """On every connection of a store that is to survive a power cut; on none of one that is not."""
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER ROLE CURRENT_USER SET synchronous_commit = {of_the_role}")
    store = SqlStore(emptied(postgres), power_safe=power_safe)
    with store.engine.connect() as first, store.engine.connect() as second:
        shown = {
            c.exec_driver_sql("SHOW synchronous_commit").scalar() for c in (store._writer, first, second)
        }
    store.close()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER ROLE CURRENT_USER RESET synchronous_commit")
    engine.dispose()
    assert shown == {here}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused(postgres: str, encoding: str) -> None:
    """In one line that says what is wanted, for a start as for a check: not every text would come back."""
    engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    engine.dispose()
    url = postgres.replace("/postgres", f"/{encoding.lower()}")
    for attempt in (SqlStore, check):
        with pytest.raises(StoreRefused, match=f"has the encoding {encoding}: want .* ENCODING 'UTF8'"):
            attempt(url)


def test_groups_come_in_the_order_of_their_commits(shared: Store, postgres: str) -> None:
    """Not as they lie in the table: what contradicts what is the same to every replica."""
    for revision, name in enumerate("aba", 1):
        shared.commit(Batch(groups={group(name).id: group(name)}), revision)
    engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM push_groups")
    engine.dispose()
    shared.commit(Batch(groups={group("b").id: group("b")}), 4)
    assert list(shared.load().groups) == [group("a").id, group("b").id]


def test_what_was_removed_long_ago_is_forgotten_and_who_missed_it_is_told_everything(shared: Store) -> None:
    """Removed rows go after so many commits; who is that far behind gets the whole, which lacks them."""
    kept, gone = group("kept"), group("gone")
    shared.commit(Batch(groups={kept.id: kept, gone.id: gone}, engines={"x": EngineDoc(pushed_at=1.0)}), 1)
    shared.commit(Batch(groups={gone.id: None}, engines={"x": None}), 2)
    last = 2 + KEPT_COMMITS
    for revision in range(3, last + 1):
        shared.commit(Batch(groups={kept.id: kept}), revision)
    behind = changes_since(shared, 1)
    assert (behind.whole, behind.groups, behind.engines) == (True, {kept.id: kept}, {})
    assert behind.revision == last
    near = changes_since(shared, 2)
    assert (near.whole, near.groups) == (False, {kept.id: kept})
    assert shared.check() == []


def test_who_is_not_far_behind_hears_of_each_removal(shared: Store) -> None:
    """Until then a removed row stays, and is told of as one change among others."""
    gone = group("gone")
    shared.commit(Batch(groups={gone.id: gone}), 1)
    for revision in range(2, 2 + KEPT_COMMITS):
        shared.commit(Batch(groups={gone.id: None if revision == 2 else group("gone")}), revision)
    shared.commit(Batch(groups={gone.id: None}), 2 + KEPT_COMMITS)
    found = changes_since(shared, KEPT_COMMITS)
    assert (found.whole, found.groups) == (False, {gone.id: None})


def test_a_store_of_one_writer_keeps_no_trace_of_what_was_removed_long_ago(tmp_path: Path) -> None:
    """Its file does not grow with every engine and group there ever was."""
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db", kept_commits=KEPT_COMMITS, journal_bytes=0)
    gone = group("gone")
    store.commit(Batch(groups={gone.id: gone}, engines={"x": EngineDoc(pushed_at=1.0)}), 1)
    store.commit(Batch(groups={group("b").id: group("b")}), 2)  # and "gone" has a row of its own
    store.commit(Batch(groups={gone.id: None}, engines={"x": None}), 3)
    for revision in range(4, 4 + 2 * KEPT_COMMITS):
        row = group(f"g{revision}")
        store.commit(Batch(groups={row.id: row}), revision)
    with store.engine.connect() as connection:
        named = connection.execute(sa.select(groups.c.id).where(groups.c.id == gone.id)).all()
        engines = connection.execute(sa.select(documents.c.id).where(documents.c.kind == "engine")).all()
    store.close()
    assert (named, engines) == ([], [])


def test_a_replica_that_slept_through_a_removal_shows_what_the_others_show(postgres: str) -> None:
    """Two on one database: the note of a removal is cleared away before the second has read it."""
    busy = SqlStore(postgres, kept_commits=KEPT_COMMITS)
    asleep = SqlStore(postgres, kept_commits=KEPT_COMMITS)
    try:
        at = busy.load().revision
        kept, gone = group("kept"), group("gone")
        busy.begin(at, [])
        busy.commit(Batch(groups={kept.id: kept, gone.id: gone}), at + 1)
        state = State(Index())
        restore(state, asleep.load())
        assert set(state.groups) >= {kept.id, gone.id}
        seen = state.revision
        for revision in range(seen + 1, seen + 3 * KEPT_COMMITS):
            busy.begin(revision - 1, [])
            busy.commit(Batch(groups={gone.id: None} if revision == seen + 1 else {kept.id: kept}), revision)
        engine = sa.create_engine(postgres)
        with engine.connect() as connection:
            removed = sa.select(sa.func.count()).where(groups.c.body.is_(None))
            assert connection.execute(removed).scalar_one() == 0
        engine.dispose()
        changes, _ = asleep.begin(seen, [])
        asleep.abandon()
        restore(state, changes)
        assert kept.id in state.groups
        assert gone.id not in state.groups
        assert b"gone" not in b"".join(state.bodies("m"))
        assert state.revision == busy.newest_revision()
    finally:
        busy.close()
        asleep.close()


def test_who_saw_more_commits_than_there_are_is_told_everything(shared: Store, postgres: str) -> None:
    """A database that stepped back is not taken for one where nothing happened, and is then begun anew."""
    kept, lost = group("kept"), group("lost")
    shared.commit(with_totals(trade(1), groups={kept.id: kept}), 1)
    shared.commit(with_totals(trade(2), groups={lost.id: lost}, weights=[WeightsDoc(version=1)]), 2)
    state = State(Index())
    restore(state, shared.load())
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        for statement in (
            "UPDATE deck_meta SET revision = 1, deck_revision = 1",
            "DELETE FROM push_groups WHERE revision = 2",
            "DELETE FROM trades WHERE seq = 2",
            "DELETE FROM weights",
            "DELETE FROM deck_documents",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    changes, known = shared.begin(2, [("default", "t1")])
    assert (changes.whole, changes.revision, known) == (True, 1, {})
    restore(state, changes)
    assert (set(state.groups), state.totals, state.weights.version) == ({kept.id}, {}, 0)
    assert (state.trade_seq, state.revision) == (1, 1)
    changes, known = shared.begin(1, [("default", "t1")])
    assert (changes.whole, set(known)) == (False, {("default", "t1")})
    shared.commit(Batch(groups={lost.id: lost}), 2)


def test_who_finds_a_number_taken_reads_everything_before_the_next_batch(shared: Store) -> None:
    """Two histories under the same numbers: what was planned on is not what is there."""
    shared.commit(with_totals(trade(1)), 1)
    shared.begin(1, [])
    with pytest.raises(CommitFailed):
        shared.commit(with_totals(trade(1, "other")), 2)
    whole, _ = shared.begin(1, [])
    assert (whole.whole, whole.trade_seq) == (True, 1)
    after, _ = shared.begin(1, [])
    assert not after.whole


def test_trades_are_read_by_each_filter(store: Store) -> None:
    """In order of arrival; strategy, engine, time and cursor narrow the page."""
    store.commit(
        with_totals(
            trade(1),
            trade(2, strategy="trend"),
            trade(3, engine="e2"),
            trade(4, ts=500.0),
            trade(5, strategy="trend"),
        ),
        1,
    )

    def seqs(**query: object) -> list[int]:
        return [t.seq for t in store.read_trades(TradeQuery(**query))]  # type: ignore[arg-type]

    assert seqs() == [1, 2, 3, 4, 5]
    assert seqs(strategy="trend") == [2, 5]
    assert seqs(engine="e2") == [3]
    assert seqs(since=1002.0, until=1005.0) == [2, 3]
    assert seqs(after=2, limit=2) == [3, 4]


def test_histories_are_read_newest_first(store: Store) -> None:
    """Weights and breakers page backwards with `before`."""
    docs = [WeightsDoc(version=n, weights={"a": n / 10}) for n in (1, 2, 3)]
    changes = [
        BreakerChange(
            seq=n,
            at=float(n),
            engine="default",
            breaker="venue" if n % 2 else "equity",
            source="operator",
            tripped=True,
            open=True,
            reason="",
            who="",
        )
        for n in (1, 2, 3)
    ]
    store.commit(Batch(weights=docs, history=changes, touches_deck=True), 1)
    assert store.read_weights(None, 2) == [docs[2], docs[1]]
    assert store.read_weights(2, 2) == [docs[0]]
    assert store.read_breaker_history("venue", None, 5) == [changes[2], changes[0]]
    assert store.read_breaker_history(None, 3, 1) == [changes[1]]


def test_the_deck_revision_is_the_last_that_touched_the_deck(reopen: Opener) -> None:
    """A pushed group alone does not move it, before and after a restart."""
    store = reopen()
    store.load()
    row = group("a")
    store.commit(Batch(weights=[WeightsDoc(version=1)], touches_deck=True), 1)
    store.commit(Batch(groups={row.id: row}), 2)
    assert (store.load().revision, store.load().deck_revision) == (2, 1)
    store = reopen()
    store.load()
    store.commit(Batch(groups={row.id: row}), 3)
    assert store.load().deck_revision == 1


def test_the_migrations_make_the_tables_the_code_expects(
    request: pytest.FixtureRequest, postgres: str, tmp_path: Path
) -> None:
    """Alembic finds no difference between a migrated database and exporter.schema."""
    del request
    for url in (f"sqlite:///{tmp_path}/deck.db", postgres):
        SqlStore(url).close()
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            different = compare_metadata(MigrationContext.configure(connection), metadata)
        engine.dispose()
        # PostgreSQL has one index more: only a shared store is asked what changed.
        assert [
            d for d in different if not (d[0] == "remove_index" and d[1].name == "ix_push_groups_revision")
        ] == []
