"""What can be asked and done about the telling of ended jobs: backlog, rehearsal, telling again."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from config.celery_app import make_app
from config.connection import connect, lives
from config.reminding import Remind, reminder_sender
from config.settings import Settings
from jobs.errors import WrongState
from jobs.ledger import Ledger
from jobs.outbox import DATABASE, DeliveryLine, Outbox, Standing
from jobs.rehearsals import REHEARSAL, is_rehearsal, new_rehearsal_id
from jobs.reminders import TaskName
from jobs.result import ends_of
from jobs.scripts import Scripts
from jobs.webhooks import Endpoints, is_origin

ASK_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ReceiverStanding:
    """A receiver and how it stands. `known`: the settings of this host, an endpoint, or an order names it."""

    name: str
    known: bool
    standing: Standing


class Announcements:
    """The use cases around receivers, over the outboxes.

    Every method raises LedgerUnavailable when Redis cannot be asked.
    """

    def __init__(
        self, names: Sequence[str], endpoints: Endpoints, ledger: Ledger, outbox: Outbox, remind: Remind
    ) -> None:
        self._names = tuple(names)
        self._endpoints = endpoints
        self._ledger = ledger
        self._outbox = outbox
        self._remind = remind

    def receivers(self) -> list[ReceiverStanding]:
        """Every receiver that the settings name, every endpoint, and whoever is still to be told of something."""
        known = [*self._names, *(endpoint.id for endpoint in self._endpoints.all())]
        return [
            ReceiverStanding(name, name in known or is_origin(name), self._outbox.standing(name))
            for name in dict.fromkeys([*known, *self._outbox.waiting()])
        ]

    def waiting(self) -> dict[str, int]:
        """How many deliveries each receiver still has to expect; those with none are left out."""
        return self._outbox.waiting()

    def now(self) -> float:
        """The time by the fleet's one clock."""
        return self._outbox.now()

    def log(self, receiver: str, *, limit: int = 20) -> list[DeliveryLine]:
        """How the latest deliveries to a receiver went, newest first."""
        return self._outbox.log(receiver, limit=limit)

    def rehearse(self, receiver: str, *, timeout_s: float) -> DeliveryLine | None:
        """Tell the receiver of a made-up job, by a worker, and say how it went; None if no worker did it in time."""
        rehearsal = new_rehearsal_id()
        self._wake(self._outbox.put(rehearsal, {receiver: [REHEARSAL]}))
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for line in self._outbox.log(receiver):
                if line.job_id == rehearsal:
                    return line
            time.sleep(ASK_EVERY_S)
        return None

    def redeliver(self, receiver: str, job_id: str) -> Sequence[str]:
        """Tell the receiver of an ended job now, also if it was told before; returns the events that it is told.

        Raises:
            UnknownJob: no such job, or it ended so long ago that it is forgotten.
            WrongState: the job has not ended.
        """
        job = self._ledger.get(job_id)
        if not job.is_final:
            raise WrongState(f"{job_id} is {job.state}: it has not ended")
        events = ends_of(job)
        self._wake(self._outbox.put(job_id, {receiver: events}, again=True))
        return events

    def abandoned(self, receiver: str) -> Iterator[DeliveryLine]:
        """The deliveries that failed last, as far as the receiver's log reaches, the oldest first."""
        latest = {(line.job_id, line.event): line for line in reversed(self._outbox.log(receiver))}
        return (line for line in latest.values() if not (line.told or is_rehearsal(line.job_id)))

    def _wake(self, receivers: Sequence[str]) -> None:
        for receiver in receivers:
            self._remind(TaskName.DELIVER, receiver, 0)


def make_announcements(settings: Settings) -> Announcements:
    """The parts, poured together."""
    client = connect(settings.redis, name="producer")
    kept = lives(settings)
    names = [*settings.hooks.call, *([DATABASE] if settings.sql.enabled else [])]
    scripts = Scripts(client, lives=kept, clock=None, subscribers=())
    return Announcements(
        names,
        Endpoints(scripts),
        Ledger(client, lives=kept),
        Outbox(client, lives=kept),
        reminder_sender(make_app(settings)),
    )
