"""Exports the database of results to files."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from config.private import prepare_state
from config.settings import load
from producer.cli.exits import Exit, leave
from producer.cli.visible import json_safe
from worker.sql.engine import make_engine
from worker.sql.reading import COLUMNS, Choice, rows
from worker.sql.schema import SchemaBehind, check, upgrade

__all__ = ["Choice", "check", "opened_database", "upgrade", "write_rows"]

Write = Callable[[TextIO, Iterator[dict[str, Any]]], int]


def write_rows(form: str, output: Path | None, choice: Choice) -> int:
    """Write the chosen rows to a file or standard output; returns how many."""
    with opened_database() as engine:
        check(engine)
        with _opened(output) as out:
            return _WRITERS[form](out, rows(engine, choice))


@contextmanager
def opened_database() -> Iterator[sa.Engine]:
    """Open the configured database; an error ends the command with a sentence."""
    settings = load()
    prepare_state(settings)  # SQLite creates its file, but not the folder
    engine = make_engine(settings.sql_url, connections=1)
    try:
        yield engine
    except SchemaBehind as error:
        leave(Exit.FAILED, f"The database is not ready: {error}.")
    except SQLAlchemyError as error:
        leave(Exit.FAILED, f"The database cannot be used ({str(getattr(error, 'orig', error)).partition(chr(10))[0]}).")
    finally:
        engine.dispose()


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open the file, which appears once it is complete, or standard output."""
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # data for programs, in any locale
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = output.with_name(f".{output.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _write_jsonl(out: TextIO, found: Iterator[dict[str, Any]]) -> int:
    count = 0
    for count, row in enumerate(found, start=1):  # noqa: B007 (counted)
        out.write(json_safe(json.dumps(row, ensure_ascii=False)) + "\n")
    return count


def _write_csv(out: TextIO, found: Iterator[dict[str, Any]]) -> int:
    writer, count = csv.DictWriter(out, COLUMNS), 0
    writer.writeheader()
    for count, row in enumerate(found, start=1):  # noqa: B007 (counted)
        cells = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
        writer.writerow(cells)
    return count


_WRITERS: Final[dict[str, Write]] = {"csv": _write_csv, "jsonl": _write_jsonl}
