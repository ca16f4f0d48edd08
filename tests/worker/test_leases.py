"""Leases: renewed while a worker is busy with what it claimed, not afterwards, nor longer than its step may take."""

import threading

import pytest
import redis

from jobs.errors import LedgerUnavailable
from jobs.job import Job
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.outbox import Outbox
from jobs.queues import delivery_queue
from jobs.scripts import Retention, Scripts
from jobs.states import State
from jobs.work_items import LEASE_S, Claim, Leased
from tests import steps
from tests.stage import Clock, eventually
from worker.leases import Leases


@pytest.fixture
def leases(ledger: Ledger) -> Leases:
    """The leases of a process."""
    return Leases(ledger.items)


@pytest.fixture
def job(ledger: Ledger) -> Job:
    """A job that this process claimed a moment ago."""
    steps.job_in(ledger, State.QUEUED)
    (job,) = steps.claimed(ledger, State.QUEUED, fence=True)
    return job


def held(job: Job) -> list[Leased]:
    """The job, as a task holds it."""
    return [Leased(State.QUEUED, job.id, job.turn)]


def due_in_s(client: "redis.Redis", clock: Clock, queue: str, job_id: str) -> float:
    """In how many seconds others may claim it."""
    return round(float(client.zscore(f"{PREFIX}due:{queue}", job_id) or 0) - clock(), 3)


def test_a_lease_is_renewed_while_the_block_lasts_and_not_after(
    leases: Leases, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """A download of minutes stays its worker's own; what its worker has left is due again when the lease ends."""
    with leases.renewing(held(job), longest_s=60):
        clock.advance(LEASE_S - 1)
        leases.renew()
        assert due_in_s(client, clock, State.QUEUED, job.id) == LEASE_S
    clock.advance(1)
    leases.renew()
    assert due_in_s(client, clock, State.QUEUED, job.id) == LEASE_S - 1


def test_a_block_that_raises_holds_nothing_any_more(
    leases: Leases, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """Else a job that failed in an odd way would be nobody's until the process ends."""
    with pytest.raises(ValueError, match="odd"), leases.renewing(held(job), longest_s=60):
        raise ValueError("odd")
    clock.advance(1)
    leases.renew()
    assert due_in_s(client, clock, State.QUEUED, job.id) == LEASE_S - 1


def test_nothing_is_renewed_for_longer_than_its_step_may_take(
    leases: Leases, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """A thread that hangs for ever must not keep a job from all others."""
    with leases.renewing(held(job), longest_s=0):
        clock.advance(1)
        leases.renew()
        assert due_in_s(client, clock, State.QUEUED, job.id) == LEASE_S - 1


def test_what_has_moved_on_is_not_renewed(
    leases: Leases, ledger: Ledger, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """It has another due time by now, which is not this process's to change."""
    with leases.renewing(held(job), longest_s=60):
        steps.submitting(ledger, job, lease_s=30)
        clock.advance(1)
        leases.renew()
    assert due_in_s(client, clock, State.SUBMITTING, job.id) == 29
    assert client.zscore(f"{PREFIX}due:queued", job.id) is None


def test_what_another_claimed_after_the_lease_is_not_renewed(
    leases: Leases, ledger: Ledger, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """A process that was suspended must not lengthen the lease of the one that took over."""
    with leases.renewing(held(job), longest_s=60):
        clock.advance(LEASE_S + 1)
        (taken_over,) = steps.claimed(ledger, State.QUEUED, fence=True)
        clock.advance(1)
        leases.renew()
    assert taken_over.turn > job.turn
    assert due_in_s(client, clock, State.QUEUED, job.id) == LEASE_S - 1


def test_the_slot_of_a_receiver_is_renewed_with_its_deliveries(
    leases: Leases, ledger: Ledger, client: "redis.Redis", clock: Clock, job: Job
) -> None:
    """A slow receiver is called by no second worker while the first still waits for it."""
    queue = delivery_queue("hook:x")
    Outbox(Scripts(client, retention=Retention(), clock=clock, subscribers=())).mail(job.id, {"hook:x": ["job.held"]})
    (item,) = ledger.items.claim(Claim(queue=queue, wants_request=True, slot="one")).items

    with leases.renewing([Leased(queue, item.id, item.turn)], longest_s=60, slot=("hook:x", "one")):
        clock.advance(LEASE_S - 1)
        leases.renew()
        clock.advance(LEASE_S - 1)
        assert not ledger.items.claim(Claim(queue=queue, slot="two")).items

    assert due_in_s(client, clock, queue, job.id) == 1
    assert float(client.zscore(f"{PREFIX}slots:hook:x", "one") or 0) == pytest.approx(clock() + 1)


def test_leases_outlast_an_outage_of_redis(client: "redis.Redis", job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """The thread that renews them goes on; without it every lease of the process would end."""
    ledger, answers = Ledger(client), iter([LedgerUnavailable("away"), KeyError("odd")])
    renewed = threading.Event()

    class Items:
        def renew(self, *held: object) -> None:
            for error in answers:
                raise error
            ledger.items.renew(*held)  # type: ignore[arg-type]  # passed on as it came
            renewed.set()

    leases = Leases(Items())  # type: ignore[arg-type]  # all that they need
    with leases.renewing(held(job), longest_s=60):
        threading.Thread(target=leases.run, kwargs={"every_s": 0.02}, daemon=True).start()
        eventually(renewed.is_set, what="a renewal")
    assert "leases wait for the ledger: away" in caplog.text
