"""Backup and restore: one SQLite file holds everything, whichever database the store is on.

A backup is read in one snapshot while the exporter runs, audited, and only then given its name, so a file of
that name is always whole.  A restore writes into an empty store of either kind, in one transaction; that is
also the way from SQLite to PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection, Engine

from exporter.audit import audit
from exporter.errors import StoreRefused
from exporter.journal import group_fields, newest_groups
from exporter.migrate import current_version, newest_version, upgrade, versions
from exporter.schema import groups, journal, meta, metadata
from exporter.sql_store import SqlStore, want_utf8
from exporter.store_url import read_store_url, shown_url

__all__ = ["backup", "check", "restore"]

_ROWS = 5000
"""Rows read and written at a time."""


def check(url: str) -> list[str]:
    """Audit a store, in use or not; findings one a line.

    Raises:
        StoreRefused: There is none, or it is of another version.
    """
    with _reading(url) as connection:
        return audit(connection)


def backup(url: str, target: Path) -> int:
    """Write a whole copy of the store at `url`, which may be in use, to the new file `target`.

    Returns:
        Number of rows.

    Raises:
        StoreRefused: The store cannot be read, is not sound, or the file is there already.
    """
    if target.exists():
        raise StoreRefused(f"{target} is there already: want a new name, a backup overwrites nothing")
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with _reading(url) as source, _closing(_engine_of(part)) as engine:
            upgrade(engine)
            with engine.begin() as copy:
                rows = _copy(source, copy)
            with engine.connect() as copy:
                _refuse_unsound(audit(copy), url)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except (OSError, sa.exc.SQLAlchemyError) as error:
        raise StoreRefused(f"{target}: no backup was made: {_line(error)}") from error
    finally:
        part.unlink(missing_ok=True)
    return rows


def restore(source: Path, url: str) -> int:
    """Fill the empty store at `url` from a backup, of this version or an older one.

    Returns:
        Number of rows.

    Raises:
        StoreRefused: The file is not a sound backup, or the store is in use or not empty; it is as it was.
    """
    if not source.is_file():
        raise StoreRefused(f"{source}: no such file: want a backup")
    try:
        with _up_to_date(source) as path, _reading(f"sqlite:///{path}") as backed_up:
            # Before the store is opened: that makes one, and nobody asked for an empty deck.
            _refuse_unsound(audit(backed_up), str(source))
            return _fill(url, backed_up)
    except (OSError, sa.exc.SQLAlchemyError) as error:
        raise StoreRefused(f"{source}: nothing was restored: {_line(error)}") from error


def _fill(url: str, backed_up: Connection) -> int:
    """Copy a sound backup into the store; what goes wrong there is said of the store."""
    store = SqlStore(url)
    try:
        with store.engine.begin() as target:
            if target.execute(sa.select(meta.c.revision).with_for_update()).scalar_one() != 0:
                raise StoreRefused(
                    f"{_shown(url)} is not empty: want a new store, a restore overwrites nothing"
                )
            rows = _copy(backed_up, target)
            _refuse_unsound(audit(target), _shown(url))
            return rows
    except (OSError, sa.exc.SQLAlchemyError) as error:
        raise StoreRefused(f"{_shown(url)}: nothing was restored: {_line(error)}") from error
    finally:
        store.close()


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    """A connection that sees one moment of the store, whoever writes meanwhile, and changes nothing."""
    location = read_store_url(url)
    if location.get_backend_name() == "sqlite":
        path = Path(location.database or "")
        if not path.is_file():
            raise StoreRefused(f"{path}: no such file: want a store")
        # Not mode=ro: after a crash the first to open it puts the log in order, and that writes.
        engine = sa.create_engine(f"sqlite:///file:{path}?mode=rw&uri=true")
    else:
        engine = sa.create_engine(location, isolation_level="REPEATABLE READ")
        want_utf8(engine)
    try:
        with _closing(engine), engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            version = MigrationContext.configure(connection).get_current_revision()
            if version != newest_version():
                raise StoreRefused(
                    f"{_shown(url)} has version {version or 'none'}, this program {newest_version()}: "
                    "start the exporter on it once, which brings it up to date"
                )
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreRefused(f"{_shown(url)} cannot be read: {_line(error)}") from error


@contextmanager
def _up_to_date(backed_up: Path) -> Iterator[Path]:
    """A backup as this program's version has it: itself, or a copy that was brought up to date."""
    with _closing(sa.create_engine(f"sqlite:///file:{backed_up}?mode=rw&uri=true")) as engine:
        try:
            older = current_version(engine) in versions()[:-1]
        except sa.exc.SQLAlchemyError as error:
            raise StoreRefused(f"{backed_up} cannot be read: {_line(error)}: want a backup") from error
    if not older:
        yield backed_up
        return
    with TemporaryDirectory(prefix="deckrails-restore-") as directory:
        copy = Path(shutil.copy(backed_up, directory))
        with _closing(_engine_of(copy)) as engine:
            upgrade(engine)
        yield copy


def _copy(source: Connection, target: Connection) -> int:
    """Copy every row; a group that the source has in its journal becomes a row, as every store reads it."""
    copied = 0
    newest = newest_groups(source)
    target.execute(sa.delete(meta))  # the row of an empty store
    for table in metadata.sorted_tables:
        if table is journal:
            continue
        found = source.execution_options(yield_per=_ROWS).execute(sa.select(table))
        for part in found.partitions(_ROWS):
            rows = [dict(row._mapping) for row in part if table is not groups or row.id not in newest]
            copied += _insert(target, table, rows)
    return copied + _insert(
        target, groups, [group_fields(gid, row, revision) for gid, (revision, row) in newest.items() if row]
    )


def _insert(target: Connection, table: sa.Table, rows: list[dict[str, Any]]) -> int:
    if rows:
        target.execute(sa.insert(table), rows)
    return len(rows)


def _engine_of(path: Path) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    return sa.create_engine(f"sqlite:///{path}")


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


def _refuse_unsound(findings: list[str], what: str) -> None:
    if findings:
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        raise StoreRefused(
            f"{_shown(what)} is not sound: {findings[0]}{more}; see `python -m exporter check`"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(url: str) -> str:
    return shown_url(sa.make_url(url)) if "://" in url else url


def _line(error: Exception) -> str:
    inner = getattr(error, "orig", None) or error
    return (str(inner).strip().splitlines() or [type(inner).__name__])[0]
