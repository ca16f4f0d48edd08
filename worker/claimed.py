"""Jobs that a task has claimed: their clock, and how one job's error is kept from the others."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.job import Job
from jobs.ledger import Applied, Ledger
from jobs.moves.move import Move
from jobs.wakes import Alarm

log = logging.getLogger("rushes.tasks")

Now: TypeAlias = Callable[[], float]
"""The time by the fleet's clock: Redis's answer plus the time since on this host."""


def clock_from(at: float) -> Now:
    """Return the fleet's clock, from Redis's answer a moment ago."""
    read_at = monotonic()
    return lambda: at + monotonic() - read_at


@contextmanager
def contained(step: str, job: Job) -> Iterator[None]:
    """Keep one job's error from the others of its batch: the job is due again when its lease ends.

    Raises:
        LedgerUnavailable: nothing more can be written for any of them.
    """
    try:
        yield
    except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
        log.info("reminder.dropped step=%s job=%s why=%s: %s", step, job.id, type(error).__name__, error)
    except LedgerUnavailable:
        raise
    except Exception:
        log.exception("step=%s job=%s failed unforeseen; it is tried again when its lease ends", step, job.id)


def apply_all(ledger: Ledger, moves: Sequence[tuple[Job, Move]]) -> list[Alarm]:
    """Apply a batch of moves in one round trip; return the alarms to set. A stale move is skipped."""
    alarms: list[Alarm] = []
    for (job, move), answer in zip(moves, ledger.apply(moves), strict=True):
        with contained(move.event or "-", job):
            alarms += _alarms(answer)
    return alarms


def _alarms(answer: Applied | JobError) -> Sequence[Alarm]:
    if isinstance(answer, JobError):
        raise answer
    return answer.alarms
