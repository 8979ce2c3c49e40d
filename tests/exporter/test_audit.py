from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from exporter.records import WeightsDoc
from exporter.sql_store import SqlStore
from exporter.store import Batch, GroupRow
from tests.ports.test_store import trade, with_totals


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound store with something of everything."""
    path = tmp_path / "deck.db"
    store = SqlStore(f"sqlite:///{path}", journal_bytes=0)
    store.load()
    old, young = (GroupRow(f'[["job","{n}"]]', b"# TYPE m gauge\nm 1\n", None, 1.0, 0.0, None) for n in "ab")
    trades = (trade(1, pnl_usd=1.5), trade(2, pnl_usd=-0.5), trade(3))
    store.commit(with_totals(*trades, groups={old.id: old}, weights=[WeightsDoc(version=1)]), 1)
    # With no room in the journal the older group has a row of its own now, the younger is in the journal.
    store.commit(Batch(groups={young.id: young}), 2)
    assert store.check() == []
    store.close()
    return path


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM trades WHERE seq = 2", "totals count"),
        ("UPDATE trades SET pnl_usd = 2.5 WHERE seq = 1", "profit_usd is 1.5, the trades add up to 2.5"),
        ("DELETE FROM deck_documents WHERE kind = 'totals'", "trades without totals"),
        ("UPDATE push_groups SET body = CAST('m' AS BLOB)", "unexpected end of input stream"),
        ("UPDATE push_groups SET revision = 99", "a row has revision 99, above the store's 2"),
        ("UPDATE push_journal SET revision = 99", "a row has revision 99, above the store's 2"),
        ("UPDATE push_journal SET body = CAST('m' AS BLOB)", "the entry 2 of push_journal cannot be read"),
        (
            "INSERT INTO push_journal SELECT 3, 1, body FROM push_journal",
            "the entry 3 of push_journal is of revision 1, below 2",
        ),
        ("UPDATE weights SET version = 2", "weights: 1 rows numbered up to 2: one is missing"),
        (
            'UPDATE deck_documents SET doc = replace(doc, \'"volume_usd":\', \'"volume_usd": null,"x":\') '
            "WHERE kind = 'totals'",
            "the totals document",
        ),
        ("UPDATE weights SET doc = '{'", "the weights document 1 cannot be read"),
        ("UPDATE deck_documents SET kind = 'odd' WHERE kind = 'totals'", "the kind odd is unknown"),
        ("DELETE FROM deck_meta", "deck_meta has 0 rows: want 1"),
    ],
)
def test_what_does_not_add_up_is_found(path: Path, damage: str, finding: str) -> None:
    """Each promise between the rows has its own line when it is broken."""
    store = SqlStore(f"sqlite:///{path}")
    with store.engine.begin() as connection:
        connection.execute(sa.text(damage))
    found = store.check()
    store.close()
    assert any(finding in line for line in found), found
