"""The receivers of ended jobs: their backlog, their delivery logs, test deliveries and redeliveries."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from config.connection import connect, retention
from config.settings import Settings
from config.wake_ups import producers_sender
from config.webhook_endpoints import Endpoint, Endpoints, is_origin, origin_of
from jobs.delivery import DeliveryLine
from jobs.errors import WrongState
from jobs.events import ENDS, ends_of
from jobs.job import Job, VideoRequest
from jobs.job_log import position
from jobs.ledger import Ledger
from jobs.outbox import Outbox, ReceiverStatus
from jobs.queues import DATABASE
from jobs.scripts import Scripts
from jobs.test_deliveries import TEST_EVENT, is_test_delivery, new_test_delivery_id

ASK_EVERY_S: Final = 0.1
WHOLE_LOG: Final = 1000
"""A limit above what any receiver's log keeps."""


@dataclass(frozen=True, slots=True)
class KnownReceiver:
    """A receiver and its status. `known`: this host's settings, an endpoint or a request's `webhook_url` names it."""

    name: str
    known: bool
    status: ReceiverStatus


@dataclass(frozen=True, slots=True)
class DeliveryChoice:
    """A filter for delivery attempts; None matches all. `before`: only attempts older than that line."""

    job_id: str | None = None
    delivered: bool | None = None
    before: str | None = None

    def matches(self, line: DeliveryLine) -> bool:
        """Whether the filter lets the attempt through."""
        return (
            self.job_id in {None, line.job_id}
            and self.delivered in {None, line.delivered}
            and (self.before is None or position(line.id) < position(self.before))
        )


class Receivers:
    """The use cases around receivers, over their outboxes.

    Every method raises LedgerUnavailable when Redis is unavailable.
    """

    def __init__(self, names: Sequence[str], endpoints: Endpoints, ledger: Ledger, outbox: Outbox) -> None:
        self._names = tuple(names)
        self._endpoints = endpoints
        self._ledger = ledger
        self._outbox = outbox

    def receivers(self) -> list[KnownReceiver]:
        """List the receivers in the settings, every endpoint, and every other receiver with waiting deliveries."""
        known = [*self._names, *(endpoint.id for endpoint in self._endpoints.all())]
        return [
            KnownReceiver(name, name in known or is_origin(name), self._outbox.status(name))
            for name in dict.fromkeys([*known, *self._outbox.waiting()])
        ]

    def waiting(self) -> dict[str, int]:
        """Count the deliveries in each outbox; empty outboxes are left out."""
        return self._outbox.waiting()

    def status(self, receiver: str) -> ReceiverStatus:
        """Return a receiver's status."""
        return self._outbox.status(receiver)

    def now(self) -> float:
        """Read Redis's clock, in seconds since the epoch."""
        return self._ledger.now()

    def log(self, receiver: str, *, limit: int = 20, choice: DeliveryChoice = DeliveryChoice()) -> list[DeliveryLine]:
        """List the latest attempts to deliver to a receiver, newest first; no excerpts for a job without a row."""
        fitting = [line for line in self._outbox.log(receiver, limit=WHOLE_LOG) if choice.matches(line)][:limit]
        kept = {job.id for job, _ in self._ledger.get_many([*{line.job_id for line in fitting}])}
        return [
            line if line.job_id in kept or is_test_delivery(line.job_id) else replace(line, sent=None, answer=None)
            for line in fitting
        ]

    def own_log(self, job: Job, request: VideoRequest, *, tenant: str | None) -> list[tuple[str, DeliveryLine]]:
        """List the attempts to deliver a job to its owner's receivers, newest first, each with its receiver."""
        choice = DeliveryChoice(job_id=job.id)
        found = [
            (receiver, line)
            for receiver in self.own_receivers(job, request, tenant=tenant)
            for line in self.log(receiver, limit=WHOLE_LOG, choice=choice)
        ]
        return sorted(found, key=lambda delivery: position(delivery[1].id), reverse=True)

    def own_receivers(self, job: Job, request: VideoRequest, *, tenant: str | None) -> Mapping[str, Sequence[str]]:
        """List the receivers that a job's owner may see and redeliver to, each with its subscribed ends of the job.

        A tenant owns its endpoints and the request's `webhook_url`; the operator (no tenant) owns all of the job's
        receivers.
        """
        events = ends_of(job)
        mine = [endpoint for endpoint in self._endpoints.all() if _is_own(endpoint, job, tenant)]
        by_request = {origin_of(request.webhook_url, job.tenant): events} if request.webhook_url else {}
        by_settings = {} if tenant is not None else dict.fromkeys(self._names, events)
        by_endpoint = {endpoint.id: endpoint.subscribed(events, job.tenant) for endpoint in mine}
        return {**by_settings, **by_endpoint, **by_request}

    def send_test(self, receiver: str, *, timeout_s: float) -> DeliveryLine | None:
        """Have a worker send a test delivery and return the attempt; None: no worker did so in time."""
        test_delivery = self.start_test(receiver)
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if line := self.test_outcome(receiver, test_delivery):
                return line
            time.sleep(ASK_EVERY_S)
        return None

    def start_test(self, receiver: str) -> str:
        """Put a test delivery into the receiver's outbox; returns the id of its made-up job."""
        test_delivery = new_test_delivery_id()
        self._outbox.mail(test_delivery, {receiver: [TEST_EVENT]})
        return test_delivery

    def test_outcome(self, receiver: str, test_delivery: str) -> DeliveryLine | None:
        """Return the attempt at a test delivery, if a worker made it."""
        return next((line for line in self._outbox.log(receiver) if line.job_id == test_delivery), None)

    def redeliver(self, receiver: str, job_id: str) -> Sequence[str]:
        """Deliver an ended job to the receiver now, also what it has had before; returns the events.

        Raises:
            UnknownJob: no such job, or its row has expired.
            WrongState: the job has not ended.
        """
        job = self._ledger.get(job_id)
        check_has_ended(job)
        events = ends_of(job)
        self.redeliver_events(job_id, {receiver: events})
        return events

    def redeliver_events(self, job_id: str, wanted: Mapping[str, Sequence[str]]) -> None:
        """Deliver these events of an ended job to receivers now, also those delivered before."""
        self._outbox.mail(job_id, wanted)

    def abandoned(self, receiver: str) -> Iterator[DeliveryLine]:
        """Yield the deliveries of ends whose last logged attempt failed, oldest first: ends can be redelivered."""
        latest = {(line.job_id, line.event): line for line in reversed(self._outbox.log(receiver))}
        return (line for line in latest.values() if line.event in ENDS and not line.delivered)


def check_has_ended(job: Job) -> None:
    """Refuse a job that has not ended: only ends are delivered.

    Raises:
        WrongState: the job has not ended.
    """
    if not job.is_final:
        raise WrongState(f"{job.id} is {job.state}: it has not ended")


def _is_own(endpoint: Endpoint, job: Job, tenant: str | None) -> bool:
    return endpoint.covers(job.tenant) if tenant is None else endpoint.tenant == tenant


def make_receivers(settings: Settings) -> Receivers:
    """Build the receivers' use cases from the settings."""
    client = connect(settings.redis, name="producer")
    kept = retention(settings)
    names = [*settings.hooks.call, *([DATABASE] if settings.sql.enabled else [])]
    send = producers_sender(settings)
    scripts = Scripts(client, retention=kept, clock=None, subscribers=(), send_wake_up=send)
    return Receivers(names, Endpoints(scripts), Ledger(client, retention=kept), Outbox(scripts))
