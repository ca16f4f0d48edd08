"""What can be asked and done about the telling of ended jobs: backlog, test deliveries, telling again."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from config.celery_app import make_app
from config.connection import connect, retention
from config.reminding import Remind, reminder_sender
from config.settings import Settings
from jobs.delivery import DeliveryLine
from jobs.errors import WrongState
from jobs.job import Job, VideoRequest
from jobs.job_log import position
from jobs.ledger import Ledger
from jobs.outbox import DATABASE, Outbox, ReceiverStatus
from jobs.reminders import TaskName
from jobs.result import ends_of
from jobs.scripts import Scripts
from jobs.test_deliveries import TEST_EVENT, is_test_delivery, new_test_delivery_id
from jobs.webhooks import Endpoint, Endpoints, is_origin, origin_of

ASK_EVERY_S: Final = 0.1
WHOLE_LOG: Final = 1000
"""More lines than any receiver's log keeps."""


@dataclass(frozen=True, slots=True)
class KnownReceiver:
    """A receiver and how it stands. `known`: the settings of this host, an endpoint, or an order names it."""

    name: str
    known: bool
    status: ReceiverStatus


@dataclass(frozen=True, slots=True)
class DeliveryChoice:
    """Which deliveries are asked for; what is left open fits all. `before`: only those older than that line."""

    job_id: str | None = None
    delivered: bool | None = None
    before: str | None = None

    def fits(self, line: DeliveryLine) -> bool:
        """Whether a delivery is asked for."""
        return (
            self.job_id in {None, line.job_id}
            and self.delivered in {None, line.delivered}
            and (self.before is None or position(line.id) < position(self.before))
        )


class Receivers:
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

    def receivers(self) -> list[KnownReceiver]:
        """Every receiver that the settings name, every endpoint, and every other receiver with waiting deliveries."""
        known = [*self._names, *(endpoint.id for endpoint in self._endpoints.all())]
        return [
            KnownReceiver(name, name in known or is_origin(name), self._outbox.status(name))
            for name in dict.fromkeys([*known, *self._outbox.waiting()])
        ]

    def waiting(self) -> dict[str, int]:
        """How many deliveries each receiver still has to expect; those with none are left out."""
        return self._outbox.waiting()

    def now(self) -> float:
        """The time by the fleet's one clock."""
        return self._outbox.now()

    def log(self, receiver: str, *, limit: int = 20, choice: DeliveryChoice = DeliveryChoice()) -> list[DeliveryLine]:
        """How the latest deliveries to a receiver went, newest first; without excerpts where the job is forgotten."""
        fitting = [line for line in self._outbox.log(receiver, limit=WHOLE_LOG) if choice.fits(line)][:limit]
        kept = {job.id for job, _ in self._ledger.get_many([*{line.job_id for line in fitting}])}
        return [
            line if line.job_id in kept or is_test_delivery(line.job_id) else replace(line, sent=None, answer=None)
            for line in fitting
        ]

    def own_log(self, job: Job, request: VideoRequest, *, tenant: str | None) -> list[tuple[str, DeliveryLine]]:
        """How the deliveries of a job to its owner's receivers went, newest first, each with its receiver."""
        choice = DeliveryChoice(job_id=job.id)
        found = [
            (receiver, line)
            for receiver in self.own_receivers(job, request, tenant=tenant)
            for line in self.log(receiver, limit=WHOLE_LOG, choice=choice)
        ]
        return sorted(found, key=lambda delivery: position(delivery[1].id), reverse=True)

    def own_receivers(self, job: Job, request: VideoRequest, *, tenant: str | None) -> Mapping[str, Sequence[str]]:
        """Whom a job's owner may ask about and have told, each with the events that it wants (of an ended job).

        A tenant's own are its endpoints, and the address that its order brought along; the operator's (no tenant) are
        all that hear of the job.
        """
        events = ends_of(job)
        mine = [endpoint for endpoint in self._endpoints.all() if _is_own(endpoint, job, tenant)]
        ordered = {origin_of(request.webhook_url): events} if request.webhook_url else {}
        named = {} if tenant is not None else dict.fromkeys(self._names, events)
        return {**named, **{endpoint.id: endpoint.wants(events, job.tenant) for endpoint in mine}, **ordered}

    def send_test(self, receiver: str, *, timeout_s: float) -> DeliveryLine | None:
        """Tell the receiver of a made-up job, by a worker, and say how it went; None if no worker did it in time."""
        test_delivery = self.start_test(receiver)
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if line := self.test_outcome(receiver, test_delivery):
                return line
            time.sleep(ASK_EVERY_S)
        return None

    def start_test(self, receiver: str) -> str:
        """Have the receiver told of a made-up job; returns that job's id."""
        test_delivery = new_test_delivery_id()
        self._wake(self._outbox.put(test_delivery, {receiver: [TEST_EVENT]}))
        return test_delivery

    def test_outcome(self, receiver: str, test_delivery: str) -> DeliveryLine | None:
        """How a test delivery went, if a worker did it."""
        return next((line for line in self._outbox.log(receiver) if line.job_id == test_delivery), None)

    def redeliver(self, receiver: str, job_id: str) -> Sequence[str]:
        """Tell the receiver of an ended job now, also if it was told before; returns the events that it is told.

        Raises:
            UnknownJob: no such job, or it ended so long ago that it is forgotten.
            WrongState: the job has not ended.
        """
        job = self._ledger.get(job_id)
        check_has_ended(job)
        events = ends_of(job)
        self.redeliver_events(job_id, {receiver: events})
        return events

    def redeliver_events(self, job_id: str, wanted: Mapping[str, Sequence[str]]) -> None:
        """Tell receivers these events of an ended job now, also those that they were told before."""
        self._wake(self._outbox.put(job_id, wanted, again=True))

    def abandoned(self, receiver: str) -> Iterator[DeliveryLine]:
        """The deliveries that failed last, as far as the receiver's log reaches, the oldest first."""
        latest = {(line.job_id, line.event): line for line in reversed(self._outbox.log(receiver))}
        return (line for line in latest.values() if not (line.delivered or is_test_delivery(line.job_id)))

    def _wake(self, receivers: Sequence[str]) -> None:
        for receiver in receivers:
            self._remind(TaskName.DELIVER, receiver, 0)


def check_has_ended(job: Job) -> None:
    """Only what has ended can be told.

    Raises:
        WrongState: the job has not.
    """
    if not job.is_final:
        raise WrongState(f"{job.id} is {job.state}: it has not ended")


def _is_own(endpoint: Endpoint, job: Job, tenant: str | None) -> bool:
    return endpoint.hears(job.tenant) if tenant is None else endpoint.tenant == tenant


def make_receivers(settings: Settings) -> Receivers:
    """The parts, poured together."""
    client = connect(settings.redis, name="producer")
    kept = retention(settings)
    names = [*settings.hooks.call, *([DATABASE] if settings.sql.enabled else [])]
    scripts = Scripts(client, retention=kept, clock=None, subscribers=())
    return Receivers(
        names,
        Endpoints(scripts),
        Ledger(client, retention=kept),
        Outbox(client, retention=kept),
        reminder_sender(make_app(settings)),
    )
