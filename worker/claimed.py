"""Claimed items: their clock, and how one item's error is kept from the others."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.log_fields import about
from jobs.moves.move import Move
from jobs.work_items import Item

log = logging.getLogger("rushes.tasks")

Now: TypeAlias = Callable[[], float]
"""The time by the fleet's clock: Redis's answer plus the time since on this host."""


def clock_from(at: float) -> Now:
    """Return the fleet's clock, from Redis's answer a moment ago."""
    read_at = monotonic()
    return lambda: at + monotonic() - read_at


@contextmanager
def contained(step: str, subject: Job | Item) -> Iterator[None]:
    """Keep one item's error from the others of its batch: it is due again when its lease ends. Log lines name its job.

    Raises:
        LedgerUnavailable: nothing more can be written for any of them.
    """
    with about(subject.id, subject.turn, subject if isinstance(subject, Job) else subject.job):
        try:
            yield
        except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
            log.info("step.dropped step=%s why=%s: %s", step, type(error).__name__, error)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("step=%s failed unforeseen; it is tried again when its lease ends", step)


def apply_all(ledger: Ledger, moves: Sequence[tuple[Job | Item, Move]]) -> None:
    """Apply a batch of moves in one round trip. A stale move is skipped."""
    for (subject, move), answer in zip(moves, ledger.apply(moves), strict=True):
        with contained(move.event or "-", subject):
            if isinstance(answer, JobError):
                raise answer
