"""Rescue: nothing waits for a message that was lost, or for a worker that is dead.

The due time of every unfinished job stands in Redis. A message only makes the work begin at once; if it never arrives,
the rescuer of any worker finds the overdue queue. There is no list of workers that someone must keep true.
"""

from jobs.ledger import Ledger
from jobs.scripts import LOST_AFTER_S, WakeUp
from jobs.states import State
from jobs.work_items import LEASE_S, Claim
from tests import steps
from tests.stage import Clock


def test_a_lost_message_is_found_by_its_due_time(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The rescuer wakes up each queue that has something due and no wake-up on its way."""
    job = steps.job_in(ledger, State.QUEUED)
    sent.clear()
    assert ledger.items.rescue() == []  # the wake-up may still be on its way

    clock.advance(LOST_AFTER_S)

    assert ledger.items.rescue() == sent == [WakeUp(State.QUEUED, job.id, seconds=0)]


def test_what_a_dead_worker_held_is_due_when_its_leases_end(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Its messages died with it, and nobody renews its leases."""
    jobs = {steps.job_in(ledger, State.RENDERING).id for _ in range(3)}
    to_poll = Claim(queue=State.RENDERING, limit=100, fence=False)
    assert len(ledger.items.claim(to_poll).jobs) == 3
    sent.clear()

    clock.advance(LEASE_S + LOST_AFTER_S)
    ledger.items.rescue()

    assert [wake_up.queue for wake_up in sent] == [State.RENDERING]
    assert {one.job.id for one in ledger.items.claim(to_poll).jobs} == jobs


def test_the_broker_may_lose_everything(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Whatever state a job is in, its queue is found: the messages hold nothing that is not in the ledger."""
    unfinished = [State.QUEUED, State.SUBMITTING, State.IN_DOUBT, State.RENDERING, State.STORING]
    for state in unfinished:
        steps.job_in(ledger, state)
    sent.clear()

    clock.advance(3600)
    ledger.items.rescue()

    assert {wake_up.queue for wake_up in sent} == set(unfinished)
