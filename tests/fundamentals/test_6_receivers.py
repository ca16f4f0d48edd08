"""Receivers: hooks, webhook endpoints and the database are told of events, at least once and in order.

The script that writes an event also puts it into the outbox of each receiver that subscribes to it, so that no crash
comes between them. A delivery is a work item like any other: claimed, leased, tried again later.
"""

from dataclasses import dataclass, field

import pytest
import redis

from config.settings import WebhooksSettings
from config.webhook_endpoints import Endpoints
from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.job import Job, VideoRequest
from jobs.ledger import Ledger
from jobs.moves.delivery import RetryTerms
from jobs.outbox import Outbox, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.scripts import Retention, Scripts
from jobs.states import State
from jobs.work_items import LEASE_S
from tests import steps
from tests.stage import Clock, outbox_of
from worker.deliver import Deliveries
from worker.receivers.outcome import Receiver
from worker.receivers.registry import ReceiverRegistry
from worker.receivers.webhooks import WebhookSender

NAME = "shop:notify"
QUEUE = delivery_queue(NAME)


@dataclass
class Shop(Receiver):
    """A receiver that notes what it gets; it fails for the jobs that it finds poisoned."""

    got: list[tuple[str, str]] = field(default_factory=list)
    poisoned: set[str] = field(default_factory=set)
    terms: ReceiverTerms = field(default_factory=lambda: ReceiverTerms(width=2, longest_s=60))
    retries: RetryTerms = field(default_factory=lambda: RetryTerms((30.0, 60.0)))

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        """Take one delivery."""
        del request
        self.got.append((job.id, delivery.event))
        return NotDelivered("cannot digest it") if job.id in self.poisoned else Delivered()


@pytest.fixture
def outbox(client: "redis.Redis", clock: Clock) -> Outbox:
    """The receivers' outboxes."""
    return outbox_of(client, clock=clock)


@dataclass
class Worker:
    """A worker that can reach the shop."""

    ledger: Ledger
    shop: Shop
    deliveries: Deliveries

    def deliver(self) -> int:
        """Claim what is due and deliver it; return how many deliveries that were."""
        delivering = self.deliveries.receiver(QUEUE)
        assert delivering is not None
        claimed = self.ledger.items.claim(delivering.claim)
        delivering.deliver(claimed)
        return len(claimed.items)


@pytest.fixture
def worker(client: "redis.Redis", ledger: Ledger, clock: Clock, outbox: Outbox) -> Worker:
    """A worker that can reach the shop."""
    shop, endpoints = Shop(), Endpoints(Scripts(client, retention=Retention(), clock=clock, subscribers=()))
    registry = ReceiverRegistry({NAME: shop}, endpoints, WebhookSender(WebhooksSettings(), connections=1), clock)
    return Worker(ledger, shop, Deliveries(ledger, outbox, registry, worker="one"))


def test_the_end_of_a_job_and_its_delivery_are_one_write(ledger: Ledger, outbox: Outbox, worker: Worker) -> None:
    """Nobody has to remember to tell the shop."""
    job = steps.job_in(ledger, State.COMPLETED)
    assert outbox.waiting() == {NAME: 1}

    worker.deliver()

    assert worker.shop.got == [(job.id, "job.completed")]
    assert outbox.waiting() == {}


def test_a_failed_delivery_is_tried_again_and_then_given_up(ledger: Ledger, clock: Clock, worker: Worker) -> None:
    """After each of its waits; the job's log says what became of it."""
    job = steps.job_in(ledger, State.COMPLETED)
    worker.shop.poisoned = {job.id}
    for wait_s in (0, 30, 60):
        clock.advance(wait_s)
        assert worker.deliver() == 1

    assert ledger.job_log.of(job.id)[-1].event == "delivery.abandoned"


def test_a_poisoned_delivery_holds_no_other(ledger: Ledger, worker: Worker) -> None:
    """It is that delivery's failure; the receiver goes on with the rest."""
    poison, other = (steps.job_in(ledger, State.COMPLETED).id for _ in range(2))
    worker.shop.poisoned = {poison}
    while worker.deliver():
        pass

    assert {job_id for job_id, _ in worker.shop.got} == {poison, other}
    assert ledger.job_log.of(other)[-1].event == "delivery.succeeded"


def test_a_worker_that_dies_after_the_call_delivers_again(ledger: Ledger, clock: Clock, worker: Worker) -> None:
    """At least once: whether the shop has it is not known, so it gets it again. It keys what it writes by the job."""
    job = steps.job_in(ledger, State.COMPLETED)
    (item,) = steps.claimed_items(ledger, QUEUE)
    worker.shop.got.append((item.id, "job.completed"))  # called, and then the power failed

    clock.advance(LEASE_S)
    worker.deliver()

    assert worker.shop.got == [(job.id, "job.completed")] * 2
