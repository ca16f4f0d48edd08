"""The outboxes: each receiver's deliveries, taken on lease by few slots, tried again, held when they keep failing."""

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
LINE = DeliveryLine("job_1", "job.completed", delivered=True, tries=1, took_s=0.1, message="told")
COMPLETED = {"sql": ["job.completed"]}


@pytest.fixture
def outbox(client: "redis.Redis", clock: Clock) -> Outbox:
    """Outboxes that go by the test's clock; the database is known to be quick."""
    made = Outbox(client, clock=clock, retention=Retention(retention_s=86400))
    made.put("job_0_before", COMPLETED)
    tell(made, taken(made))
    return made


def taken(outbox: Outbox, receiver: str = "sql", terms: ReceiverTerms = TERMS) -> Delivery:
    """What a slot takes, when there must be something."""
    delivery = outbox.take(receiver, terms)
    assert delivery is not None
    return delivery


def tell(outbox: Outbox, delivery: Delivery) -> None:
    """The receiver has it."""
    outbox.settle(delivery, TERMS, Settlement(LINE, over=True))


def fail(outbox: Outbox, delivery: Delivery, *, again_in_s: float = 5, took_s: float = 0.1) -> float:
    """The receiver could not be told."""
    line = replace(LINE, delivered=False, message="no", took_s=took_s)
    return outbox.settle(delivery, TERMS, Settlement(line, over=False, next_in_s=again_in_s))


def test_each_receiver_is_told_each_event_once(outbox: Outbox) -> None:
    """Posting is repeated when a worker dies in the middle: it must not double what it did."""
    wanted = {"sql": ["job.expired"], "a:b": ["job.expired"]}
    assert sorted(outbox.put("job_1", wanted)) == ["a:b", "sql"]
    assert outbox.put("job_1", wanted) == []

    tell(outbox, taken(outbox))
    assert outbox.put("job_1", wanted) == []
    assert outbox.take("sql", TERMS) is None
    assert outbox.waiting() == {"a:b": 1}


def test_a_jobs_events_are_told_in_their_order(outbox: Outbox) -> None:
    """The later waits until the earlier is told or given up, however long that takes."""
    outbox.put("job_1", {"sql": ["job.expired"]})
    first = taken(outbox)
    outbox.put("job_1", {"sql": ["job.expired", "job.fetched_late"]})
    assert outbox.take("sql", TERMS) is None

    tell(outbox, first)
    assert (first.event, taken(outbox).event) == ("job.expired", "job.fetched_late")


def test_a_slow_receiver_holds_up_no_other_and_takes_few_lanes(outbox: Outbox) -> None:
    """However many deliveries wait for it, it gets few at once, and the other's are taken all the same."""
    for n in range(5):
        outbox.put(f"job_{n}", {"stuck:hook": ["job.completed"], "sql": ["job.completed"]})

    taken(outbox, "stuck:hook")
    assert outbox.take("stuck:hook", TERMS) is None, "nobody knows yet whether it is quick"
    assert (taken(outbox, "sql").more, taken(outbox, "sql").more) == (True, False)
    assert outbox.take("sql", TERMS) is None


def test_the_lane_in_use_of_a_quick_receiver_is_no_reason_for_another(outbox: Outbox) -> None:
    """It comes round by itself: a message for each delivery would cost more than the telling."""
    assert outbox.put("job_1", COMPLETED) == ["sql"]
    under_way = taken(outbox)
    assert outbox.put("job_2", COMPLETED) == []

    tell(outbox, under_way)
    tell(outbox, taken(outbox))
    assert outbox.put("job_3", COMPLETED) == ["sql"]

    fail(outbox, taken(outbox), took_s=9)
    outbox.put("job_4", COMPLETED)
    taken(outbox)
    assert outbox.put("job_5", COMPLETED) == ["sql"], "the slot of a slow one may be busy for long"


def test_a_lane_whose_worker_died_is_free_when_its_lease_ends(outbox: Outbox, clock: Clock) -> None:
    """At least once: nobody wrote how it went, so it is told again; a slot that comes back too late is refused."""
    outbox.put("job_1", COMPLETED)
    lost = taken(outbox)
    clock.advance(59)
    assert outbox.take("sql", TERMS) is None
    assert outbox.due(limit=10, lease_s=15) == []

    clock.advance(2)
    assert outbox.due(limit=10, lease_s=15) == ["sql"]
    tell(outbox, taken(outbox))
    with pytest.raises(StaleTurn):
        tell(outbox, lost)


def test_the_lanes_of_a_dead_worker_are_freed_before_their_leases_end(outbox: Outbox, clock: Clock) -> None:
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
    assert taken(outbox).job_id == "job_0"


def test_what_failed_waits_for_its_own_time_and_holds_up_nothing(outbox: Outbox, clock: Clock) -> None:
    """One poisonous job must not stand before the next."""
    outbox.put("job_bad", COMPLETED)
    fail(outbox, taken(outbox), again_in_s=300)
    outbox.put("job_good", COMPLETED)
    tell(outbox, taken(outbox))
    assert outbox.take("sql", TERMS) is None

    clock.advance(301)
    again = taken(outbox)
    assert (again.job_id, again.tries) == ("job_bad", 1)


def test_a_receiver_that_keeps_failing_is_held_and_then_probed_by_one(outbox: Outbox, clock: Clock) -> None:
    """Holding costs no tries; the first success opens every slot again."""
    for n in range(6):
        outbox.put(f"job_{n}", COMPLETED)
    for _ in range(3):
        fail(outbox, taken(outbox), again_in_s=3600)
    assert outbox.take("sql", TERMS) is None
    assert outbox.due(limit=10, lease_s=15) == []

    clock.advance(11)
    assert outbox.due(limit=10, lease_s=15) == ["sql"]
    probe = taken(outbox)
    assert outbox.take("sql", TERMS) is None
    assert fail(outbox, probe) == 11
    clock.advance(11)
    assert outbox.take("sql", TERMS) is None, "the second hold is twice as long"

    clock.advance(10)
    tell(outbox, taken(outbox))
    assert outbox.status("sql").failures == 0
    assert outbox.take("sql", TERMS)
    assert outbox.take("sql", TERMS)


def test_what_keeps_a_receivers_breaker_lives_as_long_as_its_deliveries(
    outbox: Outbox, clock: Clock, client: "redis.Redis"
) -> None:
    """Failures that are hours apart are in a row all the same, if nothing between them was delivered."""
    for n in range(3):
        outbox.put(f"job_{n}", COMPLETED)
        fail(outbox, taken(outbox), again_in_s=80_000)
        clock.advance(5000)
    status = outbox.status("sql")
    assert (status.failures, status.failing_since) == (3, clock.now - 15_000)
    assert status.held_until == clock.now - 4990
    assert 86_000 < client.ttl("rushes:breaker:receiver:sql") <= 86_400

    tell(outbox, taken(outbox)) if outbox.put("job_3", COMPLETED) else None
    status = outbox.status("sql")
    assert (status.failures, status.failing_since, status.held_until) == (0, None, None)
    assert not client.exists("rushes:breaker:receiver:sql")


def test_a_job_that_is_forgotten_is_not_the_receivers_fault(outbox: Outbox) -> None:
    """It is given up, and nobody is held for it."""
    for n in range(4):
        outbox.put(f"job_{n}", COMPLETED)
        line = replace(LINE, delivered=False, message="the job's row is no longer kept")
        outbox.settle(taken(outbox), TERMS, Settlement(line, over=True, blameless=True))
    assert outbox.status("sql").failures == 0
    assert outbox.waiting() == {}


def test_one_job_that_fails_again_and_again_says_nothing_of_the_receiver(outbox: Outbox, clock: Clock) -> None:
    """Else a single bad record would hold back everybody's in a quiet hour."""
    outbox.put("job_bad", COMPLETED)
    for _ in range(10):
        fail(outbox, taken(outbox), again_in_s=1)
        clock.advance(2)

    outbox.put("job_good", COMPLETED)
    assert {taken(outbox).job_id, taken(outbox).job_id} == {"job_bad", "job_good"}
    assert outbox.status("sql").failures == 1


def test_a_receiver_that_takes_long_has_one_lane(outbox: Outbox) -> None:
    """Its threads are for those that are quick."""
    for n in range(4):
        outbox.put(f"job_{n}", COMPLETED)
    fail(outbox, taken(outbox), took_s=9)

    taken(outbox)
    assert outbox.take("sql", TERMS) is None


def test_a_person_can_have_a_job_told_again_and_at_once(outbox: Outbox) -> None:
    """What was told is told again, what waits for its next try does not wait; what is under way is left alone."""
    outbox.put("job_1", COMPLETED)
    tell(outbox, taken(outbox))
    assert outbox.put("job_1", COMPLETED, again=True) == ["sql"]

    fail(outbox, taken(outbox), again_in_s=7200)
    assert outbox.put("job_1", COMPLETED, again=True) == ["sql"]
    assert taken(outbox).tries == 0
    assert outbox.put("job_1", COMPLETED, again=True) == []


def test_every_delivery_is_in_the_receivers_log_newest_first(outbox: Outbox, clock: Clock) -> None:
    """What support reads first."""
    outbox.put("job_1", COMPLETED)
    fail(outbox, taken(outbox), again_in_s=1)
    clock.advance(2)
    tell(outbox, taken(outbox))

    assert [(line.delivered, line.at) for line in outbox.log("sql", limit=2)] == [
        (True, clock.now),
        (False, clock.now - 2),
    ]


def test_the_log_is_bounded(outbox: Outbox, client: "redis.Redis") -> None:
    """A receiver that is told of millions must not fill Redis."""
    for n in range(500):
        outbox.put(f"job_{n}", COMPLETED)
        tell(outbox, taken(outbox))

    assert client.xlen("rushes:deliveries:sql") < 400
    assert client.ttl("rushes:deliveries:sql") > 0


def test_a_receiver_that_is_gone_is_forgotten(outbox: Outbox) -> None:
    """Its backlog must not be looked into for ever."""
    outbox.put("job_1", COMPLETED)
    outbox.forget("sql")
    assert outbox.waiting() == {}
    assert outbox.due(limit=10, lease_s=15) == []


def test_a_delivery_that_was_forgotten_with_its_job_leaves_the_outbox(outbox: Outbox, client: "redis.Redis") -> None:
    """Its life in Redis is over: there is nothing to tell."""
    outbox.put("job_1_forgotten", COMPLETED)
    client.delete("rushes:delivery:sql:job_1_forgotten")
    outbox.put("job_2", COMPLETED)

    assert taken(outbox).job_id == "job_2"
    assert outbox.waiting() == {"sql": 1}
