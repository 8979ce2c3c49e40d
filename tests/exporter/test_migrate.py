from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

import exporter.migrate
from exporter.errors import StoreRefused
from exporter.migrate import newest_version, upgrade, versions


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
    upgrade(engine)
    before = (tmp_path / "deck.db").read_bytes()
    config = Config()
    config.set_main_option("script_location", str(Path(exporter.migrate.__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(CommandError, match="remove the database instead"):
            command.downgrade(config, "base")
    engine.dispose()
    assert (tmp_path / "deck.db").read_bytes() == before
