"""Try now: after a top-up nobody waits for the circuit breaker's next trial, which is one request all the same."""

import redis

from jobs.breakers import Breaker, BreakerTerms, Tried
from jobs.job import Hold, Job, Terms
from jobs.ledger import Ledger
from jobs.queues import SLOW_POLLS
from jobs.scripts import WakeUp
from jobs.states import State
from jobs.work_items import Claim
from tests import steps
from tests.stage import Clock, a_request

TERMS = BreakerTerms(first_s=60, longest_s=120, after=1)
TO_BUY = Claim(queue=State.QUEUED, limit=10, trial_s=30)


def refused(ledger: Ledger, hold: Hold = Hold.OUT_OF_CREDITS) -> Job:
    """A job that the upstream refused, and holds back for a minute."""
    job = steps.job_in(ledger, State.SUBMITTING)
    steps.held(ledger, job, 60, hold, "402")
    return ledger.get(job.id)


def claimed(ledger: Ledger) -> list[Job]:
    """What may be bought now."""
    return [one.job for one in ledger.items.claim(TO_BUY).jobs]


def test_the_next_purchase_is_tried_at_once_and_only_that(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """However often somebody asks; the others wait for what the trial shows."""
    held = refused(ledger)
    ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402", terms=TERMS)
    steps.job_in(ledger, State.QUEUED)
    assert claimed(ledger) == []
    clock.advance(10)  # the wake-ups of their acceptance have rung
    sent.clear()

    assert ledger.breakers.try_now() == Tried([Breaker.SUBMIT], jobs=1)
    assert [(wake_up.queue, wake_up.seconds) for wake_up in sent] == [(State.QUEUED, 0)]
    (trial,) = claimed(ledger)
    ledger.breakers.try_now()

    assert claimed(ledger) == []
    ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402", terms=TERMS)
    assert (claimed(ledger), ledger.breakers.currently_open()[Breaker.SUBMIT].wait_s) == ([], 120)
    ledger.breakers.try_now()
    ledger.breakers.passed(Breaker.SUBMIT)
    assert {job.id for job in claimed(ledger)} == {held.id, *ledger.page()} - {trial.id}


def test_the_only_job_that_waits_is_the_trial_although_it_is_held(ledger: Ledger, clock: Clock) -> None:
    """Else an open breaker would be tried by nobody until the job's own wait ends."""
    held = refused(ledger)
    ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402", terms=TERMS)

    ledger.breakers.try_now()

    assert ledger.get(held.id).due_at == clock.now
    assert [job.id for job in claimed(ledger)] == [held.id]


def test_a_job_that_alone_is_refused_is_tried_too(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """A key that may not buy one model opens no breaker."""
    held = refused(ledger, Hold.FORBIDDEN)
    clock.advance(10)  # the wake-up of its acceptance has rung
    sent.clear()

    assert ledger.breakers.try_now() == Tried([], jobs=1)

    assert [(wake_up.queue, wake_up.seconds) for wake_up in sent] == [(State.QUEUED, 0)]
    assert [job.id for job in claimed(ledger)] == [held.id]
    assert ledger.breakers.try_now() == Tried([], jobs=0)


def test_what_waits_for_something_else_goes_on_waiting(ledger: Ledger, sent: list[WakeUp]) -> None:
    """A job that may begin later, one that is being bought, and everything under a pause."""
    ledger.accept(a_request(), Terms(due_in_s=50))
    being_bought = refused(ledger, Hold.FORBIDDEN)
    ledger.breakers.try_now()
    assert [job.id for job in claimed(ledger)] == [being_bought.id]

    assert ledger.breakers.try_now() == Tried([], jobs=0)
    assert claimed(ledger) == []

    refused(ledger, Hold.FORBIDDEN)
    ledger.pauses.pause(by="ann", reason="")
    sent.clear()
    assert ledger.breakers.try_now() == Tried([], jobs=1)
    assert sent == []
    assert claimed(ledger) == []


def test_the_next_poll_is_tried_at_once(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The first of each queue: no other need wait for it to be due."""
    jobs = [steps.job_in(ledger, State.RENDERING) for _ in range(2)]
    clock.advance(30)
    steps.polled(ledger, [steps.Poll(jobs[0], "unreachable", 60), steps.Poll(jobs[1], "unreachable", 90)])
    ledger.breakers.refused(Breaker.POLL, Hold.UNREACHABLE, "no route", terms=TERMS)
    sent.clear()

    assert ledger.breakers.try_now() == Tried([Breaker.POLL], jobs=0)

    assert [(wake_up.queue, wake_up.job_id, wake_up.seconds) for wake_up in sent] == [
        (State.RENDERING, jobs[0].id, 0),
    ]
    assert [job.id for job in steps.claimed(ledger, State.RENDERING)] == [jobs[0].id]
    assert steps.claimed(ledger, SLOW_POLLS) == []
    assert ledger.breakers.ask(Breaker.POLL, trial_s=30, again_s=5) is None


def test_nothing_to_try_changes_nothing(ledger: Ledger, client: "redis.Redis", sent: list[WakeUp]) -> None:
    """A job that waits for its turn is no refused one."""
    steps.job_in(ledger, State.RENDERING)
    sent.clear()

    assert ledger.breakers.try_now() == Tried([], jobs=0)

    assert (sent, client.keys("rushes:breaker:*")) == ([], [])


def test_a_job_of_a_paused_model_is_not_tried(ledger: Ledger, clock: Clock) -> None:
    """It waits for the pause, and to say that it is tried would be untrue."""
    held = refused(ledger)
    ledger.pauses.pause(by="ann", reason="too dear", what=f"model:{held.model}")
    clock.advance(61)
    assert claimed(ledger) == []  # which parks it

    assert ledger.breakers.try_now() == Tried([], jobs=0)
    assert claimed(ledger) == []
    ledger.pauses.resume(what=f"model:{held.model}")
    assert [job.id for job in claimed(ledger)] == [held.id]


def test_a_job_whose_cancel_is_being_granted_is_left_alone(ledger: Ledger) -> None:
    """If that worker dies, its lease must end, not its deadline."""
    job = steps.job_in(ledger, State.SUBMITTING)
    steps.cancel_requested(ledger, job)
    steps.held(ledger, ledger.get(job.id), 60, Hold.OUT_OF_CREDITS, "402")
    assert [one.id for one in claimed(ledger)] == [job.id]

    assert ledger.breakers.try_now() == Tried([], jobs=0)
