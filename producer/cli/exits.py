"""Exit codes for scripts, and the error messages that go with them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer

from config.settings import ConfigurationError, whereabouts
from config.store import StoreError
from jobs import outage
from jobs.errors import (
    IdempotencyConflict,
    InputNotKept,
    InputsFull,
    InvalidRequest,
    LedgerUnavailable,
    StaleTurn,
    UnknownJob,
    UnreadableRow,
    WrongState,
)
from producer.cli.visible import visible


class Exit(IntEnum):
    """The exit codes; docs/reference/cli.md lists the same."""

    DONE = 0
    FAILED = 1  # an unexpected error
    USAGE = 2  # the command line is wrong
    NO_VIDEO = 3  # the job, or a job of the batch, ended without a video
    TIMED_OUT = 4  # the wait timed out; the job continues
    UNKNOWN_JOB = 5
    NO_LEDGER = 6  # Redis is unavailable; accepted jobs continue when it is back
    INVALID = 7  # the request is invalid; nothing was submitted
    CONFLICT = 8  # the idempotency key belongs to another request, or the job's state does not allow this
    SETTINGS = 9
    NOT_HERE = 10  # this host cannot read the stored video
    INTERRUPTED = 130


def leave(code: Exit, *lines: str) -> NoReturn:
    """Print the lines on standard error and exit with the code."""
    say(*(visible(line, lines=True) for line in lines))
    raise typer.Exit(code)


def say(*lines: str) -> None:
    """Print the lines on standard error; without rich, whose import most commands of a script would pay for this."""
    for line in lines:
        typer.echo(line, err=True)


def discard_output() -> None:
    """Drop buffered output, because the reader has gone and Python would fail to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def goes_on(job_id: str) -> str:
    """Say that the job continues without this command, and how to wait again."""
    return f"{job_id} is not lost: it continues by itself. `rushes wait {job_id}` continues the wait and buys nothing."


@contextmanager
def using_archive() -> Iterator[None]:
    """Turn an error of the archive into a message and an exit code."""
    try:
        yield
    except StoreError as error:
        leave(Exit.NOT_HERE, f"This host cannot use the archive ({error}). `rushes doctor` says more.")


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors into a message that says what to do, and an exit code."""
    try:
        yield
    except IdempotencyConflict as error:
        leave(Exit.CONFLICT, f"{error}. Use another --idempotency-key, or send the same request as before.")
    except (InvalidRequest, InputsFull, InputNotKept) as error:
        _leave_refused(error)
    except (WrongState, StaleTurn) as error:
        leave(Exit.CONFLICT, f"The job's state does not allow this: {error}. `rushes get` shows the job.")
    except UnknownJob as error:
        leave(Exit.UNKNOWN_JOB, f"There is no job {error}. `rushes list` shows all jobs.")
    except LedgerUnavailable as error:
        leave(Exit.NO_LEDGER, *_no_answer(error))
    except ConfigurationError as error:
        leave(Exit.SETTINGS, str(error))
    except KeyboardInterrupt:
        leave(Exit.INTERRUPTED)
    except BrokenPipeError:
        discard_output()
        raise typer.Exit(Exit.DONE) from None
    except OSError as error:
        leave(Exit.FAILED, f"{error.filename or 'The output'} cannot be used: {error.strerror or error}.")


def _leave_refused(error: InvalidRequest | InputsFull | InputNotKept) -> NoReturn:
    """Say what to do about a request that was not accepted."""
    if isinstance(error, InvalidRequest):
        leave(Exit.INVALID, "The request is invalid:", *(f"  {e.field}: {e.message}" for e in error.errors))
    if isinstance(error, InputNotKept):
        leave(Exit.NOT_HERE, f"{error}. Nothing was submitted. `rushes doctor` says more.")
    advice = "Wait until jobs complete, `rushes erase` ended ones, or raise RUSHES_QUEUE__INPUT_BYTES."
    leave(Exit.INVALID, f"{error}. Nothing was submitted. {advice}")


def where(error: LedgerUnavailable) -> str:
    """Ask whether the address of Redis is right, if nothing answers there; other errors say themselves what to do."""
    return f"{whereabouts()} " if outage.is_unreachable(error.__cause__) else ""


def _no_answer(error: LedgerUnavailable) -> tuple[str, ...]:
    """Say why the ledger did not answer, and what to do."""
    if isinstance(error, UnreadableRow):
        return (f"This version of Rushes cannot read the job's row ({error}).", "Update it, and try again.")
    return (
        f"Redis is unavailable ({error}).",
        f"{where(error)}`rushes doctor` says more.",
        "Accepted jobs are not lost: `rushes list` shows them when Redis is back.",
    )
