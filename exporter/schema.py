"""Tables of the store, as the newest migration leaves them; a test holds the two equal.

Every row that memory mirrors carries the revision of the commit that wrote it, so that a second process on
the same database can ask what changed since the one it knows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

__all__ = ["breaker_history", "documents", "groups", "journal", "meta", "metadata", "trades", "weights"]

metadata = MetaData()

meta = Table(
    "deck_meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("deck_revision", BigInteger, nullable=False),
    comment="One row; locked by whoever commits.",
)

groups = Table(
    "push_groups",
    metadata,
    Column("id", Text, primary_key=True),
    # A removed group stays as a row without body, so that others see it go; see SqlStore._sweep.
    Column("body", LargeBinary),
    Column("native", LargeBinary),
    Column("push_time", Double, nullable=False),
    Column("failure_time", Double, nullable=False),
    Column("ttl_seconds", Double),
    Column("revision", BigInteger, nullable=False),
)

journal = Table(
    "push_journal",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    comment="What push_groups is to be told later, see exporter.journal; stays empty on PostgreSQL.",
)

documents = Table(
    "deck_documents",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    # Null for a removed one, as above.
    Column("doc", Text),
    Column("revision", BigInteger, nullable=False, index=True),
)

trades = Table(
    "trades",
    metadata,
    Column("engine", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("ts", Double, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("qty", Double, nullable=False),
    Column("price", Double, nullable=False),
    Column("fee_usd", Double, nullable=False),
    Column("pnl_usd", Double),
    Index("trades_by_strategy", "strategy", "seq"),
)

weights = Table(
    "weights",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("doc", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

breaker_history = Table(
    "breaker_history",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("breaker", Text, nullable=False, index=True),
    Column("doc", Text, nullable=False),
)
