"""The base of all tasks: claims due jobs, works them off, and reschedules by Celery countdowns."""

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
"""After this many seconds a task claims no more jobs: other queues wait."""

WorkOff: TypeAlias = Callable[[Sequence[Job], Now], Iterable[Alarm]]
"""Works off claimed jobs; returns the alarms to set."""


class QueueTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Ends quietly if the job has moved on, and with one log line if the ledger is out of reach."""

    abstract = True
    max_retries = None

    @property
    def parts(self) -> Runtime:
        """Return the worker's parts, one for each queue."""
        return cast("WorkerApp", self.app).runtime

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; a job that has moved on is no failure."""
        try:
            return super().__call__(*args, **kwargs)
        except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
            log.info("reminder.dropped task=%s args=%s why=%s: %s", self.name, args, type(error).__name__, error)
        except LedgerUnavailable as error:
            # The due index brings the job back; state and lease guard its side effects.
            log.warning("ledger out of reach task=%s args=%s: %s", self.name, args, error)

    def work_off(self, work: Work, run: WorkOff) -> None:
        """Claim due jobs of this work, have them worked off, and send the wake-ups that follow."""
        for jobs, now in self._due(work):
            self.ring(run(jobs, now))

    def work_off_and_go_on(self, work: Work, run: WorkOff) -> None:
        """Do the same; if work that becomes due by it is quick, do that too."""
        for jobs, now in self._due(work):
            self.go_on(list(run(jobs, now)))

    def go_on(self, alarms: Sequence[Alarm]) -> None:
        """Do quick work that is due at once, as a message would cost more than the work; send the other wake-ups."""
        here = [alarm.work for alarm in alarms if not alarm.seconds and self._goes_on_with(alarm.work)]
        self.ring(alarm for alarm in alarms if alarm.seconds or alarm.work not in here)
        if State.STORING in here:
            self.work_off_and_go_on(State.STORING, self.parts.downloading.fetch)
        if FollowUp.ANNOUNCE in here:
            self.ring(self.parts.announcing.run())

    def ring(self, alarms: Iterable[Alarm]) -> None:
        """Send each wake-up as it comes; one for this task and its own job becomes this task's retry."""
        for alarm in alarms:
            task = REMINDER_OF[alarm.work]
            if task == self.name and alarm.job_id == (self.request.args or ("",))[0]:
                self.again(alarm.job_id, alarm.turn, alarm.seconds)
            else:
                self.parts.remind(task, alarm.job_id, alarm.turn, alarm.seconds or None)

    def again(self, job_id: str, turn: int, seconds: float) -> None:
        """Reschedule this task for the job's next turn, without a waiting thread."""
        try:
            # Raising Retry would cost as much again as the message: an ExceptionInfo, a traceback, a log line.
            self.retry(args=(job_id, turn), countdown=seconds, throw=False)
        except Reject as error:
            log.warning("reminder not sent job=%s task=%s: %s", job_id, self.name, why(error.args[0]))

    def _due(self, work: Work) -> Iterator[tuple[Sequence[Job], Now]]:
        """Yield the jobs for which this work is due, claimed a few at a time, with the fleet's clock.

        If more is due than this task claims, a wake-up calls another task to help.
        """
        handfuls, began, woke = self.parts.handfuls, monotonic(), True
        while True:
            claimed = self.parts.ledger.wakes.take(work, limit=handfuls.of(work), woke=woke)
            if claimed.more:
                self.ring([claimed.more])
            if claimed.jobs:
                claimed_at = monotonic()
                yield claimed.jobs, clock_from(claimed.at)
                handfuls.took(work, (monotonic() - claimed_at) / len(claimed.jobs))
            if not claimed.left or monotonic() - began > LONGEST_S:
                return
            woke = False

    def _goes_on_with(self, work: Work) -> bool:
        """Whether such work is quick, and this process consumes its queue: some queues have workers of their own."""
        if work not in {State.STORING, FollowUp.ANNOUNCE}:
            return False
        queue = QUEUE_OF[REMINDER_OF[work]].value
        return self.parts.handfuls.is_quick(work) and queue in self.app.amqp.queues.consume_from
