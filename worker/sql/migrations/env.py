"""Alembic's entry: runs the migrations on the given connection, which has the lock."""

from alembic import context

from worker.sql.schema import VERSION_TABLE
from worker.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
