"""The store audits itself: what must hold between its rows, whatever happened to the process."""

from __future__ import annotations

import math
from itertools import chain, pairwise

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from exporter.documents import read_document
from exporter.errors import ExporterError, StoreRefused
from exporter.journal import newest_groups
from exporter.records import BreakerDoc, EngineDoc, Totals, Trade, WeightsDoc
from exporter.schema import breaker_history, documents, groups, journal, meta, trades, weights
from exporter.textformat import parse_text
from exporter.trades import ZERO_TOTALS, add_trades

__all__ = ["audit"]


def audit(connection: Connection) -> list[str]:
    """Findings, one line each; none means the store is sound.

    Args:
        connection: An open connection; nothing is written.
    """
    return [
        *_database(connection),
        *_revisions(connection),
        *_documents(connection),
        *_totals(connection),
        *_groups(connection),
        *_sequences(connection),
    ]


def _database(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    verdicts = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
    return [] if verdicts == ["ok"] else [f"database: {verdict}" for verdict in verdicts]


def _revisions(connection: Connection) -> list[str]:
    rows = connection.execute(sa.select(meta)).all()
    if len(rows) != 1:
        return [f"deck_meta has {len(rows)} rows: want 1"]
    newest = max(
        connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.revision), 0))).scalar_one()
        for table in (groups, journal, documents, weights)
    )
    findings = []
    if newest > rows[0].revision:
        findings.append(f"a row has revision {newest}, above the store's {rows[0].revision}")
    entries = connection.execute(sa.select(journal.c.seq, journal.c.revision).order_by(journal.c.seq)).all()
    findings += [
        f"the entry {after.seq} of push_journal is of revision {after.revision}, below {before.revision}"
        for before, after in pairwise(entries)
        if after.revision < before.revision
    ]
    return findings


def _totals(connection: Connection) -> list[str]:
    """The totals must equal what the trades add up to."""
    sums: dict[tuple[str, str], Totals] = {}
    for row in connection.execute(sa.select(trades).order_by(trades.c.seq)):
        trade = Trade(**row._mapping)
        key = (trade.engine, trade.strategy)
        sums[key] = add_trades(sums.get(key, ZERO_TOTALS), [trade])
    kept: dict[tuple[str, str], Totals] = {}
    for row in connection.execute(sa.select(documents).where(documents.c.kind == "totals")):
        if row.doc is None:
            continue
        try:
            kept[read_document("totals", row.id, row.id, tuple[str, str])] = read_document(
                "totals", row.id, row.doc, Totals
            )
        except StoreRefused:
            return []  # _documents has said so; sums beside a row that cannot be read say nothing
    findings = []
    for key in sorted(set(sums) | set(kept)):
        want, have = sums.get(key, ZERO_TOTALS), kept.get(key)
        if have is None:
            findings.append(f"{key}: trades without totals")
        elif have.counts != want.counts or have.buckets != want.buckets:
            findings.append(f"{key}: totals count {have.counts}, the trades {want.counts}")
        else:
            findings.extend(
                f"{key}: {field} is {getattr(have, field)!r}, the trades add up to {getattr(want, field)!r}"
                for field in (
                    "volume_usd",
                    "fees_usd",
                    "rebates_usd",
                    "profit_usd",
                    "loss_usd",
                    "pnl_sum_usd",
                )
                if not math.isclose(getattr(have, field), getattr(want, field), rel_tol=1e-9, abs_tol=1e-9)
            )
    return findings


_SHAPES: dict[str, type] = {"engine": EngineDoc, "totals": Totals, "breaker": BreakerDoc, "swept": int}


def _documents(connection: Connection) -> list[str]:
    """Every record must read back, or the next start would be refused."""
    findings = []
    rows = [
        (row.kind, row.id, row.doc, _SHAPES.get(row.kind))
        for row in connection.execute(sa.select(documents).where(documents.c.doc.is_not(None)))
    ]
    rows += [
        ("weights", str(row.version), row.doc, WeightsDoc) for row in connection.execute(sa.select(weights))
    ]
    for kind, key, doc, shape in rows:
        if shape is None:
            findings.append(f"document {key}: the kind {kind} is unknown")
            continue
        try:
            read_document(kind, key, doc, shape)
        except StoreRefused as error:
            findings.append(str(error).partition(": the store was")[0])
    return findings


def _groups(connection: Connection) -> list[str]:
    """Every group must read back: its newest entry in the journal, or its row."""
    try:
        newest = newest_groups(connection)
    except StoreRefused as error:
        return [str(error).partition(": the store was")[0]]
    found = [(gid, row.body) for gid, (_, row) in newest.items() if row is not None]
    rows = connection.execute(sa.select(groups.c.id, groups.c.body).where(groups.c.body.is_not(None)))
    findings = []
    for gid, body in chain(found, (tuple(row) for row in rows if row.id not in newest)):
        try:
            parse_text(body, utf8_names=True)
        except ExporterError as error:
            findings.append(f"group {gid}: {error}")
    return findings


def _sequences(connection: Connection) -> list[str]:
    findings = []
    for table, column in (
        (trades, trades.c.seq),
        (weights, weights.c.version),
        (breaker_history, breaker_history.c.seq),
    ):
        count, newest = connection.execute(
            sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(column), 0))
        ).one()
        if count != newest:
            findings.append(f"{table.name}: {count} rows numbered up to {newest}: one is missing")
    return findings
