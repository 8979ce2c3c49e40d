"""Where SQLite keeps pushed groups first: a journal, one compressed row a commit.

Sixteen groups of one commit would be sixteen rows on as many pages, and each page goes to the write-ahead log
whole; as one entry of the journal they are one page.  When the journal is longer than its bound, its oldest
entries go, and those groups that no younger entry holds get a row of their own in `push_groups`.  A group
that is pushed again within the bound costs that table nothing.

What a group is: its newest entry here; without one, its row in `push_groups`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cramjam
import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from exporter.errors import StoreRefused
from exporter.schema import groups, journal
from exporter.statements import Statement, upsert
from exporter.store import GroupRow

__all__ = ["JOURNAL_BYTES", "Journal", "fold", "group_fields", "newest_groups"]

JOURNAL_BYTES = 4 * 1024 * 1024
"""Bound of the journal, compressed (JC): some 25,000 pushes of 14 samples.  A start reads it whole, in less
than half a second."""
_ENTRY_BYTES = 1024 * 1024
"""Text in one entry: a commit of many large groups makes several."""
_SLACK = 128
"""This part of the bound more than is needed is cleared at once, lest each commit clear a little."""
_MANY_ROWS = 64
"""With so many rows to write no more is cleared than must be (JC): no commit shall wait long for others."""
_LEAST = 64
"""Bytes a group counts for beside its text."""
_DROP = sa.delete(groups).where(groups.c.id == sa.bindparam("id"))


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One row of the journal: what a commit, or a part of it, did to groups."""

    rows: list[GroupRow]
    removed: list[str]

    @property
    def ids(self) -> tuple[str, ...]:
        """The groups it is about."""
        return (*[row.id for row in self.rows], *self.removed)

    def changes(self) -> dict[str, GroupRow | None]:
        """What they became; None is a removed one."""
        return {**{row.id: row for row in self.rows}, **dict.fromkeys(self.removed)}


@dataclass(frozen=True, slots=True)
class _Place:
    """What memory keeps of an entry."""

    seq: int
    size: int
    ids: tuple[str, ...]


class Journal:
    """The journal of one open store.

    Args:
        limit: Its bound in bytes; entries beyond it are cleared away by the next `write`.
    """

    def __init__(self, dialect: sa.Dialect, limit: int = JOURNAL_BYTES) -> None:
        self._limit = limit
        self._append = Statement(sa.insert(journal), dialect)
        self._put = Statement(upsert(dialect, groups), dialect)
        self._drop = Statement(_DROP, dialect)
        self._forget = Statement(sa.delete(journal).where(journal.c.seq <= sa.bindparam("last")), dialect)
        self._places: deque[_Place] = deque()
        self._size = 0
        self._at: dict[str, int] = {}
        self._seq: int | None = None
        self._written: list[_Place] = []
        self._cleared = 0

    def resume(self, connection: Connection) -> dict[str, GroupRow | None]:
        """Go on with what is there, and what it says of groups: their newest entry, None for a removed one.

        Raises:
            StoreRefused: An entry cannot be read.
        """
        places: list[_Place] = []
        found: dict[str, GroupRow | None] = {}
        known: dict[str, str] = {}
        for seq, _, body in _read(connection):
            entry = _unpack(seq, body)
            # One string for each id, however many entries name it.
            places.append(_Place(seq, len(body), tuple(known.setdefault(gid, gid) for gid in entry.ids)))
            found.update(entry.changes())
        self._places.clear()
        self._at.clear()
        self._size = self._seq = 0
        for place in places:
            self._keep(place)
        return found

    def write(self, connection: Connection, changes: Mapping[str, GroupRow | None], revision: int) -> None:
        """Append what a commit does to groups, in its transaction; None removes one.

        It counts after `committed`; a commit that fails is forgotten by the next `write`.
        """
        if self._seq is None:
            self.resume(connection)
        self._written, self._cleared = [], 0
        rows: list[Mapping[str, object]] = []
        for seq, entry in enumerate(_entries(changes), (self._seq or 0) + 1):
            body = _pack(entry)
            self._written.append(_Place(seq, len(body), entry.ids))
            rows.append({"seq": seq, "revision": revision, "body": body})
        self._append.run(connection, rows)
        if self._size + sum(place.size for place in self._written) > self._limit:
            self._clear(connection, changes)

    def committed(self) -> None:
        """What was written last is there to stay."""
        for _ in range(self._cleared):
            place = self._places.popleft()
            self._size -= place.size
            for gid in place.ids:
                if self._at[gid] == place.seq:
                    del self._at[gid]
        for place in self._written:
            self._keep(place)
        self._written, self._cleared = [], 0

    def _keep(self, place: _Place) -> None:
        self._places.append(place)
        self._size += place.size
        self._at.update(dict.fromkeys(place.ids, place.seq))
        self._seq = place.seq

    def _clear(self, connection: Connection, younger: Mapping[str, GroupRow | None]) -> None:
        """Give the oldest groups rows of their own until the journal is a little below its bound."""
        slack = self._limit // _SLACK
        over = self._size + sum(place.size for place in self._written) - self._limit + slack
        needed: dict[int, set[str]] = {}
        last = rows = 0
        for place in self._places:
            if over <= 0 or (over <= slack and rows >= _MANY_ROWS):
                break
            over -= place.size
            last = place.seq
            self._cleared += 1
            needed[last] = {gid for gid in place.ids if self._at[gid] == last and gid not in younger}
            rows += len(needed[last])
        put: list[Mapping[str, object]] = []
        drop: list[Mapping[str, object]] = []
        if any(needed.values()):
            for seq, revision, body in _read(connection, last):
                ids = needed[seq]
                if not ids:
                    continue
                entry = _unpack(seq, body)
                put += [group_fields(row.id, row, revision) for row in entry.rows if row.id in ids]
                drop += [{"id": gid} for gid in entry.removed if gid in ids]
        self._put.run(connection, put)
        self._drop.run(connection, drop)
        self._forget.run(connection, [{"last": last}])


def fold(connection: Connection) -> None:
    """Give every group of the journal a row of its own, and empty the journal.

    Raises:
        StoreRefused: An entry cannot be read; nothing was changed.
    """
    found = newest_groups(connection)
    if not found:
        return
    put = [group_fields(gid, row, revision) for gid, (revision, row) in found.items() if row is not None]
    drop = [{"id": gid} for gid, (_, row) in found.items() if row is None]
    dialect = connection.dialect
    Statement(upsert(dialect, groups), dialect).run(connection, put)
    Statement(_DROP, dialect).run(connection, drop)
    connection.execute(sa.delete(journal))


def newest_groups(connection: Connection) -> dict[str, tuple[int, GroupRow | None]]:
    """The newest entry of each group in the journal, with its revision; None is a removed group.

    Raises:
        StoreRefused: An entry cannot be read.
    """
    found: dict[str, tuple[int, GroupRow | None]] = {}
    for seq, revision, body in _read(connection):
        found.update({gid: (revision, row) for gid, row in _unpack(seq, body).changes().items()})
    return found


def group_fields(group_id: str, row: GroupRow | None, revision: int) -> dict[str, object]:
    """A group as a row of `push_groups`."""
    return {
        "id": group_id,
        "body": row.body if row else None,
        "native": row.native if row else None,
        "push_time": row.push_time if row else 0.0,
        "failure_time": row.failure_time if row else 0.0,
        "ttl_seconds": row.ttl_seconds if row else None,
        "revision": revision,
    }


def _entries(changes: Mapping[str, GroupRow | None]) -> Iterator[Entry]:
    rows: list[GroupRow] = []
    removed: list[str] = []
    size = 0
    for gid, row in changes.items():
        if row is None:
            removed.append(gid)
            size += _LEAST
        else:
            rows.append(row)
            size += _LEAST + len(row.body) + len(row.native or b"")
        if size >= _ENTRY_BYTES:
            yield Entry(rows, removed)
            rows, removed, size = [], [], 0
    if rows or removed:
        yield Entry(rows, removed)


def _read(connection: Connection, last: int | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Entries in the order they were written, up to the one of number `last`: number, revision, content."""
    statement = sa.select(journal.c.seq, journal.c.revision, journal.c.body).order_by(journal.c.seq)
    if last is not None:
        statement = statement.where(journal.c.seq <= last)
    for row in connection.execute(statement):
        yield row.seq, row.revision, row.body


def _pack(entry: Entry) -> bytes:
    return bytes(cramjam.snappy.compress_raw(msgspec.msgpack.encode(entry)))


def _unpack(seq: int, body: bytes) -> Entry:
    try:
        return msgspec.msgpack.decode(bytes(cramjam.snappy.decompress_raw(body)), type=Entry)
    except (cramjam.DecompressionError, msgspec.MsgspecError) as error:
        raise StoreRefused(
            f"the entry {seq} of push_journal cannot be read: {error}: the store was not touched; "
            "go back to a backup"
        ) from None
