from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from msgspec import structs

import exporter.migrate
from exporter.errors import StoreRefused
from exporter.migrate import newest_version, upgrade, versions
from exporter.sql_store import SqlStore
from exporter.store import Batch, GroupRow


def migrate(engine: sa.Engine, way: Callable[[Config, str], None], version: str) -> None:
    """As an operator would with Alembic's own commands."""
    config = Config()
    config.set_main_option("script_location", str(Path(exporter.migrate.__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        way(config, version)
        connection.commit()


def test_file_names_tell_what_alembic_finds() -> None:
    """The versions read from file names are Alembic's, in its order, with one head."""
    config = Config()
    config.set_main_option("script_location", str(Path(exporter.migrate.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert versions() == [script.revision for script in scripts.walk_revisions()][::-1]
    assert scripts.get_heads() == [newest_version()]


def test_a_second_upgrade_changes_nothing(tmp_path: Path) -> None:
    """The tables are made once; afterwards the database is left as it is."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/deck.db")
    upgrade(engine)
    before = (tmp_path / "deck.db").read_bytes()
    upgrade(engine)
    engine.dispose()
    assert (tmp_path / "deck.db").read_bytes() == before


def test_somebody_elses_tables_are_refused(tmp_path: Path) -> None:
    """A table of a name of ours without a version is not ours."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/deck.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE trades (id INTEGER)")
    before = (tmp_path / "deck.db").read_bytes()
    with pytest.raises(StoreRefused, match="tables named as ours"):
        upgrade(engine)
    engine.dispose()
    assert (tmp_path / "deck.db").read_bytes() == before


def test_there_is_no_way_back_behind_the_first_version(tmp_path: Path) -> None:
    """Alembic's own error, in a sentence that says what to do; not a byte of the database changes."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/deck.db")
    migrate(engine, command.upgrade, "0001")
    before = (tmp_path / "deck.db").read_bytes()
    with pytest.raises(CommandError, match="remove the database instead"):
        migrate(engine, command.downgrade, "base")
    engine.dispose()
    assert (tmp_path / "deck.db").read_bytes() == before


def test_a_program_of_the_first_version_finds_every_group(tmp_path: Path) -> None:
    """On the way back to 0001 the journal's groups become rows; on the way up again nothing is lost."""
    url = f"sqlite:///{tmp_path}/deck.db"
    store = SqlStore(url)
    kept, changed, gone = (GroupRow(f'[["job","{name}"]]', b"m 1\n", None, 1.0, 0.0, None) for name in "abc")
    newer = GroupRow(changed.id, b"m 2\n", b"\x00", 2.0, 3.0, 60.0)
    store.commit(Batch(groups={row.id: row for row in (kept, changed, gone)}), 1)
    store.commit(Batch(groups={changed.id: newer, gone.id: None}), 2)
    store.close()
    engine = sa.create_engine(url)
    migrate(engine, command.downgrade, "0001")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM push_groups ORDER BY id").all()
        assert sa.inspect(connection).has_table("push_journal") is False
    assert rows == [(*structs.astuple(kept), 1), (*structs.astuple(newer), 2)]
    engine.dispose()
    store = SqlStore(url)
    assert store.load().groups == {kept.id: kept, changed.id: newer}
    store.close()
