"""How a database is reached: SQLite or PostgreSQL, bounded in time, with nothing of a row in any error."""

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
"""What may follow the ? of a SQLite address; the driver would ignore the rest, and use a file with half the name."""

PATIENCE_S: Final = 30
"""How long a statement, or a lock that another process holds, may take."""

_LIMITS: Final = {name: str(PATIENCE_S * 1000) for name in ("statement_timeout", "lock_timeout")}
_OPTION: Final = re.compile(r"(?:^|(?<=\s))(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\s\\])*)")
_ESCAPED: Final = re.compile(r"\\(.)")

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
    """The settings in a connection's `options`, such as `-c search_path=rushes`; None if there is more in them."""
    if _OPTION.sub("", options).strip():
        return None
    return {name.replace("-", "_"): _ESCAPED.sub(r"\1", value) for name, value in _OPTION.findall(options)}


def _set_up_transaction(settings: Mapping[str, str], connection: sa.Connection) -> None:
    """Bound each transaction by itself.

    Behind a pooler (PgBouncer in transaction mode) the next one may be another server's: what a connection is started
    with is refused, and what is set or prepared on it is lost.
    """
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    connection.exec_driver_sql(
        f"SELECT {calls}",
        tuple(text for setting in settings.items() for text in setting),
        execution_options={"yield_per": None, "stream_results": False},  # the reading itself may have chosen others
    ).close()


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for any other.

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
    """Make a file that is not there yet for its owner only; SQLite gives -wal and -shm the same mode.

    One that is there is not touched: closing it would end the locks of this process's other connections.
    """
    if arguments[0] != ":memory:" and "uri" not in options:
        with suppress(OSError):  # SQLite says what is wrong, or the file is there
            os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let readers read while somebody writes, and leave transactions to SQLAlchemy: the driver begins them too late."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the writer's lock at the beginning: two writers wait for each other instead of failing half-way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
