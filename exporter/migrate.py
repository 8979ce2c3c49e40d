"""Bring a database to the newest version of the tables, or refuse it untouched."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine

from exporter.errors import StoreRefused
from exporter.schema import metadata

__all__ = ["newest_version", "upgrade"]


_UPGRADE_LOCK = 0x6465636B
"""Any number that is ours: the letters of deck."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def newest_version() -> str:
    """Of the tables, as this program knows them."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def upgrade(engine: Engine) -> None:
    """Create the tables or run the migrations that are missing.

    Raises:
        StoreRefused: The database is of a version this code does not know, or holds somebody else's tables.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise StoreRefused(
                    f"{engine.url.database} is damaged: {' '.join(str(verdict).split())}; "
                    "restore a backup, the file is untouched"
                )
        current = MigrationContext.configure(connection).get_current_revision()
        tables = set(sa.inspect(connection).get_table_names())
    if current is not None and current not in known:
        raise StoreRefused(
            f"{engine.url.render_as_string(hide_password=True)} has version {current}, newer than the "
            f"{scripts.get_current_head()} this program knows; start the newer program, nothing was touched"
        )
    if current is None and tables & set(metadata.tables):
        raise StoreRefused(
            f"{engine.url.render_as_string(hide_password=True)} has tables named as ours but no version; "
            "it was not touched"
        )
    if current == scripts.get_current_head():
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Replicas start together; the second waits here and then finds the work done.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            if MigrationContext.configure(connection).get_current_revision() == scripts.get_current_head():
                return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
