"""Deliveries: batches of one receiver, each delivery's own failure, and what is left when a receiver becomes slow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
import redis

from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.job import Charged, Hold, Reason, Terms
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import NEWER_VERSION_S, RetryTerms
from jobs.outbox import Outbox, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.scripts import Retention, Scripts, WakeUp
from jobs.states import State
from jobs.test_deliveries import TEST_EVENT, new_test_delivery_id
from tests import steps
from tests.stage import Clock, a_request
from worker.deliver import BATCH, Deliveries, Delivering
from worker.receivers.outcome import Receiver
from worker.receivers.registry import ReceiverRegistry

NAME: Final = "shop:note"
QUEUE: Final = delivery_queue(NAME)
RETRY_S: Final = 3600.0
TERMS: Final = ReceiverTerms(width=2, longest_s=60)
RETRIES: Final = RetryTerms((RETRY_S,), disable_after_s=5 * 86_400)


@dataclass
class Fake(Receiver):
    """A receiver that notes what it gets, and answers as `outcome` says; `takes` is what happens meanwhile."""

    outcome: Callable[[Delivery], Outcome] = lambda _: Delivered()
    takes: Callable[[], None] = lambda: None
    got: list[tuple[str, str]] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    terms: ReceiverTerms = TERMS
    retries: RetryTerms = RETRIES

    def deliver(self, delivery: Delivery, *_: object) -> Outcome:
        """Take one delivery."""
        self.got.append((delivery.job_id, delivery.event))
        self.takes()
        return self.outcome(delivery)


@dataclass
class Workshop:
    """One worker's deliveries to one receiver."""

    ledger: Ledger
    outbox: Outbox
    receiver: Fake
    wake_ups: list[WakeUp]
    clock: Clock
    stopwatch: Clock = field(default_factory=Clock)

    def delivering(self) -> Delivering:
        """Its part of a task."""
        receivers: Any = SimpleNamespace(
            find=lambda _: self.receiver, disable=lambda _, why: self.receiver.disabled.append(why)
        )
        registry = cast("ReceiverRegistry", receivers)
        deliveries = Deliveries(self.ledger, self.outbox, registry, worker="w", clock=self.stopwatch)
        found = deliveries.receiver(QUEUE)
        assert found is not None
        return found

    def round(self) -> int:
        """Claim and deliver once; return how many were claimed."""
        delivering = self.delivering()
        claimed = self.ledger.items.claim(delivering.claim)
        if claimed.items:
            delivering.deliver(claimed)
        return len(claimed.items)

    def job(self) -> str:
        """A job of which this receiver gets every event."""
        job_id = new_job_id()
        self.ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
        return job_id

    def mailed(self, count: int) -> list[str]:
        """Jobs with one delivery each."""
        jobs = [self.job() for _ in range(count)]
        for job_id in jobs:
            self.outbox.mail(job_id, {NAME: ["job.completed"]})
            self.clock.advance(0.001)  # in this order
        return jobs

    def quick(self) -> None:
        """Let the receiver be known as a quick one."""
        self.mailed(1)
        self.round()
        self.receiver.got.clear()


@pytest.fixture
def shop(client: "redis.Redis", clock: Clock) -> Workshop:
    """A worker whose receiver takes everything."""
    wake_ups = list[WakeUp]()
    scripts = Scripts(client, retention=Retention(), clock=clock, subscribers=(), send_wake_up=wake_ups.append)
    ledger = Ledger(client, clock=clock, send_wake_up=wake_ups.append)
    return Workshop(ledger, Outbox(scripts), Fake(), wake_ups, clock)


def item(client: "redis.Redis", job_id: str) -> dict[str, str]:
    """A job's delivery as it waits."""
    return cast("dict[str, str]", client.hgetall(f"{PREFIX}item:{QUEUE}:{job_id}"))


def due_in_s(client: "redis.Redis", clock: Clock, job_id: str) -> float | None:
    """In how many seconds a job's delivery is due."""
    at = client.zscore(f"{PREFIX}due:{QUEUE}", job_id)
    return None if at is None else round(float(at) - clock(), 3)


# -- batches --------------------------------------------------------------------------------------------------------


def test_a_receiver_of_unknown_speed_gets_one_and_a_quick_one_a_batch(shop: Workshop) -> None:
    """A batch for a receiver that hangs would hold a thread for each of its deliveries in turn."""
    jobs = shop.mailed(BATCH + 5)

    assert [shop.round() for _ in range(4)] == [1, BATCH, 4, 0]

    assert [job_id for job_id, _ in shop.receiver.got] == jobs
    assert [line.delivered for line in shop.outbox.log(NAME)] == [True] * len(jobs)
    assert shop.outbox.waiting() == {}


def test_a_receiver_that_takes_long_on_average_gets_one_at_a_time(shop: Workshop) -> None:
    """One slot and one delivery: the threads of the fleet are for the others."""
    shop.receiver.takes = lambda: shop.stopwatch.advance(shop.receiver.terms.slow_s + 1)
    shop.mailed(3)
    assert [shop.round() for _ in range(4)] == [1, 1, 1, 0]


def test_the_rest_of_a_slow_batch_is_given_back_at_once(shop: Workshop, client: "redis.Redis", clock: Clock) -> None:
    """The receiver has become slow: other workers, or this one later, make the rest, which costs none of its tries."""
    shop.quick()
    jobs = shop.mailed(4)
    shop.receiver.takes = lambda: shop.stopwatch.advance(0.6)
    shop.wake_ups.clear()

    assert shop.round() == 4

    assert [job_id for job_id, _ in shop.receiver.got] == jobs[:2]
    assert [due_in_s(client, clock, job_id) for job_id in jobs] == [None, None, 0, 0]
    assert {item(client, job_id)["tries"] for job_id in jobs[2:]} == {"0"}
    assert [(wake_up.queue, wake_up.seconds) for wake_up in shop.wake_ups] == [(QUEUE, 0)]
    assert len(shop.outbox.log(NAME)) == 1 + 2
    shop.receiver.takes = lambda: None
    while shop.round():
        pass
    assert [job_id for job_id, _ in shop.receiver.got] == jobs


def test_a_receiver_that_wants_nothing_more_gets_nothing_more(
    shop: Workshop, client: "redis.Redis", clock: Clock
) -> None:
    """It is disabled; the rest of the batch waits, untried."""
    shop.quick()
    jobs = shop.mailed(3)
    shop.receiver.outcome = lambda _: NotDelivered("answered 410", status=410, unwanted=True)

    shop.round()

    assert [job_id for job_id, _ in shop.receiver.got] == jobs[:1]
    assert shop.receiver.disabled == ["it wants no further deliveries: answered 410"]
    assert [due_in_s(client, clock, job_id) for job_id in jobs] == [None, 0, 0]


# -- each delivery's own failure ------------------------------------------------------------------------------------


def test_a_delivery_that_raises_is_its_own_failure_and_holds_no_other(
    shop: Workshop, client: "redis.Redis", clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An odd row is tried again later, with the traceback in the log; the receiver's other deliveries go on."""
    shop.quick()
    poison, other = shop.mailed(2)

    def outcome(delivery: Delivery) -> Outcome:
        if delivery.job_id == poison:
            raise OverflowError("int too large to convert to float")
        return Delivered()

    shop.receiver.outcome = outcome
    shop.round()

    assert [job_id for job_id, _ in shop.receiver.got] == [poison, other]
    assert [due_in_s(client, clock, job_id) for job_id in (poison, other)] == [RETRY_S, None]
    assert "OverflowError" in caplog.text
    latest = {line.job_id: line.message for line in shop.outbox.log(NAME)}
    assert latest == latest | {poison: "unforeseen: OverflowError", other: "delivered"}
    assert shop.outbox.status(NAME).open_until is None


@pytest.mark.parametrize("events", ["job.completed", "job.completed 5 6 7", "job.completed five today", ""])
def test_a_delivery_that_a_newer_version_wrote_waits_and_holds_no_other(
    shop: Workshop, client: "redis.Redis", events: str
) -> None:
    """A newer worker can read it; it is due again when its lease ends."""
    shop.quick()
    newer, other = shop.mailed(2)
    client.hset(f"{PREFIX}item:{QUEUE}:{newer}", "events", events)

    shop.round()

    assert [job_id for job_id, _ in shop.receiver.got] == [other]
    assert item(client, newer)["events"] == events


def test_a_job_that_only_a_newer_version_can_read_waits_for_one(
    shop: Workshop, client: "redis.Redis", clock: Clock
) -> None:
    """The receiver is not called, is not to blame, and no try is used up; a worker that can read it delivers it."""
    shop.quick()
    newer, other = shop.mailed(2)
    client.hset(f"{PREFIX}job:{newer}", "state", "from_the_future")

    shop.round()

    assert [job_id for job_id, _ in shop.receiver.got] == [other]
    assert (due_in_s(client, clock, newer), item(client, newer)["tries"]) == (NEWER_VERSION_S, "0")
    assert shop.outbox.status(NAME).failing_since is None

    client.hset(f"{PREFIX}job:{newer}", "state", State.QUEUED)
    clock.advance(NEWER_VERSION_S)
    shop.round()
    assert [job_id for job_id, _ in shop.receiver.got] == [other, newer]


def test_a_job_whose_row_has_expired_is_given_up(shop: Workshop, client: "redis.Redis", clock: Clock) -> None:
    """There is nothing left to deliver; that is not the receiver's fault, and says nothing about its speed."""
    (job_id,) = shop.mailed(1)
    client.delete(f"{PREFIX}job:{job_id}", f"{PREFIX}request:{job_id}", f"{PREFIX}log:{job_id}")
    client.zrem(f"{PREFIX}due:queued", job_id)

    shop.round()

    assert (shop.receiver.got, due_in_s(client, clock, job_id)) == ([], None)
    (line,) = shop.outbox.log(NAME)
    assert (line.delivered, line.message) == (False, "the job's row is no longer kept")
    status = shop.outbox.status(NAME)
    assert (status.failing_since, status.took_s) == (None, None)


def test_the_log_says_when_each_delivery_of_a_batch_was_made(shop: Workshop) -> None:
    """Their events are written together, at the end of the batch."""
    shop.quick()
    jobs = shop.mailed(2)
    began_at = shop.ledger.now()
    shop.receiver.takes = lambda: shop.stopwatch.advance(0.4)

    shop.round()

    logs = shop.ledger.job_log.of_many(jobs)
    made = [logs[job_id][-1].data for job_id in jobs]
    assert [data["began_at"] for data in made] == pytest.approx([began_at, began_at + 0.4])
    assert [data["took_s"] for data in made] == [0.4, 0.4]


def test_a_test_delivery_is_tried_once(shop: Workshop) -> None:
    """A person waits for its outcome, and starts another."""
    shop.receiver.outcome = lambda _: NotDelivered("answered 500", status=500)
    test_delivery = new_test_delivery_id()
    shop.outbox.mail(test_delivery, {NAME: [TEST_EVENT]})

    assert [shop.round(), shop.round()] == [1, 0]
    assert shop.receiver.got == [(test_delivery, TEST_EVENT)]
    assert shop.outbox.waiting() == {}


# -- order ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def of_all_events(shop: Workshop) -> Workshop:
    """A receiver that gets these events of every job."""
    shop.outbox.register({NAME: ["job.accepted", "job.held", "job.failed"]})
    return shop


def ended(shop: Workshop) -> Sequence[tuple[str, str]]:
    """A job that was held and has failed; returns its events."""
    job_id = shop.job()
    steps.held(shop.ledger, shop.ledger.get(job_id), 5, Hold.THROTTLED, "busy")
    move = steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO)
    steps.end(shop.ledger, shop.ledger.get(job_id), move)
    return [(job_id, event) for event in ("job.accepted", "job.held", "job.failed")]


def test_a_jobs_events_arrive_in_order(of_all_events: Workshop) -> None:
    """Each after the one before it was delivered."""
    one, two = ended(of_all_events), ended(of_all_events)
    while of_all_events.round():
        pass
    got = of_all_events.receiver.got
    assert [[pair for pair in got if pair[0] == events[0][0]] for events in (one, two)] == [one, two]


def test_an_event_waits_for_the_one_before_it(of_all_events: Workshop, clock: Clock) -> None:
    """Else a receiver would read that a job failed, and then that it is held."""
    shop = of_all_events
    shop.receiver.outcome = lambda delivery: NotDelivered("no") if delivery.event == "job.held" else Delivered()
    events = ended(shop)

    assert [shop.round() for _ in range(3)] == [1, 1, 0]
    assert shop.receiver.got == events[:2]

    clock.advance(RETRY_S)
    assert [shop.round() for _ in range(3)] == [1, 1, 0]
    assert shop.receiver.got == [*events[:2], events[1], events[2]]
