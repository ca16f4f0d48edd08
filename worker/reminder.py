"""The base of all our tasks: a reminder reads the ledger, touches the world once, writes the ledger, reminds."""

import logging
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias, cast

from celery import Task
from celery.exceptions import Reject

from config.reminding import why
from jobs.errors import LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.job import Job
from jobs.reminders import QUEUE_OF, REMINDER_OF, Work
from jobs.wakes import Alarm
from worker.runtime import Runtime, WorkerApp

Now: TypeAlias = Callable[[], float]
"""The time by the fleet's clock: as Redis said it, and what has passed since on this host."""

log = logging.getLogger("rushes.reminder")

LONGEST_S: Final = 1.0
"""Seconds after which a wake takes nothing further: other queues wait."""


def clock_from(at: float) -> Now:
    """The fleet's clock, from what Redis said a moment ago."""
    heard_at = monotonic()
    return lambda: at + monotonic() - heard_at


class Reminder(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Ends quietly when the job has moved on without it; ends with one line when the ledger is out of reach."""

    abstract = True
    max_retries = None

    @property
    def runtime(self) -> Runtime:
        """The worker's parts."""
        return cast("WorkerApp", self.app).runtime

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; what only says that the job has moved on is no failure."""
        try:
            return super().__call__(*args, **kwargs)
        except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
            log.info("reminder.dropped task=%s args=%s why=%s: %s", self.name, args, type(error).__name__, error)
        except LedgerUnavailable as error:
            # The due index brings the job back; what was done to the world is guarded by state and lease.
            log.warning("ledger out of reach task=%s args=%s: %s", self.name, args, error)

    def due(self, work: Work) -> Iterator[tuple[Sequence[Job], Now]]:
        """The jobs for which this work is due, a handful at a time, with the time by the fleet's clock.

        Others are called to help with the rest.
        """
        handfuls, began, woke = self.runtime.handfuls, monotonic(), True
        while True:
            taken = self.runtime.ledger.wakes.take(work, limit=handfuls.of(work), woke=woke)
            self.ring(taken.more)
            if taken.jobs:
                handed_at = monotonic()
                yield taken.jobs, clock_from(taken.at)
                handfuls.took(work, (monotonic() - handed_at) / len(taken.jobs))
            if not taken.left or monotonic() - began > LONGEST_S:
                return
            woke = False

    def goes_on_with(self, work: Work) -> bool:
        """Whether such work is quick, and this process takes its messages: some queues have workers of their own."""
        queue = QUEUE_OF[REMINDER_OF[work]].value
        return self.runtime.handfuls.is_quick(work) and queue in self.app.amqp.queues.consume_from

    def ring(self, *alarms: Alarm | None) -> None:
        """Send the reminders that follow; one of our own kind for our own job is our own retry."""
        for alarm in filter(None, alarms):
            task = REMINDER_OF[alarm.work]
            if task == self.name and alarm.job_id == (self.request.args or ("",))[0]:
                self.again(alarm.job_id, alarm.turn, alarm.seconds)
            else:
                self.runtime.remind(task, alarm.job_id, alarm.turn, alarm.seconds or None)

    def again(self, job_id: str, turn: int, seconds: float) -> None:
        """Reschedule this task for the job's next turn; no thread waits meanwhile."""
        try:
            # Raising Retry would cost as much again as the message: an ExceptionInfo, a traceback, a log line.
            self.retry(args=(job_id, turn), countdown=seconds, throw=False)
        except Reject as error:
            log.warning("reminder not sent job=%s task=%s: %s", job_id, self.name, why(error.args[0]))
