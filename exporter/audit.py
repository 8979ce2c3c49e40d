"""The store audits itself: what must hold between its rows, whatever happened to the process."""

from __future__ import annotations

import math

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from exporter.errors import ExporterError
from exporter.records import Totals, Trade
from exporter.schema import breaker_history, documents, groups, meta, trades, weights
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
        for table in (groups, documents, weights)
    )
    if newest > rows[0].revision:
        return [f"a row has revision {newest}, above the store's {rows[0].revision}"]
    return []


def _totals(connection: Connection) -> list[str]:
    """The totals must equal what the trades add up to."""
    sums: dict[tuple[str, str], Totals] = {}
    for row in connection.execute(sa.select(trades).order_by(trades.c.seq)):
        trade = Trade(**row._mapping)
        key = (trade.engine, trade.strategy)
        sums[key] = add_trades(sums.get(key, ZERO_TOTALS), [trade])
    kept = {
        msgspec.json.decode(row.id, type=tuple[str, str]): msgspec.json.decode(row.doc, type=Totals)
        for row in connection.execute(sa.select(documents).where(documents.c.kind == "totals"))
        if row.doc is not None
    }
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


def _groups(connection: Connection) -> list[str]:
    findings = []
    for row in connection.execute(sa.select(groups.c.id, groups.c.body).where(groups.c.body.is_not(None))):
        try:
            parse_text(row.body, utf8_names=True)
        except ExporterError as error:
            findings.append(f"group {row.id}: {error}")
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
