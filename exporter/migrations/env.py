"""Alembic's entry: it is always handed an open connection, by exporter.sql_store."""

from __future__ import annotations

from alembic import context

from exporter.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
