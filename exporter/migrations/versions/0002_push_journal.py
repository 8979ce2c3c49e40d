"""The journal of pushed groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from exporter.journal import fold

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an empty journal; every group has its row."""
    op.create_table(
        "push_journal",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
        ),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        comment="What push_groups is to be told later, see exporter.journal; stays empty on PostgreSQL.",
    )


def downgrade() -> None:
    """Give every group its row again, which is all that 0001 knows."""
    fold(op.get_bind())
    op.drop_table("push_journal")
