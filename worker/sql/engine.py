"""How a database is reached: SQLite or PostgreSQL, bounded in time, with nothing of a row in any error."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from config.settings import ConfigurationError

PATIENCE_S: Final = 30
"""How long a statement, or a lock that another process holds, may take."""

CONNECT_S: Final = 5
"""How long a connection may take to be made."""


def make_engine(url: str, *, connections: int) -> sa.Engine:
    """An engine that connects when first used.

    Raises:
        ConfigurationError: the address names no database that Rushes writes to; without the address, which may hold a
            password.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed, hide_parameters=True, connect_args={"timeout": PATIENCE_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    limits = f"-c statement_timeout={PATIENCE_S * 1000} -c lock_timeout={PATIENCE_S * 1000}"
    given = parsed.query.get("options", "")
    return sa.create_engine(
        parsed,
        hide_parameters=True,
        pool_size=connections,
        pool_pre_ping=True,  # a restarted database is noticed before a row is sent to it
        connect_args={"connect_timeout": CONNECT_S, "application_name": "rushes", "options": f"{limits} {given}"},
    )


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("RUSHES_SQL__URL is not a database address.") from None
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite")
    raise ConfigurationError("RUSHES_SQL__URL must begin with postgresql:// or sqlite:///.")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let readers read while somebody writes, and leave transactions to SQLAlchemy: the driver begins them too late."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the writer's lock at the beginning: two writers wait for each other instead of failing half-way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
