"""Makes and upgrades the database's schema with alembic, in one process at a time."""

from importlib import resources
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

VERSION_TABLE: Final = "rushes_schema"
"""Not alembic's usual name: your own application may migrate the same database."""

_LOCK: Final = 7_283_047
"""The advisory lock's number, the same for every process of Rushes."""


class SchemaBehind(Exception):
    """The database's schema is older than this version, or was never made: run `rushes db upgrade`."""


def upgrade(engine: sa.Engine) -> tuple[str | None, str | None]:
    """Upgrade the schema under a lock; return the revisions before and after."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite's transaction began with the writer's lock
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _revision(connection)
        if not _is_current(before):
            command.upgrade(_alembic(connection), "head")
        return before, _revision(connection)


def check(engine: sa.Engine) -> None:
    """Check that the schema suits this version.

    Raises:
        SchemaBehind: it is not.
    """
    with engine.connect() as connection:
        current = _revision(connection)
    if not _is_current(current):
        found = f"at revision {current}" if current else "not made yet"
        raise SchemaBehind(f"the schema is {found}; run `rushes db upgrade`, or set RUSHES_SQL__MIGRATE=true")


def _is_current(revision: str | None) -> bool:
    """Whether the revision is the newest known, or a newer version's: migrations only ever add."""
    known = [script.revision for script in ScriptDirectory(_folder()).walk_revisions()]
    return revision is not None and (revision == known[0] or revision not in known)


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _alembic(connection: sa.Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _folder().replace("%", "%%"))
    return config


def _folder() -> str:
    return str(resources.files("worker.sql") / "migrations")
