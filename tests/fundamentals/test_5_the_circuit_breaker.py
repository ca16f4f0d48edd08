"""The circuit breaker: a failure that concerns every job stops all purchases, until one trial succeeds.

An account without credits, or an upstream that is down, would refuse each of ten thousand jobs in turn. The breaker is
one for the whole fleet, in Redis. While it is open no job is claimed to be bought: they wait as they are, and their
views derive why. A worker that has claimed jobs when it opens gives them back.
"""

import pytest
import redis

from jobs.breakers import Breaker
from jobs.facts import Accepted, NotBought, Unknown
from jobs.job import Hold
from jobs.ledger import Ledger
from jobs.states import State
from jobs.work_items import Claim, Claimed
from tests.stage import Clock
from tests.steps import job_in
from worker.breaker import UpstreamBreakers

NO_CREDITS = NotBought(Hold.OUT_OF_CREDITS, "the account has no credits left")
TRIAL_S = 10


def breakers_of(ledger: Ledger) -> UpstreamBreakers:
    """The breakers as one worker process uses them."""
    return UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=TRIAL_S)


@pytest.fixture
def one(ledger: Ledger) -> UpstreamBreakers:
    """A worker's breakers, with jobs to buy."""
    for _ in range(6):
        job_in(ledger, State.QUEUED)
    return breakers_of(ledger)


@pytest.fixture
def other(client: "redis.Redis", clock: Clock) -> UpstreamBreakers:
    """Another worker's, which has just started."""
    return breakers_of(Ledger(client, clock=clock))


def claimed(ledger: Ledger, worker: UpstreamBreakers, *, limit: int = 2) -> Claimed:
    """What a worker claims to buy."""
    found = ledger.items.claim(Claim(queue=State.QUEUED, limit=limit, trial_s=TRIAL_S))
    worker.claimed(is_trial=found.is_trial)
    return found


def test_one_refusal_that_concerns_all_jobs_stops_the_fleet(
    ledger: Ledger, one: UpstreamBreakers, other: UpstreamBreakers
) -> None:
    """The next job, in whatever process, is not even claimed; what the worker holds already it gives back."""
    assert len(claimed(ledger, one).jobs) == 2
    one.after_submit(NO_CREDITS)

    assert not one.may_submit
    for worker in (one, other):
        worker.after_submit(NotBought(Hold.FORBIDDEN, "this key may not use this model"))  # says nothing about others
        assert claimed(ledger, worker).jobs == []
    breaker = ledger.breakers.currently_open()[Breaker.SUBMIT]
    assert (breaker.hold, breaker.wait_s) == (Hold.OUT_OF_CREDITS, 5)


def test_an_upstream_that_may_be_only_hiccupping_is_given_a_few_tries(ledger: Ledger, one: UpstreamBreakers) -> None:
    """A lost reply may be one connection's trouble; each more may be a purchase in doubt."""
    for _ in range(2):
        one.after_submit(Unknown("the reply was lost"))
    assert (one.may_submit, len(claimed(ledger, one).jobs)) == (True, 2)

    one.after_submit(Unknown("the reply was lost"))

    assert (one.may_submit, claimed(ledger, one).jobs) == (False, [])


def test_when_the_time_is_up_one_trial_goes_ahead(
    ledger: Ledger, one: UpstreamBreakers, other: UpstreamBreakers, clock: Clock
) -> None:
    """Half-open: the first to claim gets one job, the others wait for its outcome."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)

    trial = claimed(ledger, one)

    assert (len(trial.jobs), trial.is_trial, one.may_submit) == (1, True, True)
    assert claimed(ledger, other).jobs == []
    clock.advance(TRIAL_S)  # its worker has died
    assert len(claimed(ledger, other).jobs) == 1


def test_a_trial_that_succeeds_closes_it_for_all(
    ledger: Ledger, one: UpstreamBreakers, other: UpstreamBreakers, clock: Clock
) -> None:
    """Somebody has paid the bill."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)
    assert claimed(ledger, one).is_trial

    one.after_submit(Accepted("gen-7", cost_usd=3.36))

    assert [len(claimed(ledger, worker).jobs) for worker in (one, other)] == [2, 2]


def test_a_trial_that_fails_doubles_the_wait(ledger: Ledger, one: UpstreamBreakers, clock: Clock) -> None:
    """5 s, then 10 s, up to the longest."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)
    assert claimed(ledger, one).is_trial
    one.after_submit(NO_CREDITS)

    assert ledger.breakers.currently_open()[Breaker.SUBMIT].wait_s == 10
