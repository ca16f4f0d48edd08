"""The base of all our tasks: it claims due jobs, has them worked off, and reschedules by Celery countdowns."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias, cast

from celery import Task
from celery.exceptions import Reject

from config.reminding import why
from jobs.errors import LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.job import Job
from jobs.reminders import QUEUE_OF, REMINDER_OF, Work
from jobs.states import FollowUp, State
from jobs.wakes import Alarm
from worker.claimed import Now, clock_from
from worker.runtime import Runtime, WorkerApp

log = logging.getLogger("rushes.tasks")

LONGEST_S: Final = 1.0
"""Seconds after which a task claims nothing further: other queues wait."""

WorkOff: TypeAlias = Callable[[Sequence[Job], Now], Iterable[Alarm]]
"""Works claimed jobs off; returns the alarms to set."""


class QueueTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Ends quietly when the job has moved on without it; ends with one line when the ledger is out of reach."""

    abstract = True
    max_retries = None

    @property
    def parts(self) -> Runtime:
        """The worker's parts, one for each queue."""
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

    def work_off(self, work: Work, run: WorkOff) -> None:
        """Claim what is due of this work, have it worked off, and send the wake-ups that follow."""
        for jobs, now in self._due(work):
            self.ring(*run(jobs, now))

    def work_off_and_go_on(self, work: Work, run: WorkOff) -> None:
        """The same, but what becomes due by it and is quick is done here."""
        for jobs, now in self._due(work):
            self.go_on(list(run(jobs, now)))

    def go_on(self, alarms: Sequence[Alarm]) -> None:
        """Do what is due at once and quick, for which a message would be most of the cost; send the other wake-ups."""
        here = [alarm.work for alarm in alarms if not alarm.seconds and self._goes_on_with(alarm.work)]
        self.ring(*(alarm for alarm in alarms if alarm.seconds or alarm.work not in here))
        if State.STORING in here:
            self.work_off_and_go_on(State.STORING, self.parts.downloading.fetch)
        if FollowUp.ANNOUNCE in here:
            self.ring(*self.parts.announcing.run())

    def ring(self, *alarms: Alarm) -> None:
        """Send the wake-ups that follow; one of our own kind for our own job is our own retry."""
        for alarm in alarms:
            task = REMINDER_OF[alarm.work]
            if task == self.name and alarm.job_id == (self.request.args or ("",))[0]:
                self.again(alarm.job_id, alarm.turn, alarm.seconds)
            else:
                self.parts.remind(task, alarm.job_id, alarm.turn, alarm.seconds or None)

    def again(self, job_id: str, turn: int, seconds: float) -> None:
        """Reschedule this task for the job's next turn; no thread waits meanwhile."""
        try:
            # Raising Retry would cost as much again as the message: an ExceptionInfo, a traceback, a log line.
            self.retry(args=(job_id, turn), countdown=seconds, throw=False)
        except Reject as error:
            log.warning("reminder not sent job=%s task=%s: %s", job_id, self.name, why(error.args[0]))

    def _due(self, work: Work) -> Iterator[tuple[Sequence[Job], Now]]:
        """Claim the jobs for which this work is due, a few at a time, with the time by the fleet's clock.

        Others are called to help with the rest.
        """
        handfuls, began, woke = self.parts.handfuls, monotonic(), True
        while True:
            claimed = self.parts.ledger.wakes.take(work, limit=handfuls.of(work), woke=woke)
            if claimed.more:
                self.ring(claimed.more)
            if claimed.jobs:
                claimed_at = monotonic()
                yield claimed.jobs, clock_from(claimed.at)
                handfuls.took(work, (monotonic() - claimed_at) / len(claimed.jobs))
            if not claimed.left or monotonic() - began > LONGEST_S:
                return
            woke = False

    def _goes_on_with(self, work: Work) -> bool:
        """Whether such work is quick, and this process takes its messages: some queues have workers of their own."""
        if work not in {State.STORING, FollowUp.ANNOUNCE}:
            return False
        queue = QUEUE_OF[REMINDER_OF[work]].value
        return self.parts.handfuls.is_quick(work) and queue in self.app.amqp.queues.consume_from
