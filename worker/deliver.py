"""Deliveries: sends ends to receivers, each at its own pace, with a bounded share of the worker's threads.

A slot makes the due deliveries of one receiver, one after the other, for a bounded time. A receiver has few slots in
the whole fleet, so that a slow one leaves threads for other receivers and for the videos themselves.
"""

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from typing import Final

from config.reminding import Remind
from jobs.delivery import Delivery, NotDelivered, Outcome
from jobs.errors import StaleTurn, UnknownJob, UnreadableRow
from jobs.job import Job, VideoRequest
from jobs.ledger import Ledger
from jobs.moves.delivery import after_delivery, reason_to_disable
from jobs.outbox import Outbox
from jobs.reminders import TaskName
from jobs.test_deliveries import is_test_delivery, made_up
from worker import faults
from worker.receivers.outcome import Receiver
from worker.receivers.registry import ReceiverRegistry

log = logging.getLogger("rushes.deliveries")

LONGEST_STRETCH_S: Final = 5.0
"""After this many seconds a slot gives its thread back and queues again behind other work."""

SOON_S: Final = 60.0
"""A next try within this many seconds gets an alarm of its own; the rescuer finds later ones."""

FULL_S: Final = 0.5
"""A slot comes back after this many seconds if the worker's share of threads is used up."""


class ThreadLimit:
    """The threads that slots may use in this process; of two or more, one receiver never gets all."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, receiver: str) -> bool:
        """Take a thread for a receiver, if it may have one."""
        with self._lock:
            free = self._used.total() < self._threads and self._used[receiver] < max(1, self._threads - 1)
            self._used[receiver] += int(free)
            return free

    def leave(self, receiver: str) -> None:
        """Give it back."""
        with self._lock:
            self._used[receiver] -= 1


class Deliveries:
    """Makes the due deliveries of receivers."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        remind: Remind,
        *,
        worker: str,
        threads: int,
    ) -> None:
        """Use `threads` of the process's threads at most."""
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._remind = remind
        self._worker = worker
        self._threads = ThreadLimit(threads)

    def run(self, name: str) -> float | None:
        """Use one slot of a receiver; return in how many seconds to come again, if an alarm is wanted."""
        receiver = self._receivers.find(name)
        if receiver is None:
            return None  # only a newer worker knows the receiver, or it is gone
        if not self._threads.enter(name):
            return FULL_S
        try:
            return self._use(name, receiver)
        finally:
            self._threads.leave(name)

    def _use(self, name: str, receiver: Receiver) -> float | None:
        soonest: float | None = None
        until = time.monotonic() + LONGEST_STRETCH_S
        while time.monotonic() < until:
            delivery = self._outbox.take(name, receiver.terms, worker=self._worker)
            if delivery is None:
                return soonest
            if delivery.more:
                self._remind(TaskName.DELIVER, name, 0)
            wait = self._deliver(receiver, delivery)
            if wait is not None and wait <= SOON_S:
                soonest = min(wait, soonest or wait)
        return 0.0

    def _deliver(self, receiver: Receiver, delivery: Delivery) -> float | None:
        """Call the receiver once and write the outcome; return when the next try is due, if there is one."""
        faults.here("deliver.before_send")
        began = time.monotonic()
        outcome = self._call(receiver, delivery)
        took_s = time.monotonic() - began
        faults.here("deliver.before_write")
        spread = random.random()  # noqa: S311 (no secret)
        how = after_delivery(delivery, outcome, receiver.retries, took_s=took_s, spread=spread)
        with contextlib.suppress(StaleTurn):  # our lease ended meanwhile: another slot delivers it again
            failing_s = self._outbox.settle(delivery, receiver.terms, how)
            if why := reason_to_disable(outcome, receiver.retries, failing_s=failing_s):
                self._receivers.disable(delivery.receiver, why)
        return None if how.over else how.next_in_s

    def _call(self, receiver: Receiver, delivery: Delivery) -> Outcome:
        try:
            job, request = self._subject(delivery.job_id)
        except UnknownJob:
            return NotDelivered("the job's row is no longer kept", never=True)
        except UnreadableRow as error:
            return NotDelivered(str(error), later=True)
        try:
            return receiver.deliver(delivery, job, request)
        except Exception as error:  # one poisoned delivery must not stop the receiver's others
            log.exception("delivery unforeseen receiver=%s job=%s", delivery.receiver, delivery.job_id)
            return NotDelivered(f"unforeseen: {type(error).__name__}")

    def _subject(self, job_id: str) -> tuple[Job, VideoRequest]:
        if is_test_delivery(job_id):
            return made_up(job_id, now=self._ledger.now())
        job, request = self._ledger.whole(job_id)
        if request is None:
            raise UnknownJob(job_id)
        return job, request
