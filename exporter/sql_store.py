"""The store on SQLite or PostgreSQL: SQLAlchemy Core, one transaction a batch.

SQLite runs in WAL mode and is locked to one process; `synchronous=FULL` syncs the log before a commit
returns.  On PostgreSQL several processes may share the database: `begin` takes the row lock of `deck_meta`,
so commits of all processes stand in one order.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from exporter.documents import read_document, write_document
from exporter.errors import CommitFailed, ReadFailed, StoreRefused, Unstorable
from exporter.journal import JOURNAL_BYTES, Journal, group_fields
from exporter.migrate import upgrade
from exporter.records import BreakerChange, BreakerDoc, EngineDoc, Totals, Trade, WeightsDoc
from exporter.schema import breaker_history, documents, groups, meta, trades, weights
from exporter.statements import Statement, upsert
from exporter.store import KEPT_COMMITS, Batch, GroupRow, Snapshot, TradeKey, TradeQuery
from exporter.store_url import read_store_url, shown_url

__all__ = ["SqlStore", "want_utf8"]

_BUSY_SECONDS = 10
_CHECKPOINT_PAGES = 4000
"""16 MiB of log between checkpoints: one long commit in a thousand instead of one in a hundred (JC)."""
_CACHE_KIB = 8 * 1024
_LOOKUP = 500
_LOOK_COMMITS = 64
"""After so many commits the disk's room is looked at (JC): the log grows by some hundred kB meanwhile."""
_POSTGRES_OPTIONS = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=10s"
"""A replica that hangs while it holds the commit lock loses it; the others answer 503 until then."""
_LIMIT_EXCEEDED = "54"
"""SQLSTATE's class of what PostgreSQL has no place for, a key too long for its index; a full disk is 53."""
_POSTGRES_TIMEOUTS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}
"""Of libpq; a database that went away without a word is noticed in seconds."""


class SqlStore:
    """Opens, and if need be creates or upgrades, the store at a SQLAlchemy URL.

    Args:
        url: `sqlite:///path` or a PostgreSQL URL.
        power_safe: A commit survives a power cut, not only the end of this process.
        kept_commits: For how many commits a removed group is told of.
        journal_bytes: How long the journal of pushed groups may be, on SQLite.

    Raises:
        StoreRefused: The file is no database, is damaged, is of a newer version, or another process has it.
    """

    def __init__(
        self,
        url: str,
        *,
        power_safe: bool = True,
        kept_commits: int = KEPT_COMMITS,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        self._url = read_store_url(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._lock: IO[bytes] | None = None
        if self._sqlite:
            self._lock = _lock_file(self._url)
        try:
            self._engine = self._connect(power_safe=power_safe)
            upgrade(self._engine)
            self._writer = self._engine.connect()
        except (sa.exc.DatabaseError, sa.exc.OperationalError) as error:
            self._unlock()
            raise StoreRefused(f"{self._shown}: {_driver_line(error)}: the store was not touched") from error
        except StoreRefused:
            self._unlock()
            raise
        dialect = self._engine.dialect
        self._driver_error: type[Exception] = dialect.loaded_dbapi.Error
        self._data_error: type[Exception] = dialect.loaded_dbapi.DataError
        self._taken_error: type[Exception] = dialect.loaded_dbapi.IntegrityError
        self._journal = Journal(dialect, journal_bytes) if self._sqlite else None
        self._put_group = Statement(upsert(dialect, groups), dialect)
        self._put_document = Statement(upsert(dialect, documents), dialect)
        self._put_trade = Statement(sa.insert(trades), dialect)
        self._put_weights = Statement(sa.insert(weights), dialect)
        self._put_history = Statement(sa.insert(breaker_history), dialect)
        self._put_meta = Statement(
            sa.update(meta).values(
                revision=sa.bindparam("revision"), deck_revision=sa.bindparam("deck_revision")
            ),
            dialect,
        )
        self._begun: sa.Transaction | None = None
        self._crowded = False  # the log has taken, or soon will, all the room there is
        self._in_doubt = False  # what is there may not go on from what was read
        self._deck_revision = 0
        self._kept_commits = kept_commits
        self._removed_at, self._swept_to = 0, -1  # an earlier process may have left something to sweep

    @property
    def _shown(self) -> str:
        return shown_url(self._url)

    def _connect(self, *, power_safe: bool) -> Engine:
        if not self._sqlite:
            options = _POSTGRES_OPTIONS if power_safe else f"{_POSTGRES_OPTIONS} -c synchronous_commit=off"
            shared = sa.create_engine(
                self._url, connect_args={**_POSTGRES_TIMEOUTS, "options": options}, pool_pre_ping=True
            )
            want_utf8(shared)
            if power_safe:
                sa.event.listen(shared, "connect", _wait_for_the_disk)
            return shared
        engine = sa.create_engine(
            self._url,
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        )

        @sa.event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            # Transactions are begun by us: the driver's own begin comes late, only before the first write.
            # A plain BEGIN is enough: whoever has the lock file is the only writer.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            cursor.close()

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        return engine

    @property
    def engine(self) -> Engine:
        """For what is done to a whole store at once: see exporter.backup."""
        return self._engine

    @property
    def shared(self) -> bool:
        """PostgreSQL may have other writers."""
        return not self._sqlite

    def load(self) -> Snapshot:
        """Everything, after clearing removed rows away."""
        with self._engine.begin() as connection:
            if self._sqlite:
                connection.execute(sa.delete(groups).where(groups.c.body.is_(None)))
                connection.execute(sa.delete(documents).where(documents.c.doc.is_(None)))
            snapshot = self._read_since(connection, -1)
            if self._journal is not None:
                found = {**snapshot.groups, **self._journal.resume(connection)}
                snapshot.groups = {gid: row for gid, row in found.items() if row is not None}
        return snapshot

    def begin(self, seen: int, wanted: Collection[TradeKey]) -> tuple[Snapshot, dict[TradeKey, Trade]]:
        """Lock, catch up, and look the trades up."""
        try:
            self._begun = self._start()
            if not self.shared:
                return Snapshot(revision=seen), self._find_trades(self._writer, wanted)
            if self._in_doubt:
                # Without the lock: what is committed meanwhile is read by whoever begins again.
                snapshot = self._read_since(self._writer, -1)
            else:
                self._writer.execute(sa.select(meta.c.revision).with_for_update()).one()
                snapshot = self._read_since(self._writer, seen)
            if snapshot.whole:
                self.abandon()
                self._in_doubt = False
                return snapshot, {}
            return snapshot, self._find_trades(self._writer, wanted)
        except BaseException as error:
            self.abandon()
            if isinstance(error, (sa.exc.SQLAlchemyError, self._driver_error)):
                raise self._failure(error) from error
            raise

    def abandon(self) -> None:
        """Roll back what was begun."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        try:
            begun.rollback()
        except sa.exc.SQLAlchemyError:
            self._writer.invalidate()

    def commit(self, batch: Batch, revision: int) -> None:
        """Write the batch in one transaction."""
        try:
            if self._begun is None:
                self._begun = self._start()
            self._write(batch, revision)
            swept_to = self._sweep(revision)
            self._begun.commit()
            self._begun = None
        except BaseException as error:
            self._crowded = self._sqlite
            self.abandon()  # whatever it was: the next commit must not take this one along
            if isinstance(error, (sa.exc.SQLAlchemyError, self._driver_error)):
                raise self._failure(error) from error
            if isinstance(error, StoreRefused):  # an old entry of the journal cannot be read any more
                raise CommitFailed(str(error)) from error
            raise
        self._crowded = self._sqlite and revision % _LOOK_COMMITS == 0 and _is_crowded(self._url)
        if self._journal is not None:
            self._journal.committed()
        if batch.touches_deck:
            self._deck_revision = revision
        if None in batch.groups.values() or None in batch.engines.values():
            self._removed_at = revision
        self._swept_to = swept_to

    def _start(self) -> sa.Transaction:
        connection = self._connected()
        if self._crowded:
            self._crowded = not _empty_log(connection)
        return connection.begin()

    def _failure(self, error: Exception) -> CommitFailed:
        inner = getattr(error, "orig", None) or error
        if isinstance(inner, self._taken_error):
            self._in_doubt = True  # what was planned on is not what is there
        limit = (getattr(inner, "sqlstate", None) or "").startswith(_LIMIT_EXCEEDED)
        of_data = limit or isinstance(inner, self._data_error)
        return (Unstorable if of_data else CommitFailed)(_driver_line(error))

    def _connected(self) -> Connection:
        """The writer's connection, a new one where the last was lost: the database may be back by now.

        It may be back without its last commits, or another in its place, with as many commits or more.
        """
        if self._writer.closed or self._writer.invalidated:
            self._in_doubt = True
            self._writer.close()
            self._writer = self._engine.connect()
        return self._writer

    def _write(self, batch: Batch, revision: int) -> None:
        connection = self._writer
        deck_revision = revision if batch.touches_deck else self._deck_revision
        self._put_meta.run(connection, [{"revision": revision, "deck_revision": deck_revision}])
        if self._journal is not None:
            self._journal.write(connection, batch.groups, revision)
        else:
            self._put_group.run(
                connection, [group_fields(gid, row, revision) for gid, row in batch.groups.items()]
            )
        self._put_document.run(connection, list(_document_rows(batch, revision)))
        self._put_trade.run(connection, [msgspec.structs.asdict(trade) for trade in batch.trades])
        self._put_weights.run(
            connection,
            [{"version": w.version, "doc": write_document(w), "revision": revision} for w in batch.weights],
        )
        self._put_history.run(
            connection,
            [{"seq": h.seq, "breaker": h.breaker, "doc": write_document(h)} for h in batch.history],
        )

    def _sweep(self, revision: int) -> int:
        """Clear away what was removed long ago, now and then; up to which revision that is done.

        The note it leaves is for whoever has not seen those removals: see `_read_since`.
        """
        old = revision - self._kept_commits
        if old < 0 or self._swept_to >= self._removed_at or revision % max(self._kept_commits // 10, 1):
            return self._swept_to
        cleared = 0
        kept = [(documents, documents.c.doc)]
        if self.shared:  # elsewhere a removed group leaves no row: see exporter.journal
            kept.append((groups, groups.c.body))
        for table, content in kept:
            gone = sa.delete(table).where(content.is_(None), table.c.revision <= old)
            cleared += self._writer.execute(gone).rowcount
        if cleared:
            self._put_document.run(
                self._writer, [{"kind": "swept", "id": "swept", "doc": str(old), "revision": revision}]
            )
        return old

    def _read_since(self, connection: Connection, seen: int) -> Snapshot:
        snapshot = Snapshot()
        snapshot.revision, snapshot.deck_revision = connection.execute(
            sa.select(meta.c.revision, meta.c.deck_revision)
        ).one()
        self._deck_revision = snapshot.deck_revision
        if snapshot.revision == seen:
            return snapshot
        swept = connection.execute(sa.select(documents.c.doc).where(documents.c.kind == "swept")).scalar()
        if seen < int(swept or 0) or seen > snapshot.revision:
            seen = -1
        if seen < 0:
            snapshot.whole = True
            self._removed_at, self._swept_to = 0, -1
        # In one order for all replicas: where two groups contradict each other, the older stays.
        later = sa.select(groups).where(groups.c.revision > seen).order_by(groups.c.revision, groups.c.id)
        for row in connection.execute(later):
            snapshot.groups[row.id] = (
                None
                if row.body is None
                else GroupRow(row.id, row.body, row.native, row.push_time, row.failure_time, row.ttl_seconds)
            )
        for row in connection.execute(sa.select(documents).where(documents.c.revision > seen)):
            _take_document(snapshot, row.kind, row.id, row.doc)
        newest = connection.execute(
            sa.select(weights.c.doc)
            .where(weights.c.revision > seen)
            .order_by(weights.c.version.desc())
            .limit(1)
        ).scalar()
        if newest is not None:
            snapshot.weights = read_document("weights", "newest", newest, WeightsDoc)
        snapshot.trade_seq = connection.execute(sa.select(sa.func.max(trades.c.seq))).scalar() or 0
        snapshot.history_seq = connection.execute(sa.select(sa.func.max(breaker_history.c.seq))).scalar() or 0
        return snapshot

    def _find_trades(self, connection: Connection, wanted: Collection[TradeKey]) -> dict[TradeKey, Trade]:
        by_engine: dict[str, list[str]] = {}
        for engine, trade_id in wanted:
            by_engine.setdefault(engine, []).append(trade_id)
        found: dict[TradeKey, Trade] = {}
        for engine, ids in by_engine.items():
            for start in range(0, len(ids), _LOOKUP):
                some = ids[start : start + _LOOKUP]
                for row in connection.execute(
                    sa.select(trades).where(trades.c.engine == engine, trades.c.trade_id.in_(some))
                ):
                    trade = Trade(**row._mapping)
                    found[trade.engine, trade.trade_id] = trade
        return found

    def newest_revision(self) -> int:
        """Number of the last commit, of any process."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(meta.c.revision)).scalar_one())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise ReadFailed(_driver_line(error)) from error

    def read_trades(self, query: TradeQuery) -> list[Trade]:
        """Trades in order of arrival."""
        statement = (
            sa.select(trades).where(trades.c.seq > query.after).order_by(trades.c.seq).limit(query.limit)
        )
        if query.engine is not None:
            statement = statement.where(trades.c.engine == query.engine)
        if query.strategy is not None:
            statement = statement.where(trades.c.strategy == query.strategy)
        if query.since is not None:
            statement = statement.where(trades.c.ts >= query.since)
        if query.until is not None:
            statement = statement.where(trades.c.ts < query.until)
        with self._reading() as connection:
            return [Trade(**row._mapping) for row in connection.execute(statement)]

    def read_weights(self, before: int | None, limit: int) -> list[WeightsDoc]:
        """Versions, newest first."""
        statement = sa.select(weights.c.doc).order_by(weights.c.version.desc()).limit(limit)
        if before is not None:
            statement = statement.where(weights.c.version < before)
        with self._reading() as connection:
            return [
                read_document("weights", "history", doc, WeightsDoc) for doc in connection.scalars(statement)
            ]

    def read_breaker_history(
        self, breaker: str | None, before: int | None, limit: int
    ) -> list[BreakerChange]:
        """Changes, newest first."""
        statement = sa.select(breaker_history.c.doc).order_by(breaker_history.c.seq.desc()).limit(limit)
        if breaker is not None:
            statement = statement.where(breaker_history.c.breaker == breaker)
        if before is not None:
            statement = statement.where(breaker_history.c.seq < before)
        with self._reading() as connection:
            return [
                read_document("breaker", "history", doc, BreakerChange)
                for doc in connection.scalars(statement)
            ]

    def check(self) -> list[str]:
        """Audit; see exporter.audit."""
        from exporter.audit import audit  # noqa: PLC0415 - the service itself never needs it

        with self._engine.connect() as connection:
            return audit(connection)

    def close(self) -> None:
        """Close all connections and let go of the lock."""
        self.abandon()
        self._writer.close()
        self._engine.dispose()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _is_crowded(url: sa.URL) -> bool:
    """Whether SQLite's log could soon not be moved any more: that needs as much room again as it has."""
    log = Path(f"{url.database}-wal")
    try:
        room = os.statvfs(log.parent)
        return room.f_bavail * room.f_frsize < 2 * log.stat().st_size
    except OSError:  # there is no log yet
        return False


def _empty_log(connection: Connection) -> bool:
    """Move SQLite's log into the database, whatever its length, and give its room back; whether that went.

    By itself it does so after 16 MiB only, which a small disk does not have.  It does not wait for readers.
    """
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA busy_timeout=0")
        busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # no room for that either: the commit to come says so
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        cursor.close()
    return not busy


def want_utf8(engine: Engine) -> None:
    """Let connections to a PostgreSQL database of another encoding raise StoreRefused.

    SQL_ASCII gives bytes for text, so even the driver's first question fails; others lack letters of pushes.
    """

    @sa.event.listens_for(engine, "do_connect")
    def _connect(dialect: sa.Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        connection: Any = dialect.connect(*arguments, **options)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreRefused(
                f"{shown_url(engine.url)} has the encoding {encoding}: "
                "want a database made with ENCODING 'UTF8'; nothing was touched"
            )
        return connection


def _wait_for_the_disk(connection: Any, _record: Any) -> None:
    """Let commits be durable when they return, whatever the server, the database or the role has set."""
    with connection.cursor() as cursor:
        # remote_apply waits for more than that, so it stays.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
        )
    connection.commit()


def _lock_file(url: sa.URL) -> IO[bytes] | None:
    if not url.database or url.database == ":memory:":
        raise StoreRefused("an in-memory database keeps nothing: want sqlite:///path/to/deck.db")
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise StoreRefused(
            f"DECK_STORE_URL is {shown_url(url)}, which cannot be made there: {error.strerror}: "
            "want a directory that can be written to"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreRefused(f"{path} is in use by another exporter; on SQLite there can be one") from None
    return lock


def _document_rows(batch: Batch, revision: int) -> Iterable[dict[str, Any]]:
    def row(kind: str, key: object, doc: object) -> dict[str, Any]:
        return {
            "kind": kind,
            "id": msgspec.json.encode(key).decode(),
            "doc": None if doc is None else write_document(doc),
            "revision": revision,
        }

    yield from (row("engine", name, doc) for name, doc in batch.engines.items())
    yield from (row("totals", key, doc) for key, doc in batch.totals.items())
    yield from (row("breaker", key, doc) for key, doc in batch.breakers.items())


def _take_document(snapshot: Snapshot, kind: str, key: str, doc: str | None) -> None:
    if kind == "engine":
        name = read_document(kind, key, key, str)
        snapshot.engines[name] = None if doc is None else read_document(kind, key, doc, EngineDoc)
    elif kind == "totals" and doc is not None:
        snapshot.totals[read_document(kind, key, key, tuple[str, str])] = read_document(
            kind, key, doc, Totals
        )
    elif kind == "breaker" and doc is not None:
        snapshot.breakers[read_document(kind, key, key, tuple[str, str])] = read_document(
            kind, key, doc, BreakerDoc
        )


def _driver_line(error: Exception) -> str:
    """What the driver said, without the statement and its values."""
    inner = getattr(error, "orig", None) or error
    return str(inner).strip().splitlines()[0] if str(inner).strip() else type(inner).__name__
