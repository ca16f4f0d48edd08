"""Announcing: puts the ends of jobs into the outboxes of their receivers."""

from collections.abc import Iterator
from time import monotonic

from config.reminding import Remind
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.moves.follow_up import announced
from jobs.moves.move import Move
from jobs.outbox import Outbox
from jobs.reminders import TaskName
from jobs.states import FollowUp
from jobs.wakes import Alarm
from worker import faults
from worker.claimed import apply_all
from worker.handfuls import Handfuls
from worker.receivers.registry import ReceiverRegistry

MOST_ENDS = 64
"""At most this many ended jobs are announced at once."""


class Announcing:
    """Puts ends into outboxes, and wakes their deliveries."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        handfuls: Handfuls,
        remind: Remind,
        *,
        lease_s: float,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._handfuls = handfuls
        self._remind = remind
        self._lease_s = lease_s

    def run(self) -> Iterator[Alarm]:
        """Announce a batch of ends; yields the alarms to set."""
        began = monotonic()
        claimed = self._ledger.wakes.take(FollowUp.ANNOUNCE, limit=MOST_ENDS, lease_s=self._lease_s)
        if claimed.more:
            yield claimed.more
        ended = self._ledger.with_requests(claimed.jobs)
        faults.here("announce.before_put")
        moves, woken = list[tuple[Job, Move]](), set[str]()
        for job, wanted in self._receivers.wanting(ended):
            woken.update(self._outbox.put(job.id, wanted))
            moves.append((job, announced(list(wanted))))
        faults.here("announce.before_write")
        yield from apply_all(self._ledger, moves)
        for receiver in sorted(woken):
            self._remind(TaskName.DELIVER, receiver, 0)
        self._handfuls.took(FollowUp.ANNOUNCE, monotonic() - began)
