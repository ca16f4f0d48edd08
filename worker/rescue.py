"""The rescuer finds every job whose wake-up was lost and sends it again; it also gives the worker's sign of life."""

import contextlib
import logging
import math
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import bootsteps

from config.reminding import Remind, set_alarms
from config.settings import Settings
from jobs.backoff import backoff
from jobs.claims import Claim, Overdue
from jobs.clock import LongestWaits
from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnreadableRow, WrongState
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.moves.move import Policy
from jobs.moves.purchase import in_doubt
from jobs.outbox import Outbox
from jobs.reminders import REMINDER_OF, TaskName, Work
from jobs.states import FollowUp, State
from producer.client.retry_after import LONGEST_S
from worker.pace import Pace
from worker.purchase import Purchases
from worker.receivers.registry import ReceiverRegistry

log = logging.getLogger("rushes.rescue")

JITTER: Final = 0.2
"""Workers that started together must not rescue in step for ever."""


SHARED: Final[Sequence[Work]] = (State.QUEUED, State.RENDERING, State.STORING, *FollowUp)
"""Shared work: one wake-up serves all that is overdue."""

CLAIMED: Final = (State.SUBMITTING, State.IN_DOUBT)
"""The states whose overdue jobs are claimed one by one."""

ROOM: Final = 2.0
"""A wait may be lengthened at random by half; twice its setting leaves room for that."""

DEAD_AFTER_S: Final = 15.0
"""A worker without a sign of life for this many seconds counts as dead."""


class Rescuer:
    """Claims overdue jobs in bounded batches and sends their wake-ups; the claim makes two rescuers harmless."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        purchases: Purchases,
        pace: Pace,
        remind: Remind,
        settings: Settings,
        policy: Policy,
        worker: str,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._purchases = purchases
        self._pace = pace
        self._remind = remind
        self._choice = settings.rescue
        self._policy = policy
        self._worker = worker
        self._longest = longest_waits(settings, policy)

    def round(self, stopping: threading.Event) -> None:
        """Give this worker's sign of life, and rescue all that is overdue, a batch at a time."""
        self._ledger.worker_seen(self._worker)
        while self.step() >= self._choice.batch and not stopping.is_set():
            pass  # a full batch: more is overdue
        self._pace.refresh()

    def step(self) -> int:
        """Rescue one batch of each kind; return how many wake-ups were sent."""
        self._done(self._ledger.clock.check, self._longest)
        self._done(self._purchases.replay)
        self._done(self._void_leases_of_the_dead)
        reminded = sum(self._done(self._wake, work) for work in SHARED)
        reminded += sum(self._done(self._remind_claimed, state) for state in CLAIMED)
        return reminded + self._done(self._wake_receivers)

    def _done(self, part: Callable[..., int], *of: Any) -> int:
        """Do one part of a step, or one job of it; its failure stops no other rescue."""
        try:
            return part(*of)
        except UnreadableRow:
            return 0  # reported already, and left to a newer version
        except LedgerUnavailable:
            raise
        except JobError as error:
            log.info("rescue step cut short: %s", error)  # a job moved under our eyes; the next step sees it
        except Exception:
            log.exception("rescue failed at %s %s", part.__name__, of)
        return 0

    def _remind_claimed(self, state: State) -> int:
        choice = self._choice
        claim = Claim(choice.grace_s, choice.batch, choice.lease_s, choice.longest_lease_s)
        return sum(self._done(self._remind_one, job) for job in self._ledger.claims.overdue(state, claim))

    def _wake_receivers(self) -> int:
        """Wake the deliveries of every outbox with due ones; skip receivers that this worker does not know."""
        due = self._outbox.due(limit=self._choice.batch, lease_s=self._choice.lease_s)
        known = [receiver for receiver in due if self._receivers.find(receiver)]
        for receiver in known:
            self._remind(TaskName.DELIVER, receiver, 0)
        return len(known)

    def _wake(self, work: Work) -> int:
        """Send one wake-up for all overdue jobs of this work; the woken task claims them."""
        alarm = self._ledger.wakes.overdue(work, grace_s=self._choice.grace_s)
        if alarm is None:
            return 0
        log.info("work.rescued work=%s job=%s", work, alarm.job_id)
        return int(self._remind(REMINDER_OF[work], alarm.job_id, alarm.turn))

    def _remind_one(self, job: Overdue) -> int:
        if job.state is State.SUBMITTING:
            return self._doubt(self._ledger.get(job.job_id))
        if job.state in REMINDER_OF:
            self._remind(REMINDER_OF[job.state], job.job_id, job.turn)
        return 1

    def _void_leases_of_the_dead(self) -> int:
        """End the leases of dead workers early."""
        ledger, limit = self._ledger, self._choice.batch
        alive, now = set(ledger.workers(within_s=DEAD_AFTER_S)), ledger.now()
        self._outbox.void(alive, after_s=DEAD_AFTER_S)
        voided = 0
        for state in (State.SUBMITTING, State.STORING):
            for job, _ in ledger.get_many(ledger.page(states=[state], limit=limit, newest_first=False)):
                if job.worker and job.worker not in alive and not job.rescues:
                    voided += self._done(self._void_lease, job, now)
        return voided

    def _void_lease(self, job: Job, now: float) -> int:
        if job.state is State.STORING:
            self._ledger.lease_void(job)
        elif job.state is State.SUBMITTING and now - (job.intent_at or 0) > DEAD_AFTER_S:
            return self._doubt(job)
        return 1

    def _doubt(self, job: Job) -> int:
        """Put the purchase in doubt: its worker died or hangs after the intent, and may have bought."""
        with contextlib.suppress(StaleTurn, WrongState):  # it reported back after all
            move = in_doubt("the worker that was buying did not report back", policy=self._policy)
            set_alarms(self._remind, self._ledger.move(job, move).alarms)
        return 1


def longest_waits(settings: Settings, policy: Policy) -> LongestWaits:
    """Return how far off a due time can be by these settings, with room for random lengthening."""
    poll, retry_after_s, rescue_s = (
        settings.poll,
        settings.upstream.retry_after_ceiling_s,
        settings.rescue.longest_lease_s,
    )
    asked_s = max(poll.deadline_s, poll.first_s, poll.interval_s, poll.longest_s, retry_after_s)
    fetched_s = max(settings.download_lease_s, settings.archive.retry_longest_s, asked_s)
    described_s = backoff(settings.describe.retry_first_s, math.inf, settings.describe.attempts)
    told_s = max(*settings.webhooks.retry_s, settings.hooks.retry_longest_s, settings.hooks.lease_s, LONGEST_S)
    return LongestWaits(
        by_work={
            State.QUEUED: ROOM * max(settings.queue.hold_longest_s, retry_after_s),
            State.SUBMITTING: max(settings.submit_lease_s, rescue_s),
            State.RENDERING: ROOM * asked_s,
            State.STORING: ROOM * max(fetched_s, rescue_s),
            FollowUp.ANNOUNCE: ROOM * max(settings.rescue.lease_s, rescue_s),
            FollowUp.LATE_FETCH: ROOM * max(settings.late_fetch.longest_s, settings.late_fetch.first_s, fetched_s),
        },
        of_all=ROOM * max(policy.log_reaches_s, policy.reconcile_longest_s, described_s, told_s),
    )


class RescueStep(bootsteps.StartStopStep):
    """Runs the rescuer beside the consumer, from the worker's start to its end.

    It has its own thread, not a timer of the worker's event loop: a slow Redis must not stop the loop, and the rescuer
    must go on while the consumer reconnects.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **_options: Any) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._rescuer: Rescuer = parent.app.runtime.rescuer
        self._settings: Settings = parent.app.settings

    def start(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Start the rescuer."""
        self._thread = threading.Thread(target=self._run, name="rescuer", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Stop after the current step."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=self._settings.redis.socket_timeout_s)

    def terminate(self, parent: Any) -> None:
        """Stop in a cold shutdown as in a warm one."""
        self.stop(parent)

    def _run(self) -> None:
        pause_s = 0.0  # after a crash, the first round comes at once
        while not self._stopping.wait(pause_s):
            pause_s = self._settings.rescue.every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)
            try:
                self._rescuer.round(self._stopping)
            except LedgerUnavailable as error:
                log.warning("rescue waits for the ledger: %s", error)
            except Exception:  # without this thread nothing is rescued, and this worker counts as dead
                log.exception("rescue step failed; the next one goes on")
