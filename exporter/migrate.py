"""Bring a database to the newest version of the tables, or refuse it untouched.

Alembic is loaded only when there is something to migrate: a start finds the tables as they should be nearly
always, and need not pay for it in time and memory.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from exporter.errors import StoreRefused
from exporter.schema import metadata
from exporter.store_url import shown_url

__all__ = ["current_version", "newest_version", "upgrade", "versions"]

_SCRIPTS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x6465636B
"""Any number that is ours: the letters of deck."""


def versions() -> list[str]:
    """Every version this program knows, oldest first: a migration's file has its version in its name."""
    return sorted(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))


def newest_version() -> str:
    """Of the tables, as this program knows them."""
    return versions()[-1]


def _version_of(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def current_version(engine: Engine) -> str | None:
    """Of the tables that are there; None where there are none of ours."""
    with engine.connect() as connection:
        return _version_of(connection)


def upgrade(engine: Engine) -> None:
    """Create the tables or run the migrations that are missing.

    Raises:
        StoreRefused: The database is of a version this code does not know, or holds somebody else's tables.
    """
    shown = shown_url(engine.url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise StoreRefused(
                    f"{engine.url.database} is damaged: {' '.join(str(verdict).split())}; "
                    "restore a backup, the file is untouched"
                )
        current = _version_of(connection)
        tables = set(sa.inspect(connection).get_table_names())
    if current is not None and current not in versions():
        raise StoreRefused(
            f"{shown} has version {current}, newer than the {newest_version()} this program knows; "
            "start the newer program, nothing was touched"
        )
    if current is None and tables & set(metadata.tables):
        raise StoreRefused(f"{shown} has tables named as ours but no version; it was not touched")
    if current != newest_version():
        _migrate(engine)


def _migrate(engine: Engine) -> None:
    from alembic import command  # noqa: PLC0415 - see the top of this file
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Replicas start together; the second waits here and then finds the work done.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            if _version_of(connection) == newest_version():
                return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
