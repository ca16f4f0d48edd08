"""Connects to SQLite or PostgreSQL, with time limits; no error quotes a row."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from config.private import FILE_MODE
from config.settings import ConfigurationError

_SQLITE_TERMS: Final = frozenset({"uri", "mode", "cache", "timeout", "cached_statements"})
"""Allowed options after the ? of a SQLite address; the driver would ignore others, and use half of the file name."""

PATIENCE_S: Final = 30
"""A statement, or a wait for another process's lock, may take this many seconds."""

_LIMITS: Final = {name: str(PATIENCE_S * 1000) for name in ("statement_timeout", "lock_timeout")}
_OPTION: Final = re.compile(r"(?:^|(?<=\s))(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\s\\])*)")
_ESCAPED: Final = re.compile(r"\\(.)")

CONNECT_S: Final = 5
"""Connecting may take this many seconds."""


def make_engine(url: str, *, connections: int) -> sa.Engine:
    """Make an engine that connects when first used.

    Raises:
        ConfigurationError: the address names no supported database; the message omits it, as it may contain a password.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed, hide_parameters=True, connect_args={"timeout": PATIENCE_S})
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    given = parsed.query.get("options", "")
    chosen = _chosen(given if isinstance(given, str) else " ".join(given))
    if chosen is not None:
        parsed = parsed.difference_update_query(["options"])
    engine = sa.create_engine(
        parsed,
        hide_parameters=True,
        pool_size=connections,
        pool_pre_ping=True,  # a restarted database is noticed before a row is sent to it
        connect_args={"connect_timeout": CONNECT_S, "application_name": "rushes", "prepare_threshold": None},
    )
    event.listen(engine, "begin", partial(_set_up_transaction, {**_LIMITS, **(chosen or {})}))
    return engine


def _chosen(options: str) -> dict[str, str] | None:
    """Parse a connection's `options`, e.g. `-c search_path=rushes`; None if anything else is in them."""
    if _OPTION.sub("", options).strip():
        return None
    return {name.replace("-", "_"): _ESCAPED.sub(r"\1", value) for name, value in _OPTION.findall(options)}


def _set_up_transaction(settings: Mapping[str, str], connection: sa.Connection) -> None:
    """Set the time limits in each transaction.

    A pooler (PgBouncer in transaction mode) may use another server for the next: it refuses start-up parameters, and
    settings and prepared statements of a connection are lost.
    """
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    connection.exec_driver_sql(
        f"SELECT {calls}",
        tuple(text for setting in settings.items() for text in setting),
        execution_options={"yield_per": None, "stream_results": False},  # the reading itself may have chosen others
    ).close()


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for any other.

    Raises:
        ConfigurationError: as `make_engine` does.
    """
    parsed = _parsed(url)
    return Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database else None


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("RUSHES_SQL__URL is not a database address.") from None
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        if ("?" in url and not parsed.query) or set(parsed.query) - _SQLITE_TERMS:
            raise ConfigurationError(
                "RUSHES_SQL__URL: in the name of a SQLite file a ? is written %3F, and a % is %25."
            )
        return parsed.set(drivername="sqlite")
    raise ConfigurationError("RUSHES_SQL__URL must begin with postgresql:// or sqlite:///.")


def _make_private(_dialect: object, _record: object, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
    """Create a missing file for its owner only; SQLite gives -wal and -shm the same mode.

    An existing one is not touched: closing it would end the locks of this process's other connections.
    """
    if arguments[0] != ":memory:" and "uri" not in options:
        with suppress(OSError):  # SQLite says what is wrong, or the file is there
            os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let readers read during a write, and leave transactions to SQLAlchemy: the driver begins them too late."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: sa.Connection) -> None:
    """Begin with the writer's lock: two writers wait for each other instead of failing half-way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
