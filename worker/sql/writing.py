"""Writes the rows of the database of results."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from jobs.test_deliveries import is_test_delivery
from worker.receivers.result import JobResult
from worker.sql.tables import videos


class DatabaseTrouble(Exception):
    """The database refused the row: deliver it again. The message quotes nothing of the row."""


class ResultsWriter:
    """Writes one row for each job, idempotently; nothing connects before the first row."""

    def __init__(self, engine: sa.Engine, *, migrate: bool) -> None:
        self._engine = engine
        self._migrate = migrate
        self._prepared = threading.Event()
        self._preparing = threading.Lock()

    def write(self, results: Sequence[JobResult]) -> None:
        """Write the jobs' rows in one transaction, except where a row is newer than its record.

        Raises:
            DatabaseTrouble: no row was written.
        """
        try:
            self._ensure_schema()
            rows = [row_of(result) for result in results if not is_test_delivery(result.id)]
            with self._engine.begin() as connection:
                if rows:
                    connection.execute(_upsert(connection.dialect.name), rows)
                else:  # a test delivery only shows that the database answers
                    connection.execute(sa.select(sa.true()))
        except SQLAlchemyError as error:
            cause = (
                getattr(error, "orig", None) or error
            )  # SQLAlchemy adds the statement, the database lines with values
            raise DatabaseTrouble(f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}") from None

    def _ensure_schema(self) -> None:
        if self._prepared.is_set():
            return
        with self._preparing:
            if not self._prepared.is_set():
                _prepare(self._engine, migrate=self._migrate)
                self._prepared.set()


def _prepare(engine: sa.Engine, *, migrate: bool) -> None:
    from alembic.util import CommandError  # noqa: PLC0415 (needed once, and it would slow every worker's start)

    from worker.sql.schema import SchemaBehind, check, upgrade  # noqa: PLC0415 (as above)

    try:
        (upgrade if migrate else check)(engine)
    except (SchemaBehind, CommandError) as error:
        raise DatabaseTrouble(str(error)) from None


@cache
def _upsert(dialect: str) -> sa.Executable:
    """Return the statement that writes a job's row, or replaces an older one; making it costs more than running it."""
    statement = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(videos)
    values = {column.name: statement.excluded[column.name] for column in videos.c if column.name != "id"}
    return statement.on_conflict_do_update(
        index_elements=[videos.c.id],
        set_={**values, "written_at": sa.func.now()},
        where=videos.c.revision <= statement.excluded.revision,
    )


def row_of(result: JobResult) -> dict[str, Any]:
    """Return a job's row: the result's fields under their own names, except for our copy's place."""
    values = result.model_dump(mode="json") | {
        "archive_path": result.path,
        "archive_url": result.file.as_uri() if result.file else result.location,
    }
    return {column.name: _value(column, values[column.name]) for column in videos.c if column.name in values}


def _value(column: sa.Column[Any], value: Any) -> Any:
    if isinstance(column.type, sa.DateTime) and value is not None:
        return datetime.fromtimestamp(value, UTC)
    return _clean(value)


def _clean(value: Any) -> Any:
    """Clean text for databases: PostgreSQL accepts no NUL, and none accepts a lone surrogate."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {_clean(name): _clean(item) for name, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
        case _:
            return value
