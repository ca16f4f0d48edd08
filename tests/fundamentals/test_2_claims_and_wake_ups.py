"""Claims and wake-ups: how many workers share the work without doing it twice.

A task that wakes up claims what is due in its queue, each item on a lease. A claim that must not be shared is fenced:
it gives the item a new turn, and only the holder of the newest turn can move it. A queue has at most one wake-up on its
way.
"""

import pytest

from jobs.errors import StaleTurn
from jobs.ledger import Ledger
from jobs.moves.purchase import submitting
from jobs.scripts import WakeUp
from jobs.states import State
from jobs.work_items import LEASE_S, Claim, Leased
from tests import steps
from tests.stage import Clock

TO_BUY = Claim(queue=State.QUEUED)
TO_POLL = Claim(queue=State.RENDERING, limit=100, fence=False)


def test_one_wake_up_serves_a_crowd(ledger: Ledger, sent: list[WakeUp]) -> None:
    """While a queue's wake-up is on its way no other is sent; a task that leaves something due wakes up another."""
    ids = [steps.job_in(ledger, State.QUEUED).id for _ in range(3)]
    assert sent == [WakeUp(State.QUEUED, ids[0], seconds=0)]
    ids.sort()  # they were accepted in one moment

    claimed = ledger.items.claim(TO_BUY)

    assert ([one.job.id for one in claimed.jobs], claimed.left) == (ids[:1], True)
    assert sent[1:] == [WakeUp(State.QUEUED, ids[1], seconds=0)]  # another thread, or machine, goes on with the rest


def test_polls_that_are_due_together_are_claimed_together(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Due times are rounded up to a grid, so that a crowd costs one wake-up and one claim for each step of it."""
    jobs = {steps.job_in(ledger, State.RENDERING, first_poll_s=20).id for _ in range(50)}
    assert len([wake_up for wake_up in sent if wake_up.queue == State.RENDERING]) == 1

    clock.advance(20)

    assert {one.job.id for one in ledger.items.claim(TO_POLL).jobs} == jobs


def test_a_doubled_message_moves_the_job_once(ledger: Ledger) -> None:
    """A broker may deliver twice: the second task wakes up too, and finds nothing that it may claim."""
    steps.job_in(ledger, State.QUEUED)

    first_delivery, second_delivery = (ledger.items.claim(TO_BUY) for _ in range(2))

    assert (len(first_delivery.jobs), len(second_delivery.jobs)) == (1, 0)


def test_a_worker_keeps_what_it_claimed_while_it_is_alive(ledger: Ledger, clock: Clock) -> None:
    """A thread renews every lease of its process. A lease that ends is the news of its death: the item is due again."""
    steps.job_in(ledger, State.QUEUED)
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    for _ in range(3):
        clock.advance(LEASE_S - 1)
        ledger.items.renew([Leased(State.QUEUED, claimed.job.id, claimed.job.turn)])
    assert ledger.items.claim(TO_BUY).jobs == []

    clock.advance(LEASE_S)

    (again,) = ledger.items.claim(TO_BUY).jobs
    assert again.job.turn > claimed.job.turn


def test_two_claims_of_a_job_move_it_once(ledger: Ledger, clock: Clock) -> None:
    """A worker that froze past its lease has a stale turn, once another worker has claimed the job."""
    steps.job_in(ledger, State.QUEUED)
    (frozen,) = ledger.items.claim(TO_BUY).jobs
    clock.advance(LEASE_S)
    (claimed,) = ledger.items.claim(TO_BUY).jobs

    with pytest.raises(StaleTurn):
        ledger.intend(frozen.job, submitting(frozen.job, lease_s=LEASE_S, worker="one", suffix="1"))

    ledger.intend(claimed.job, submitting(claimed.job, lease_s=LEASE_S, worker="two", suffix="2"))


def test_a_poll_that_was_made_twice_counts_once(ledger: Ledger) -> None:
    """Polls are claimed without a fence: asking twice is free, and only the first answer finds the turn it knows."""
    job = steps.job_in(ledger, State.RENDERING)

    first, second = steps.polled(ledger, [steps.Poll(job, "generating", 10), steps.Poll(job, "generating", 10)])

    assert isinstance(first, int)
    assert isinstance(second, StaleTurn)
    assert ledger.get(job.id).polls == 1
