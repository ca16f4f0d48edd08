"""Exit codes that scripts can use, and the sentences that go with them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

from config.settings import ConfigurationError, whereabouts
from config.store import StoreError
from jobs.errors import (
    IdempotencyConflict,
    InvalidRequest,
    LedgerUnavailable,
    StaleTurn,
    UnknownJob,
    UnreadableRow,
    WrongState,
)
from producer.cli.visible import visible

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """What a command's exit code means; docs/cli.md lists the same."""

    DONE = 0
    FAILED = 1  # something unexpected
    USAGE = 2  # the command line itself is wrong
    NO_VIDEO = 3  # the job ended, or the batch ended with jobs, without a video
    TIMED_OUT = 4  # the waiting ended, the job did not: it is not lost
    UNKNOWN_JOB = 5
    NO_LEDGER = 6  # Redis cannot be asked; jobs that it took go on when it is back
    INVALID = 7  # the request cannot be sent as it is; nothing was submitted
    CONFLICT = 8  # the idempotency key stands for another request, or the job is not where this starts
    SETTINGS = 9
    NOT_HERE = 10  # the video is stored where this host cannot read it
    INTERRUPTED = 130


def leave(code: Exit, *lines: str) -> NoReturn:
    """Say why on standard error and end with the code."""
    for line in lines:
        errors.print(visible(line, lines=True), markup=False)
    raise typer.Exit(code)


def discard_output() -> None:
    """The reader of our output has gone; Python must not try at exit to write what it still holds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def goes_on(job_id: str) -> str:
    """Say that the waiting ended and the job did not, and how to wait on."""
    return f"{job_id} is not lost: it goes on by itself. `rushes wait {job_id}` waits on; nothing is bought again."


@contextmanager
def using_archive() -> Iterator[None]:
    """Turn trouble with the archive into a sentence and an exit code."""
    try:
        yield
    except StoreError as error:
        leave(Exit.NOT_HERE, f"The archive cannot be used from here ({error}). `rushes doctor` looks closer.")


@contextmanager
def explained() -> Iterator[None]:
    """Turn what can go wrong into a sentence that says what to do, and an exit code."""
    try:
        yield
    except InvalidRequest as error:
        leave(
            Exit.INVALID, "The request cannot be sent as it is:", *(f"  {e.field}: {e.message}" for e in error.errors)
        )
    except IdempotencyConflict as error:
        leave(Exit.CONFLICT, f"{error}. Use another --idempotency-key, or the same request as before.")
    except (WrongState, StaleTurn) as error:
        leave(Exit.CONFLICT, f"That cannot be done now: {error}. `rushes get` shows where the job stands.")
    except UnknownJob as error:
        leave(Exit.UNKNOWN_JOB, f"There is no job {error}. `rushes list` shows those there are.")
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


def _no_answer(error: LedgerUnavailable) -> tuple[str, ...]:
    """Why the ledger gives no answer, and what to do."""
    if isinstance(error, UnreadableRow):
        return (f"The job's row cannot be read by this version of Rushes ({error}).", "Update it, and ask again.")
    return (
        f"Redis cannot be asked ({error}).",
        f"{whereabouts()} `rushes doctor` looks closer.",
        "What it has taken is not lost: `rushes list` shows it when Redis is back.",
    )
