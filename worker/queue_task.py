"""The base of all tasks: claims due items of its queue, works them off, and reschedules by Celery countdowns."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeAlias, cast

from celery import Task
from celery.exceptions import Reject
from celery.utils import uuid

from config.wake_ups import why
from jobs.errors import LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.queues import receiver_of, task_of
from jobs.scripts import WakeUp
from jobs.work_items import Claim, Claimed, Leased
from worker import metrics
from worker.runtime import Runtime, WorkerApp

log = logging.getLogger("rushes.tasks")

LONGEST_S: Final = 1.0
"""After this many seconds a task claims no more items: other queues wait."""

WorkOff: TypeAlias = Callable[[Claimed], object]


class QueueTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Works off one queue, named by its message. Its result names the jobs that it worked on, for Flower's search."""

    abstract = True
    max_retries = None
    resultrepr_maxsize = 16_384
    """Room for a full batch of polls."""

    @property
    def parts(self) -> Runtime:
        """Return the worker's parts, one for each queue."""
        return cast("WorkerApp", self.app).runtime

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """Run the task; a job that has moved on is no failure."""
        worked_on: dict[str, list[str]] = {}
        self.request.worked_on = worked_on  # type: ignore[attr-defined]  # ours; worker/current_task.py reads it
        queue = str(args[0]) if args else ""
        if not self._is_for(queue):
            log.warning("message.unreadable dropped task=%s queue=%.60r", self.name, queue)
            metrics.ran(self.name, "dropped")
            return "dropped"
        try:
            with self.parts.room.of(self.name, queue) as wait_s, metrics.busy(self.name):
                if wait_s:
                    metrics.ran(self.name, "no_room")
                    return self._postponed(queue, wait_s)
                super().__call__(*args, **kwargs)
        except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
            log.info("step.dropped queue=%s why=%s: %s", queue, type(error).__name__, error)
        except LedgerUnavailable as error:
            # What was claimed is due again when its lease ends; turn and state guard its side effects.
            log.warning("ledger out of reach queue=%s: %s", queue, error)
        metrics.ran(self.name, "worked" if worked_on else "idle")
        return "; ".join(f"{event}: {' '.join(ids)}" for event, ids in worked_on.items()) or "nothing was due"

    def work_off(self, claim: Claim, run: WorkOff, *, longest_s: float, once: bool = False) -> None:
        """Claim due items and have them worked off, for about a second; each claim is kept for at most `longest_s`."""
        began, woke, rang = monotonic(), True, self._rang
        while True:
            claimed = self.parts.ledger.items.claim(claim, woke=woke, rang=rang)
            metrics.claimed(claim.queue, claimed)
            if leased := _leased(claim, claimed):
                receiver = receiver_of(claim.queue)
                slot = (receiver, claim.slot) if receiver and claim.slot else None
                each_s = longest_s if claim.share is None else longest_s * len(leased)
                with self.parts.leases.renewing(leased, longest_s=each_s, slot=slot):
                    run(claimed)
            if once or not claimed.left or monotonic() - began > LONGEST_S:
                return
            woke = False

    def again(self, wake_up: WakeUp) -> bool:
        """Reschedule this task, without a waiting thread."""
        try:
            # Raising Retry would cost as much again as the message: an ExceptionInfo, a traceback, a log line.
            self.retry(
                args=(wake_up.queue, wake_up.job_id, wake_up.rings),
                countdown=wake_up.seconds,
                throw=False,
                task_id=uuid(),
            )
        except Reject as error:
            log.warning("wake-up not sent queue=%s: %s", wake_up.queue, why(error.args[0]))
            return False
        return True

    @property
    def _rang(self) -> str:
        """When this task's wake-up was to ring, as its message says; "" if it does not: then it is a straggler."""
        message = self.request.args or ()
        return next(map(str, message[2:3]), "")

    def _is_for(self, queue: str) -> bool:
        try:
            return task_of(queue) == self.name
        except KeyError:
            return False

    def _postponed(self, queue: str, wait_s: float) -> str:
        if wake_up := self.parts.ledger.items.postpone(queue, wait_s=wait_s, rang=self._rang):
            self.again(wake_up)
        return "no room: postponed"


def _leased(claim: Claim, claimed: Claimed) -> list[Leased]:
    jobs = [Leased(claim.queue, one.job.id, one.job.turn) for one in claimed.jobs]
    return jobs or [Leased(claim.queue, item.id, item.turn) for item in claimed.items]
