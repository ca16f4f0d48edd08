"""The outboxes: few slots claim each receiver's deliveries on lease, retry them, and stop while they keep failing."""

from dataclasses import replace

import pytest
import redis

from jobs.breakers import BreakerTerms
from jobs.delivery import Delivery, DeliveryLine, Settlement
from jobs.errors import StaleTurn
from jobs.outbox import Outbox, ReceiverTerms
from jobs.scripts import Retention
from tests.stage import Clock

TERMS = ReceiverTerms(width=2, lease_s=60, breaker=BreakerTerms(first_s=10, longest_s=25, after=3))
LINE = DeliveryLine("job_1", "job.completed", delivered=True, tries=1, took_s=0.1, message="delivered")
COMPLETED = {"sql": ["job.completed"]}


@pytest.fixture
def outbox(client: "redis.Redis", clock: Clock) -> Outbox:
    """Outboxes that go by the test's clock; the database is known to be quick."""
    made = Outbox(client, clock=clock, retention=Retention(retention_s=86400))
    made.put("job_0_before", COMPLETED)
    deliver(made, claimed(made))
    return made


def claimed(outbox: Outbox, receiver: str = "sql", terms: ReceiverTerms = TERMS) -> Delivery:
    """What a slot claims, when something must be due."""
    delivery = outbox.take(receiver, terms)
    assert delivery is not None
    return delivery


def deliver(outbox: Outbox, delivery: Delivery) -> None:
    """The receiver accepts the delivery."""
    outbox.settle(delivery, TERMS, Settlement(LINE, over=True))


def fail(outbox: Outbox, delivery: Delivery, *, again_in_s: float = 5, took_s: float = 0.1) -> float:
    """The delivery fails; returns the seconds until the next attempt."""
    line = replace(LINE, delivered=False, message="no", took_s=took_s)
    return outbox.settle(delivery, TERMS, Settlement(line, over=False, next_in_s=again_in_s))


def test_each_receiver_receives_each_event_once(outbox: Outbox) -> None:
    """A worker that died in the middle puts the events again, which must not double what it did."""
    wanted = {"sql": ["job.expired"], "a:b": ["job.expired"]}
    assert sorted(outbox.put("job_1", wanted)) == ["a:b", "sql"]
    assert outbox.put("job_1", wanted) == []

    deliver(outbox, claimed(outbox))
    assert outbox.put("job_1", wanted) == []
    assert outbox.take("sql", TERMS) is None
    assert outbox.waiting() == {"a:b": 1}


def test_a_jobs_events_are_delivered_in_their_order(outbox: Outbox) -> None:
    """A later event waits until the earlier one is delivered or given up, however long that takes."""
    outbox.put("job_1", {"sql": ["job.expired"]})
    first = claimed(outbox)
    outbox.put("job_1", {"sql": ["job.expired", "job.fetched_late"]})
    assert outbox.take("sql", TERMS) is None

    deliver(outbox, first)
    assert (first.event, claimed(outbox).event) == ("job.expired", "job.fetched_late")


def test_a_slow_receiver_delays_no_other_and_uses_few_slots(outbox: Outbox) -> None:
    """However many deliveries wait for it, few run at once, and the other's are claimed meanwhile."""
    for n in range(5):
        outbox.put(f"job_{n}", {"stuck:hook": ["job.completed"], "sql": ["job.completed"]})

    claimed(outbox, "stuck:hook")
    assert outbox.take("stuck:hook", TERMS) is None, "nobody knows yet whether it is quick"
    assert (claimed(outbox, "sql").more, claimed(outbox, "sql").more) == (True, False)
    assert outbox.take("sql", TERMS) is None


def test_a_busy_slot_of_a_quick_receiver_needs_no_other(outbox: Outbox) -> None:
    """It claims the next delivery by itself: a message for each would cost more than the delivery."""
    assert outbox.put("job_1", COMPLETED) == ["sql"]
    under_way = claimed(outbox)
    assert outbox.put("job_2", COMPLETED) == []

    deliver(outbox, under_way)
    deliver(outbox, claimed(outbox))
    assert outbox.put("job_3", COMPLETED) == ["sql"]

    fail(outbox, claimed(outbox), took_s=9)
    outbox.put("job_4", COMPLETED)
    claimed(outbox)
    assert outbox.put("job_5", COMPLETED) == ["sql"], "the slot of a slow one may be busy for long"


def test_a_slot_whose_worker_died_is_free_when_its_lease_ends(outbox: Outbox, clock: Clock) -> None:
    """Nobody wrote how the delivery went, so it is repeated; a slot that comes back too late is refused."""
    outbox.put("job_1", COMPLETED)
    lost = claimed(outbox)
    clock.advance(59)
    assert outbox.take("sql", TERMS) is None
    assert outbox.due(limit=10, lease_s=15) == []

    clock.advance(2)
    assert outbox.due(limit=10, lease_s=15) == ["sql"]
    deliver(outbox, claimed(outbox))
    with pytest.raises(StaleTurn):
        deliver(outbox, lost)


def test_the_slots_of_a_dead_worker_are_freed_before_their_leases_end(outbox: Outbox, clock: Clock) -> None:
    """A hook may take minutes; a worker's death is known in seconds. The living keep their leases."""
    for n in range(2):
        outbox.put(f"job_{n}", COMPLETED)
    for worker in ("dead", "alive"):
        outbox.take("sql", TERMS, worker=worker)
    clock.advance(10)
    assert outbox.void(["alive"], after_s=15) == 0, "it may not have had the time to give a sign"

    clock.advance(10)
    assert outbox.void(["alive"], after_s=15) == 1
    assert outbox.due(limit=10, lease_s=15) == ["sql"]
    assert claimed(outbox).job_id == "job_0"


def test_what_failed_waits_for_its_own_time_and_holds_up_nothing(outbox: Outbox, clock: Clock) -> None:
    """One poisonous job must not stand before the next."""
    outbox.put("job_bad", COMPLETED)
    fail(outbox, claimed(outbox), again_in_s=300)
    outbox.put("job_good", COMPLETED)
    deliver(outbox, claimed(outbox))
    assert outbox.take("sql", TERMS) is None

    clock.advance(301)
    again = claimed(outbox)
    assert (again.job_id, again.tries) == ("job_bad", 1)


def test_a_receiver_that_keeps_failing_is_held_and_then_probed_by_one(outbox: Outbox, clock: Clock) -> None:
    """Holding costs no tries; the first success opens every slot again."""
    for n in range(6):
        outbox.put(f"job_{n}", COMPLETED)
    for _ in range(3):
        fail(outbox, claimed(outbox), again_in_s=3600)
    assert outbox.take("sql", TERMS) is None
    assert outbox.due(limit=10, lease_s=15) == []

    clock.advance(11)
    assert outbox.due(limit=10, lease_s=15) == ["sql"]
    probe = claimed(outbox)
    assert outbox.take("sql", TERMS) is None
    assert fail(outbox, probe) == 11
    clock.advance(11)
    assert outbox.take("sql", TERMS) is None, "the second hold is twice as long"

    clock.advance(10)
    deliver(outbox, claimed(outbox))
    assert outbox.status("sql").failures == 0
    assert outbox.take("sql", TERMS)
    assert outbox.take("sql", TERMS)


def test_what_keeps_a_receivers_breaker_lives_as_long_as_its_deliveries(
    outbox: Outbox, clock: Clock, client: "redis.Redis"
) -> None:
    """Failures that are hours apart are in a row, if nothing between them was delivered."""
    for n in range(3):
        outbox.put(f"job_{n}", COMPLETED)
        fail(outbox, claimed(outbox), again_in_s=80_000)
        clock.advance(5000)
    status = outbox.status("sql")
    assert (status.failures, status.failing_since) == (3, clock.now - 15_000)
    assert status.open_until == clock.now - 4990
    assert 86_000 < client.ttl("rushes:breaker:receiver:sql") <= 86_400

    deliver(outbox, claimed(outbox)) if outbox.put("job_3", COMPLETED) else None
    status = outbox.status("sql")
    assert (status.failures, status.failing_since, status.open_until) == (0, None, None)
    assert not client.exists("rushes:breaker:receiver:sql")


def test_a_job_that_is_forgotten_is_not_the_receivers_fault(outbox: Outbox) -> None:
    """It is given up, and nobody is held for it."""
    for n in range(4):
        outbox.put(f"job_{n}", COMPLETED)
        line = replace(LINE, delivered=False, message="the job's row is no longer kept")
        outbox.settle(claimed(outbox), TERMS, Settlement(line, over=True, blameless=True))
    assert outbox.status("sql").failures == 0
    assert outbox.waiting() == {}


def test_one_job_that_fails_again_and_again_says_nothing_of_the_receiver(outbox: Outbox, clock: Clock) -> None:
    """Else a single bad record would stop everybody's deliveries in a quiet hour."""
    outbox.put("job_bad", COMPLETED)
    for _ in range(10):
        fail(outbox, claimed(outbox), again_in_s=1)
        clock.advance(2)

    outbox.put("job_good", COMPLETED)
    assert {claimed(outbox).job_id, claimed(outbox).job_id} == {"job_bad", "job_good"}
    assert outbox.status("sql").failures == 1


def test_a_receiver_that_takes_long_has_one_slot(outbox: Outbox) -> None:
    """Its threads serve the quick receivers."""
    for n in range(4):
        outbox.put(f"job_{n}", COMPLETED)
    fail(outbox, claimed(outbox), took_s=9)

    claimed(outbox)
    assert outbox.take("sql", TERMS) is None


def test_a_person_can_have_a_job_delivered_again_at_once(outbox: Outbox) -> None:
    """A delivered event is delivered again, a retry does not wait any more, and a delivery under way is left alone."""
    outbox.put("job_1", COMPLETED)
    deliver(outbox, claimed(outbox))
    assert outbox.put("job_1", COMPLETED, again=True) == ["sql"]

    fail(outbox, claimed(outbox), again_in_s=7200)
    assert outbox.put("job_1", COMPLETED, again=True) == ["sql"]
    assert claimed(outbox).tries == 0
    assert outbox.put("job_1", COMPLETED, again=True) == []


def test_every_delivery_is_in_the_receivers_log_newest_first(outbox: Outbox, clock: Clock) -> None:
    """Support reads this log first."""
    outbox.put("job_1", COMPLETED)
    fail(outbox, claimed(outbox), again_in_s=1)
    clock.advance(2)
    deliver(outbox, claimed(outbox))

    assert [(line.delivered, line.at) for line in outbox.log("sql", limit=2)] == [
        (True, clock.now),
        (False, clock.now - 2),
    ]


def test_the_log_is_bounded(outbox: Outbox, client: "redis.Redis") -> None:
    """A receiver of millions of events must not fill Redis."""
    for n in range(500):
        outbox.put(f"job_{n}", COMPLETED)
        deliver(outbox, claimed(outbox))

    assert client.xlen("rushes:deliveries:sql") < 400
    assert client.ttl("rushes:deliveries:sql") > 0


def test_a_receiver_that_is_gone_is_forgotten(outbox: Outbox) -> None:
    """Its backlog must not be looked into for ever."""
    outbox.put("job_1", COMPLETED)
    outbox.forget("sql")
    assert outbox.waiting() == {}
    assert outbox.due(limit=10, lease_s=15) == []


def test_a_delivery_that_was_forgotten_with_its_job_leaves_the_outbox(outbox: Outbox, client: "redis.Redis") -> None:
    """Its row in Redis has expired, so there is nothing to deliver."""
    outbox.put("job_1_forgotten", COMPLETED)
    client.delete("rushes:delivery:sql:job_1_forgotten")
    outbox.put("job_2", COMPLETED)

    assert claimed(outbox).job_id == "job_2"
    assert outbox.waiting() == {"sql": 1}
