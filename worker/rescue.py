"""The rescuer finds every job whose reminder was lost and reminds it again; it is the worker's sign of life."""

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import bootsteps

from config.reminding import set_alarms
from config.settings import Settings
from jobs.claims import Claim, Overdue
from jobs.clock import LongestWaits
from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnreadableRow, WrongState
from jobs.job import Job
from jobs.lifecycle import Policy
from jobs.reminders import REMINDER_OF, Errand, TaskName, Work
from jobs.states import State
from worker.runtime import Runtime

log = logging.getLogger("rushes.rescue")

JITTER: Final = 0.2
"""Workers that started together must not ask together for ever."""


SHARED: Final[Sequence[Work]] = (State.QUEUED, State.RENDERING, State.STORING, *Errand)
"""The work that is shared: one reminder serves all that is overdue."""

CLAIMED: Final = (State.SUBMITTING, State.IN_DOUBT)
"""The states whose overdue jobs are taken one by one."""

ROOM: Final = 2.0
"""Waits are drawn out at random by up to half."""

A_DAY_S: Final = 86_400.0
"""The longest that a receiver may ask to be left alone for."""

DEAD_AFTER_S: Final = 15.0
"""A worker that has given no sign of life for this many seconds is taken for dead."""


class Rescuer:
    """Claims what is overdue in bounded batches and reminds it; the claim makes two rescuers harmless."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._longest = longest_waits(runtime.settings, runtime.policy)

    def step(self) -> int:
        """Rescue one batch of each kind; returns how many jobs were reminded."""
        choice = self._runtime.settings.rescue
        self._done(self._runtime.ledger.clock.check, self._longest)
        self._done(self._runtime.purchases.replay)
        self._done(self._void_leases_of_the_dead)
        reminded = sum(self._done(self._wake, work, choice.grace_s) for work in SHARED)
        reminded += sum(self._done(self._remind_claimed, state) for state in CLAIMED)
        return reminded + self._done(self._wake_receivers, choice.batch, choice.lease_s)

    def _done(self, part: Callable[..., int], *of: Any) -> int:
        """Do one part of a step, or one job of it: what fails there keeps nothing else from being rescued."""
        try:
            return part(*of)
        except UnreadableRow:
            return 0  # told already, and left to a newer version
        except LedgerUnavailable:
            raise
        except JobError as error:
            log.info("rescue step cut short: %s", error)  # a job moved under our eyes; the next step sees it
        except Exception:
            log.exception("rescue failed at %s %s", part.__name__, of)
        return 0

    def _remind_claimed(self, state: State) -> int:
        choice = self._runtime.settings.rescue
        claim = Claim(choice.grace_s, choice.batch, choice.lease_s, choice.longest_lease_s)
        claimed = self._runtime.ledger.claims.overdue(state, claim)
        return sum(self._done(self._remind, job) for job in claimed)

    def _wake_receivers(self, limit: int, lease_s: float) -> int:
        """See to every outbox in which something is due; a receiver that this worker does not know is left alone."""
        due = self._runtime.outbox.due(limit=limit, lease_s=lease_s)
        known = [receiver for receiver in due if self._runtime.receivers.find(receiver)]
        for receiver in known:
            self._runtime.remind(TaskName.DELIVER, receiver, 0)
        return len(known)

    def _wake(self, work: Work, grace_s: float) -> int:
        """Send one reminder for all of this work that is overdue: the task that wakes takes it."""
        alarm = self._runtime.ledger.wakes.overdue(work, grace_s=grace_s)
        if alarm is None:
            return 0
        log.info("work.rescued work=%s job=%s", work, alarm.job_id)
        return int(self._runtime.remind(REMINDER_OF[work], alarm.job_id, alarm.turn))

    def _remind(self, job: Overdue) -> int:
        if job.state is State.SUBMITTING:
            return self._doubt(self._runtime.ledger.get(job.job_id))
        if job.state in REMINDER_OF:
            self._runtime.remind(REMINDER_OF[job.state], job.job_id, job.turn)
        return 1

    def _void_leases_of_the_dead(self) -> int:
        """End the leases of workers that are known to be gone, before their time."""
        ledger = self._runtime.ledger
        alive, now = set(ledger.workers(within_s=DEAD_AFTER_S)), ledger.now()
        self._runtime.outbox.void(alive, after_s=DEAD_AFTER_S)
        limit = self._runtime.settings.rescue.batch
        voided = 0
        for state in (State.SUBMITTING, State.STORING):
            for job, _ in ledger.get_many(ledger.page(states=[state], limit=limit, newest_first=False)):
                if job.worker and job.worker not in alive and not job.rescues:
                    voided += self._done(self._void_lease, job, now)
        return voided

    def _void_lease(self, job: Job, now: float) -> int:
        if job.state is State.STORING:
            self._runtime.ledger.lease_void(job)
        elif job.state is State.SUBMITTING and now - (job.intent_at or 0) > DEAD_AFTER_S:
            return self._doubt(job)
        return 1

    def _doubt(self, job: Job) -> int:
        """The buyer died or hangs between intent and receipt: it may have bought, so nothing is repeated."""
        with contextlib.suppress(StaleTurn, WrongState):  # it reported back after all
            first_s = self._runtime.policy.reconcile_first_s
            message = "the worker that was buying did not report back"
            set_alarms(self._runtime.remind, self._runtime.ledger.in_doubt(job, message, ask_in_s=first_s).alarms)
        return 1


def longest_waits(settings: Settings, policy: Policy) -> LongestWaits:
    """How far off a due time can be by these settings, with room for waits that are drawn out at random."""
    poll, retry_after_s, rescue_s = (
        settings.poll,
        settings.upstream.retry_after_ceiling_s,
        settings.rescue.longest_lease_s,
    )
    asked_s = max(poll.deadline_s, poll.first_s, poll.interval_s, poll.longest_s, retry_after_s)
    fetched_s = max(settings.download_lease_s, settings.archive.retry_longest_s, asked_s)
    described_s = settings.describe.retry_first_s * 2.0 ** min(settings.describe.attempts, 30)
    told_s = max(*settings.webhooks.retry_s, settings.hooks.retry_longest_s, settings.hooks.lease_s, A_DAY_S)
    return LongestWaits(
        by_work={
            State.QUEUED: ROOM * max(settings.queue.hold_longest_s, retry_after_s),
            State.SUBMITTING: max(settings.submit_lease_s, rescue_s),
            State.RENDERING: ROOM * asked_s,
            State.STORING: ROOM * max(fetched_s, rescue_s),
            Errand.ANNOUNCE: ROOM * max(settings.rescue.lease_s, rescue_s),
            Errand.LATE_FETCH: ROOM * max(settings.late_fetch.longest_s, settings.late_fetch.first_s, fetched_s),
        },
        of_all=ROOM * max(policy.log_reaches_s, policy.reconcile_longest_s, described_s, told_s),
    )


class RescueStep(bootsteps.StartStopStep):
    """Runs the rescuer beside the consumer, from the worker's start to its end.

    A thread of its own, not a timer of the worker's event loop: a slow Redis must not stop the loop, and the rescuer
    must go on while the consumer reconnects.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **_options: Any) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._runtime: Runtime = parent.app.runtime

    def start(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Begin to look for overdue jobs."""
        self._thread = threading.Thread(target=self._run, name="rescuer", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Stop after the step under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=self._runtime.settings.redis.socket_timeout_s)

    def terminate(self, parent: Any) -> None:
        """A cold shutdown stops the rescuer no differently."""
        self.stop(parent)

    def _run(self) -> None:
        rescuer, pause_s = Rescuer(self._runtime), 0.0  # after a crash, the first round comes at once
        while not self._stopping.wait(pause_s):
            pause_s = self._runtime.settings.rescue.every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)
            try:
                self._runtime.ledger.worker_seen(self._runtime.name)
                while rescuer.step() >= self._runtime.settings.rescue.batch and not self._stopping.is_set():
                    pass  # a full batch: more is overdue
                self._runtime.pace.refresh()
            except LedgerUnavailable as error:
                log.warning("rescue waits for the ledger: %s", error)
            except Exception:  # without this thread nothing is rescued, and others take this worker for dead
                log.exception("rescue step failed; the next one goes on")
