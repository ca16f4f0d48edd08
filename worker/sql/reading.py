"""Reads the rows of the database of results, in order, a few at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from jobs.states import Status
from worker.sql.tables import videos

COLUMNS: Final = tuple(column.name for column in videos.c)
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter of rows: ended since, ended before, end statuses; unset means all."""

    since: datetime | None = None
    before: datetime | None = None
    statuses: Sequence[Status] = ()


def rows(engine: sa.Engine, choice: Choice) -> Iterator[dict[str, Any]]:
    """Yield the chosen rows in the order of their ends, as plain JSON values; times are ISO 8601 in UTC."""
    with engine.connect().execution_options(yield_per=_AT_ONCE) as connection:
        for row in connection.execute(_statement(choice)):
            yield {name: _plain(value) for name, value in row._mapping.items()}  # noqa: SLF001 (SQLAlchemy's public name)


def _statement(choice: Choice) -> sa.Select[Any]:
    statement = sa.select(videos).order_by(videos.c.finished_at, videos.c.id)
    if choice.since:
        statement = statement.where(videos.c.finished_at >= choice.since)
    if choice.before:
        statement = statement.where(videos.c.finished_at < choice.before)
    if choice.statuses:
        statement = statement.where(videos.c.status.in_([status.value for status in choice.statuses]))
    return statement


def _plain(value: Any) -> Any:
    """Return a plain value; SQLite keeps no time zone, and times were written in UTC."""
    if not isinstance(value, datetime):
        return value
    known = value if value.tzinfo else value.replace(tzinfo=UTC)
    return known.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
