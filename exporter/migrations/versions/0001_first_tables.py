"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "deck_meta",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("deck_revision", sa.BigInteger, nullable=False),
        comment="One row; locked by whoever commits.",
    )
    op.execute("INSERT INTO deck_meta (id, revision, deck_revision) VALUES (1, 0, 0)")
    op.create_table(
        "push_groups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary),
        sa.Column("native", sa.LargeBinary),
        sa.Column("push_time", sa.Double, nullable=False),
        sa.Column("failure_time", sa.Double, nullable=False),
        sa.Column("ttl_seconds", sa.Double),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Only a shared store is asked what changed; on SQLite the index would be written by each push.
        op.create_index("ix_push_groups_revision", "push_groups", ["revision"])
    op.create_table(
        "deck_documents",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("doc", sa.Text),
        sa.Column("revision", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "trades",
        sa.Column("engine", sa.Text, primary_key=True),
        sa.Column("trade_id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("ts", sa.Double, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("qty", sa.Double, nullable=False),
        sa.Column("price", sa.Double, nullable=False),
        sa.Column("fee_usd", sa.Double, nullable=False),
        sa.Column("pnl_usd", sa.Double),
    )
    op.create_index("trades_by_strategy", "trades", ["strategy", "seq"])
    op.create_table(
        "weights",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "breaker_history",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("breaker", sa.Text, nullable=False, index=True),
        sa.Column("doc", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """There is nothing before; whoever wants to go there wants no store.

    Raises:
        CommandError: Always, before anything is touched.
    """
    raise CommandError("0001 is the first version, there is none before it: remove the database instead")
