"""Statements that are run for every commit, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

__all__ = ["Statement", "upsert"]


class Statement:
    """A Core statement compiled once, run for many rows without going through the compiler again."""

    def __init__(self, statement: sa.ClauseElement, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        order = getattr(compiled, "positiontup", None)
        self._take: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None = None
        if order:
            self._take = itemgetter(*order) if len(order) > 1 else lambda row: (row[order[0]],)

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each row; the driver's own exceptions come through."""
        if not rows:
            return
        # The driver's cursor: through SQLAlchemy the same call costs more than the rows of a small batch.
        cursor = connection.connection.cursor()
        try:
            if self._take is None:
                cursor.executemany(self._sql, rows)
            else:
                cursor.executemany(self._sql, list(map(self._take, rows)))
        finally:
            cursor.close()


def upsert(dialect: sa.Dialect, table: sa.Table) -> sa.Insert:
    """Insert rows, or give those that are there by their primary key all other columns anew."""
    make: Any = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    insert = make(table)
    keys = [column.name for column in table.primary_key]
    statement: sa.Insert = insert.on_conflict_do_update(
        index_elements=keys,
        set_={column.name: insert.excluded[column.name] for column in table.c if column.name not in keys},
    )
    return statement
