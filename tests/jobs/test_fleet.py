"""What the ledger says of the whole fleet, for metrics."""

import pytest
import redis

from config.connection import connect
from config.settings import RedisSettings
from jobs.breakers import Breaker, BreakerTerms
from jobs.delivery import DeliveryLine
from jobs.errors import LedgerUnavailable
from jobs.fleet import DELIVERIES, OTHERS, Backlog, Fleet
from jobs.job import Hold, Terms
from jobs.ledger import Ledger
from jobs.outbox import Attempt, ReceiverTerms
from jobs.queues import delivery_queue
from jobs.states import State
from tests import steps
from tests.stage import Clock, a_request, outbox_of
from tests.steps import job_in

HOOK = "shop:note"


def read(ledger: Ledger) -> Fleet:
    """Read it."""
    return ledger.fleet.read(seen_within_s=30)


def test_an_empty_ledger_is_calm(ledger: Ledger) -> None:
    """No alarm before the first job."""
    fleet = read(ledger)

    assert {*fleet.jobs.values(), *fleet.overdue_s.values()} == {0}
    assert (fleet.admission.ready, fleet.workers, fleet.oldest_doubt_s, fleet.set_back_at) == (0, 0, 0, 0)
    assert (fleet.is_paused, fleet.breakers, fleet.receivers) == (False, {}, {OTHERS: Backlog()})
    assert fleet.memory_bytes > 0
    assert fleet.memory_limit_bytes == 0


def test_it_counts_jobs_and_says_what_is_overdue(ledger: Ledger, clock: Clock) -> None:
    """The first of a queue is the one that is overdue for longest; what is due later is not."""
    job_in(ledger, State.QUEUED)
    steps.held(ledger, job_in(ledger, State.QUEUED), 60, Hold.FORBIDDEN, "this model is not yours")
    job_in(ledger, State.RENDERING, first_poll_s=5)
    clock.advance(12)
    job_in(ledger, State.STORING)

    fleet = read(ledger)

    assert (fleet.jobs[State.QUEUED], fleet.jobs[State.RENDERING], fleet.jobs[State.STORING]) == (2, 1, 1)
    assert fleet.admission.ready == 1
    assert fleet.overdue_s[State.QUEUED] == pytest.approx(12)
    assert fleet.overdue_s[State.RENDERING] == pytest.approx(7)
    assert fleet.overdue_s[State.STORING] == pytest.approx(0)


def test_it_says_how_old_the_oldest_doubt_is(ledger: Ledger, clock: Clock) -> None:
    """By the intent: until then nothing can have been bought."""
    job_in(ledger, State.IN_DOUBT)
    clock.advance(100)
    job_in(ledger, State.IN_DOUBT)

    assert read(ledger).oldest_doubt_s == pytest.approx(100)


def test_it_says_what_stops_purchases(ledger: Ledger) -> None:
    """A pause, or an open breaker with its reason."""
    ledger.pauses.pause(by="ann", reason="budget")
    ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402", terms=BreakerTerms(5, 60, after=1))

    fleet = read(ledger)

    assert fleet.is_paused
    assert {breaker: found.hold for breaker, found in fleet.breakers.items()} == {Breaker.SUBMIT: Hold.OUT_OF_CREDITS}


def test_a_worker_counts_while_it_shows_signs_of_life(ledger: Ledger, clock: Clock) -> None:
    """One that died is gone after half a minute."""
    ledger.worker_seen("one", "1.0")
    clock.advance(31)
    ledger.worker_seen("two", "1.0")

    assert read(ledger).workers == 1


def test_it_says_which_receiver_is_behind_and_fails(ledger: Ledger, client: "redis.Redis", clock: Clock) -> None:
    """The deployment's own by name; addresses of requests, of which there may be any number, together."""
    outbox, terms = outbox_of(client, clock=clock), ReceiverTerms(width=1, longest_s=300)
    outbox.register({HOOK: ("job.completed",)})
    for n in range(3):
        job_in(ledger, State.COMPLETED, a_request(), Terms(webhook_receiver=f"url_{n}"))
    failed = DeliveryLine("job_1", "job.completed", delivered=False, tries=1, took_s=0, message="down")
    for receiver, after_s in ((HOOK, 0), ("url_1", 40)):
        clock.advance(after_s)
        outbox.report(receiver, "slot", [Attempt(failed)], terms)
    clock.advance(60)

    fleet = read(ledger)

    assert {name: (found.waiting, round(found.failing_s)) for name, found in fleet.receivers.items()} == {
        HOOK: (3, 100),
        OTHERS: (3, 60),
    }
    assert fleet.overdue_s[DELIVERIES] == pytest.approx(100)
    assert client.zcard(f"rushes:due:{delivery_queue(HOOK)}") == 3


def test_it_says_when_the_clock_was_set_back(ledger: Ledger, client: "redis.Redis", clock: Clock) -> None:
    """The rescuer writes it down."""
    client.hset("rushes:clock", mapping={"set_back_s": "3600", "set_back_at": f"{clock.now:.3f}"})
    client.expire("rushes:clock", 60)

    assert read(ledger).set_back_at == pytest.approx(clock.now)


def test_it_takes_two_round_trips_whatever_the_number_of_jobs(ledger: Ledger, client: "redis.Redis") -> None:
    """Prometheus reads it every few seconds, and from each API."""
    for _ in range(50):
        job_in(ledger, State.COMPLETED)
        job_in(ledger, State.IN_DOUBT)

    def commands() -> int:
        before = int(client.info("stats")["total_commands_processed"])
        read(ledger)
        return int(client.info("stats")["total_commands_processed"]) - before

    few = commands()
    for _ in range(50):
        job_in(ledger, State.RENDERING)
    assert commands() == few


READ = (
    *("receivers:all", "delivering", "index:in_doubt", "index:queued", "account:default", "breaker:default:submit"),
    *("due:rendering", "workers", "clock", "limits:default", "in_flight:default", "tenants:default"),
)


@pytest.mark.parametrize("name", READ)
def test_a_key_that_somebody_else_wrote_hides_only_itself(ledger: Ledger, client: "redis.Redis", name: str) -> None:
    """A metric that failed whole would silence every alarm."""
    ledger.worker_seen("one", "1.0")
    client.delete(f"rushes:{name}")
    client.set(f"rushes:{name}", "of another program", ex=60)

    fleet = read(ledger)

    assert fleet.unreadable >= 1
    assert fleet.memory_bytes > 0
    assert fleet.workers == (name != "workers")
    client.delete(f"rushes:{name}")


@pytest.mark.parametrize(
    ("name", "field"),
    [("breaker:default:poll", "half_open_at"), ("clock", "set_back_at"), ("health:shop:note", "failing_since")],
)
def test_a_value_that_is_no_number_hides_only_itself(
    ledger: Ledger, client: "redis.Redis", name: str, field: str
) -> None:
    """As a program of a later version may have written it."""
    outbox_of(client).register({HOOK: ("job.completed",)})
    client.hset(f"rushes:{name}", field, "soon")
    client.expire(f"rushes:{name}", 60)

    assert read(ledger).unreadable == 1


def test_what_redis_refuses_is_no_made_up_nothing(client: "redis.Redis", redis_url: str) -> None:
    """A count of 0 workers or jobs that nobody counted would ring one alarm and silence the others."""
    client.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-zcard"])
    settings = RedisSettings.model_validate({"url": redis_url.replace("//", "//limited:x@")})
    try:
        with connect(settings, name="limited") as limited, pytest.raises(LedgerUnavailable, match="zcard"):
            read(Ledger(limited))
    finally:
        client.acl_deluser("limited")
