"""When Redis's clock is set back, nothing waits for longer than planned, and long waits stay as they are."""

from collections.abc import Callable, Sequence
from typing import Final

import pytest
import redis

from jobs.breakers import Breaker, BreakerTerms
from jobs.clock import LongestWaits
from jobs.delivery import DeliveryLine
from jobs.events import Event
from jobs.job import Charged, Hold, Job, Reason
from jobs.ledger import Ledger
from jobs.moves.delivery import released
from jobs.moves.move import Move
from jobs.outbox import Attempt, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.states import FollowUp, State
from jobs.work_items import LEASE_S, Claim, Item
from tests import steps
from tests.stage import Clock, outbox_of
from tests.steps import job_in

ONE_A_SECOND: Final = Claim(queue=State.RENDERING, fence=False, per_s=1)
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
LONGEST: Final = LongestWaits(
    {State.QUEUED: 1200, State.SUBMITTING: 600, State.RENDERING: 2000, State.STORING: 2000}, of_all=2 * DAY_S
)
BROKEN: Final = ReceiverTerms(width=1, longest_s=300, breaker=BreakerTerms(first_s=60, longest_s=60, after=1))
DOWN: Final = DeliveryLine("job_2", "job.completed", delivered=False, tries=1, took_s=0, message="down")


@pytest.fixture
def emitted() -> list[Event]:
    """The events that the ledger emits."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, emitted: list[Event]) -> Ledger:
    """A ledger whose rescuer has read the clock before."""
    made = Ledger(client, clock=clock, subscribers=[emitted.append])
    assert made.clock.check(LONGEST) == 0
    return made


def held(ledger: Ledger) -> Job:
    """A job that waits in the queue for 100 s."""
    job = job_in(ledger, State.QUEUED)
    steps.held(ledger, job, 100, Hold.THROTTLED, "not so fast")
    return job


def to_be_polled(ledger: Ledger) -> Job:
    """A job that is polled in 30 s."""
    return job_in(ledger, State.RENDERING, first_poll_s=30)


def in_doubt(ledger: Ledger) -> Job:
    """A job whose purchase is looked for in 60 s."""
    return job_in(ledger, State.IN_DOUBT, ask_in_s=60)


def to_be_fetched(ledger: Ledger) -> Job:
    """A job whose download is tried again in 100 s."""
    job = job_in(ledger, State.STORING)
    steps.store_failed(ledger, job, 100, "cut off")
    return job


def to_be_fetched_late(ledger: Ledger) -> Job:
    """An ended job whose late video is looked for in 100 s."""
    job = job_in(ledger, State.RENDERING, first_poll_s=30)
    steps.end(ledger, job, steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.YES, late_fetch_in_s=100))
    return job


WAITING: Final[dict[str, tuple[Callable[[Ledger], Job], str, float]]] = {
    "in the queue": (held, "due:queued", 100),
    "to be polled": (to_be_polled, "due:rendering", 30),
    "to be fetched": (to_be_fetched, "due:storing", 100),
    "to be found in the log": (in_doubt, "due:in_doubt", 60),
    "for its late video": (to_be_fetched_late, "due:late_fetch", 100),
}


def due_in(client: "redis.Redis", ledger: Ledger, index: str, job_id: str) -> float:
    """Seconds until the job is due."""
    score = client.zscore(f"rushes:{index}", job_id)
    assert score is not None
    return float(score) - ledger.now()


def deliveries(ledger: Ledger, receiver: str, *, slot: str = "slot") -> Sequence[Item]:
    """Claim the deliveries that a receiver is to get, one at a time."""
    return ledger.items.claim(Claim(queue=delivery_queue(receiver), slot=slot)).items


@pytest.mark.parametrize(("make", "index", "wait_s"), WAITING.values(), ids=WAITING)
def test_what_waits_is_due_as_soon_as_before(
    client: "redis.Redis",
    ledger: Ledger,
    clock: Clock,
    emitted: list[Event],
    make: Callable[[Ledger], Job],
    index: str,
    wait_s: float,
) -> None:
    """A paid job would rest for the hour that the clock was set back by."""
    job = make(ledger)
    clock.advance(-HOUR_S)
    assert due_in(client, ledger, index, job.id) > HOUR_S

    assert ledger.clock.check(LONGEST) >= 1

    assert due_in(client, ledger, index, job.id) == pytest.approx(wait_s, abs=1)
    (pulled,) = [event.data for event in emitted if event.name == "due.pulled_forward"]
    assert pulled["set_back_s"] == HOUR_S
    assert ledger.clock.check(LONGEST) == 0


def test_a_wait_of_a_day_stays_one(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """A doubt for a person is asked about every 23 h, a receiver that is down is called a day later."""
    doubt = job_in(ledger, State.SUBMITTING)
    steps.in_doubt(ledger, doubt, "lost", ask_in_s=23 * HOUR_S)
    outbox_of(client, clock=clock).mail("job_1", {"hook": ["job.completed"]})
    (delivery,) = deliveries(ledger, "hook")
    ledger.move(delivery, Move(event="delivery.failed", due_in_s=DAY_S, tries=1))

    for _ in range(3):
        assert ledger.clock.check(LONGEST) == 0
        clock.advance(60)
    clock.advance(-HOUR_S)
    ledger.clock.check(LONGEST)

    assert due_in(client, ledger, "due:in_doubt", doubt.id) == pytest.approx(23 * HOUR_S - 180, abs=61)
    assert due_in(client, ledger, "due:deliver:hook", "job_1") == pytest.approx(DAY_S - 180, abs=61)


def test_a_purchase_under_way_keeps_its_lease(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """A purchase that began after the clock was set back must not look dead; an older one expires in time."""
    before = job_in(ledger, State.SUBMITTING)
    clock.advance(-HOUR_S)
    since = job_in(ledger, State.SUBMITTING)

    ledger.clock.check(LONGEST)

    assert due_in(client, ledger, "due:submitting", since.id) == pytest.approx(LEASE_S, abs=1)
    assert due_in(client, ledger, "due:submitting", before.id) == pytest.approx(LEASE_S, abs=1)


def test_whatever_else_goes_by_the_clock_goes_on(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """The upstream's breaker, receivers' breakers and slots, the fleet's pace and every rate limit recover."""
    ledger.breakers.refused(
        Breaker.POLL, Hold.UNAVAILABLE, "down", terms=BreakerTerms(first_s=5, longest_s=60, after=1)
    )
    outbox = outbox_of(client, clock=clock)
    job_in(ledger, State.RENDERING, first_poll_s=30)
    clock.advance(30)
    assert ledger.items.claim(ONE_A_SECOND).jobs
    assert ledger.limits.wait_s("reconcile:veo3", every_s=10) == 0
    ledger.worker_seen("one@test", "1.0")
    outbox.mail("job_1", {"hook": ["job.completed"]})
    assert deliveries(ledger, "hook", slot="gone")
    outbox.mail("job_2", {"broken": ["job.completed"]})
    (delivery,) = deliveries(ledger, "broken")
    ledger.move(delivery, released())
    outbox.report("broken", "slot", [Attempt(DOWN)], BROKEN)

    clock.advance(-HOUR_S)
    ledger.clock.check(LONGEST)

    assert client.keys("rushes:wakes") + client.keys("rushes:rate:*") == []
    assert ledger.breakers.currently_open()[Breaker.POLL].wait_s <= 5
    assert ledger.limits.wait_s("reconcile:veo3", every_s=10) == 0
    assert (outbox.status("broken").open_until or 0) - clock.now <= 90
    clock.advance(301)
    assert deliveries(ledger, "hook")
    assert deliveries(ledger, "broken")
    job_in(ledger, State.RENDERING, first_poll_s=30)
    clock.advance(30)
    assert ledger.items.claim(ONE_A_SECOND).jobs
    clock.advance(60)
    assert ledger.workers(within_s=15) == []


@pytest.mark.parametrize("due_at", ["+inf", "4e9", "1e300"])
def test_a_due_time_that_cannot_be_is_now(
    client: "redis.Redis", ledger: Ledger, emitted: list[Event], due_at: str
) -> None:
    """The rescuer corrects it, whichever process wrote it, although the clock was never seen to be set back."""
    job = job_in(ledger, State.RENDERING, first_poll_s=30)
    client.zadd("rushes:due:rendering", {job.id: float(due_at)})

    assert ledger.clock.check(LONGEST) == 1

    assert [found.id for found in steps.claimed(ledger, State.RENDERING)] == [job.id]
    assert [event.data["count"] for event in emitted if event.name == "due.pulled_forward"] == [1]


def test_a_follow_up_that_is_due_in_a_year_is_due_now(client: "redis.Redis", ledger: Ledger) -> None:
    """The rescuer corrects impossible due times of ended jobs as well."""
    ended = job_in(ledger, State.RENDERING, first_poll_s=30)
    steps.end(
        ledger,
        ended,
        steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.YES, late_fetch_in_s=365 * DAY_S),
    )
    assert ledger.clock.check(LONGEST) == 1
    assert [item.id for item in steps.claimed_items(ledger, FollowUp.LATE_FETCH)] == [ended.id]
    assert client.zscore("rushes:due:late_fetch", ended.id) is not None


def test_a_clock_that_is_put_right_a_little_moves_nothing(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """NTP does so all the time, and a promoted replica is a little behind."""
    job = job_in(ledger, State.RENDERING, first_poll_s=30)
    clock.advance(-3)

    assert ledger.clock.check(LONGEST) == 0
    assert due_in(client, ledger, "due:rendering", job.id) == pytest.approx(33, abs=0.1)


def test_many_small_steps_are_one_large_one(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """Each step is too small to be noticed, but their sum is not."""
    job = job_in(ledger, State.RENDERING, first_poll_s=30)
    for _ in range(10):
        clock.advance(-3)
        ledger.clock.check(LONGEST)

    assert due_in(client, ledger, "due:rendering", job.id) < 36
