"""The rescuer finds every queue whose wake-up was lost and sends it again; it also gives the worker's sign of life."""

import logging
import math
import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from celery import bootsteps

from config.inputs import Inputs
from config.settings import Settings
from config.version import installed_version
from jobs.backoff import backoff
from jobs.clock import LongestWaits
from jobs.errors import JobError, LedgerUnavailable, UnreadableRow
from jobs.job import LONGEST_WAIT_S
from jobs.ledger import Ledger
from jobs.log_fields import about
from jobs.moves.move import Policy
from jobs.outbox import Outbox
from jobs.queues import QUEUES, SLOW_POLLS, delivery_queue
from jobs.schedule import LONGEST_S as LONGEST_POLL_WAIT_S
from jobs.states import FollowUp, State
from jobs.work_items import LEASE_S
from producer.client.retry_after import LONGEST_S
from worker import metrics
from worker.leases import Leases
from worker.purchase import Purchases
from worker.receivers.hooks import RETRY_LONGEST_S
from worker.receivers.registry import ReceiverRegistry
from worker.upstream.access import RETRY_AFTER_CEILING_S

log = logging.getLogger("rushes.rescue")

JITTER: Final = 0.2
"""Workers that started together must not rescue in step for ever."""

SELDOM_S: Final = 30.0
"""The clock is checked, and the receivers of the settings are registered, once in this many seconds."""

ROOM: Final = 2.0
"""A wait may be lengthened at random by half; twice its setting leaves room for that."""


class Rescuer:
    """Wakes up what is overdue, repairs what an outage left behind, and gives the worker's sign of life."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        purchases: Purchases,
        longest: LongestWaits,
        worker: str,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._purchases = purchases
        self._longest = longest
        self._worker = worker
        self._seldom_at = -math.inf

    def round(self) -> None:
        """Do each of them once.

        Raises:
            LedgerUnavailable: Redis could not be used.
        """
        self._ledger.worker_seen(self._worker, installed_version(), late_s=metrics.polls_were_late())
        if monotonic() >= self._seldom_at:
            self._seldom_at = monotonic() + SELDOM_S
            self._done(self._ledger.clock.check, self._longest)
            self._done(self._outbox.register, self._receivers.subscriptions)
        self._done(self._purchases.replay)
        self._done(self._wake)

    def _done(self, part: Callable[..., object], *of: Any) -> None:
        """Do one part of a round; its failure stops no other."""
        try:
            part(*of)
        except UnreadableRow:
            pass  # reported already, and left to a newer version
        except LedgerUnavailable:
            raise
        except JobError as error:
            log.info("rescue cut short: %s", error)  # a job moved under our eyes; the next round sees it
        except Exception:
            log.exception("rescue failed at %s %s", part.__name__, of)

    def _wake(self) -> None:
        """Wake up every overdue queue; receivers that this worker does not know are left to others."""
        known = [name for name in self._outbox.waiting() if self._receivers.find(name)]
        for wake_up in self._ledger.items.rescue([*QUEUES, *map(delivery_queue, known)]):
            metrics.rescued(wake_up)
            with about(wake_up.job_id):
                log.info("queue.rescued queue=%s", wake_up.queue)


def longest_waits(settings: Settings, policy: Policy) -> LongestWaits:
    """Return how far off a due time can be by these settings, with room for random lengthening."""
    poll, retry_after_s = settings.poll, RETRY_AFTER_CEILING_S
    asked_s = max(poll.deadline_s, poll.first_s, poll.interval_s, poll.lateness_s, LONGEST_POLL_WAIT_S, retry_after_s)
    fetched_s = max(policy.download_longest_s, asked_s, LEASE_S)
    described_s = backoff(policy.describe_first_s, math.inf, policy.describe_attempts)
    told_s = max(*settings.webhooks.retry_s, RETRY_LONGEST_S, LONGEST_S)
    return LongestWaits(
        by_queue={
            State.QUEUED: LONGEST_WAIT_S,  # of one that is not to be bought before; ready ones hold their deadline
            State.SUBMITTING: LEASE_S,
            State.RENDERING: ROOM * asked_s,
            SLOW_POLLS: ROOM * asked_s,
            State.STORING: ROOM * fetched_s,
            FollowUp.LATE_FETCH: ROOM * max(policy.late_fetch_longest_s, fetched_s),
        },
        of_all=ROOM * max(policy.log_reaches_s, policy.reconcile_longest_s, described_s, told_s),
    )


class BackgroundStep(bootsteps.StartStopStep):
    """Runs the rescuer, the leases and the sweep of inputs beside the consumer, from the worker's start to its end.

    They have threads, not timers of the worker's event loop: a slow Redis must not stop the loop, and they must go on
    while the consumer reconnects.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **_options: Any) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._rescuer: Rescuer = parent.app.runtime.rescuer
        self._leases: Leases = parent.app.runtime.leases
        self._inputs: Inputs = parent.app.runtime.inputs
        self._settings: Settings = parent.app.settings

    def start(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Start them. Leases are renewed until the process ends: a warm shutdown waits for running tasks."""
        threading.Thread(target=self._leases.run, name="leases", daemon=True).start()
        threading.Thread(target=self._inputs.run, name="inputs", daemon=True).start()
        self._thread = threading.Thread(target=self._rescue, name="rescuer", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (Celery's signature)
        """Stop the rescuer after the current round."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=self._settings.redis.socket_timeout_s)

    def terminate(self, parent: Any) -> None:
        """Stop in a cold shutdown as in a warm one."""
        self.stop(parent)

    def _rescue(self) -> None:
        pause_s = 0.0  # after a crash, the first round comes at once
        while not self._stopping.wait(pause_s):
            pause_s = self._settings.rescue.every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)
            try:
                self._rescuer.round()
                metrics.rescue_round()
            except LedgerUnavailable as error:
                log.warning("rescue waits for the ledger: %s", error)
            except Exception:  # without this thread nothing is rescued, and this worker counts as dead
                log.exception("rescue round failed; the next one goes on")
