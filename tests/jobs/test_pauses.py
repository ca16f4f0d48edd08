"""Pauses: nothing is bought under one, by whomever, and nothing turns in circles meanwhile."""

import pytest
import redis

from jobs.errors import WrongState
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.pauses import Pause
from jobs.scripts import LOST_AFTER_S, WakeUp
from jobs.states import State
from jobs.work_items import Claim
from tests import steps
from tests.stage import Clock

TO_BUY = Claim(queue=State.QUEUED, limit=10)


def test_a_pause_says_who_why_and_since_when(ledger: Ledger, clock: Clock) -> None:
    """And its end says which pause it was."""
    assert ledger.pauses.current() == {}
    pause = ledger.pauses.pause(by="ann", reason="the budget is used up")
    assert pause == Pause("ann", "the budget is used up", clock.now)
    assert ledger.pauses.current() == {None: pause}

    assert ledger.pauses.resume() == pause
    assert (ledger.pauses.current(), ledger.pauses.resume()) == ({}, None)


def test_nothing_is_claimed_to_be_bought_and_no_wake_up_goes_in_circles(
    ledger: Ledger, clock: Clock, sent: list[WakeUp]
) -> None:
    """A message for each round, for ten thousand jobs that wait, would keep workers busy with nothing."""
    ledger.pauses.pause(by="ann", reason="")
    for _ in range(3):
        steps.job_in(ledger, State.QUEUED)
    sent.clear()

    claimed = ledger.items.claim(TO_BUY)
    clock.advance(LOST_AFTER_S + 1)

    assert (claimed.jobs, claimed.left) == ([], False)
    assert (sent, ledger.items.rescue()) == ([], [])


def test_what_was_claimed_before_the_pause_is_not_bought_after_it(ledger: Ledger) -> None:
    """The intent is refused, in the script that writes it."""
    job = steps.job_in(ledger, State.QUEUED)
    (claimed,) = ledger.items.claim(TO_BUY).jobs
    ledger.pauses.pause(by="ann", reason="")

    with pytest.raises(WrongState, match="paused"):
        steps.submitting(ledger, claimed.job)

    assert (ledger.get(job.id).state, ledger.get(job.id).attempt) == (State.QUEUED, 0)


def test_what_is_bought_goes_on_to_its_end(ledger: Ledger) -> None:
    """It is paid for."""
    bought = [steps.job_in(ledger, state) for state in (State.SUBMITTING, State.IN_DOUBT, State.RENDERING)]
    ledger.pauses.pause(by="ann", reason="")

    steps.submitted(ledger, bought[0], "gen-1")
    steps.adopted(ledger, bought[1], "gen-2", by="the log")
    steps.rendered(ledger, bought[2], steps.VIDEO)
    steps.completed(ledger, ledger.get(bought[2].id), steps.STORED)

    assert [ledger.get(job.id).state for job in bought] == [State.RENDERING, State.RENDERING, State.COMPLETED]


def test_a_queued_job_can_be_cancelled_meanwhile(ledger: Ledger) -> None:
    """A pause is often the moment to clear the queue."""
    job = steps.job_in(ledger, State.QUEUED)
    ledger.pauses.pause(by="ann", reason="")
    steps.cancel_requested(ledger, job)
    assert ledger.get(job.id).state is State.CANCELLED


def test_a_resume_wakes_up_what_waits(ledger: Ledger, sent: list[WakeUp]) -> None:
    """At once, and all of it."""
    jobs = [steps.job_in(ledger, State.QUEUED) for _ in range(3)]
    ledger.pauses.pause(by="ann", reason="")
    ledger.items.claim(TO_BUY)
    sent.clear()

    ledger.pauses.resume()

    assert [(wake_up.queue, wake_up.seconds) for wake_up in sent] == [(State.QUEUED, 0)]
    assert len(ledger.items.claim(TO_BUY).jobs) == len(jobs)


def test_a_pause_of_a_newer_version_is_a_pause(ledger: Ledger, client: "redis.Redis") -> None:
    """Buying in spite of it would be the expensive mistake."""
    client.hset(f"{PREFIX}account:default", "paused", "since tuesday")
    steps.job_in(ledger, State.QUEUED)

    assert None in ledger.pauses.current()
    assert ledger.items.claim(TO_BUY).jobs == []
