"""The circuit breaker: a failure that concerns every job stops all purchases, until one trial succeeds.

An account without credits, or an upstream that is down, would refuse each of ten thousand jobs in turn. The breaker is
one for the whole fleet, in Redis. A job that meets it stays in the queue; it costs no attempt.
"""

import pytest
import redis

from jobs.facts import Accepted, NotBought, Unknown
from jobs.job import Hold
from jobs.ledger import Ledger
from tests.stage import Clock
from worker.breaker import UpstreamBreakers

NO_CREDITS = NotBought(Hold.OUT_OF_CREDITS, "the account has no credits left")


def breakers_of(ledger: Ledger) -> UpstreamBreakers:
    """The breakers as one worker process uses them."""
    return UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)


@pytest.fixture
def one(ledger: Ledger) -> UpstreamBreakers:
    """A worker's breakers."""
    return breakers_of(ledger)


@pytest.fixture
def other(client: "redis.Redis", clock: Clock) -> UpstreamBreakers:
    """Another worker's, which has just started."""
    return breakers_of(Ledger(client, clock=clock))


def test_one_refusal_that_concerns_all_jobs_stops_the_fleet(one: UpstreamBreakers, other: UpstreamBreakers) -> None:
    """The next job, in whatever process, is not even sent."""
    assert one.before_submit() is None
    one.after_submit(NO_CREDITS)

    for worker in (one, other):
        worker.after_submit(NotBought(Hold.FORBIDDEN, "this key may not use this model"))  # says nothing about others
    breaker = one.before_submit()
    assert breaker is not None
    assert (breaker.hold, breaker.wait_s) == (Hold.OUT_OF_CREDITS, 5)


def test_an_upstream_that_may_be_only_hiccupping_is_given_a_few_tries(one: UpstreamBreakers) -> None:
    """A lost reply may be one connection's trouble; each more may be a purchase in doubt."""
    for _ in range(2):
        one.after_submit(Unknown("the reply was lost"))
    assert one.before_submit() is None

    one.after_submit(Unknown("the reply was lost"))

    assert one.before_submit() is not None


def test_when_the_time_is_up_one_trial_goes_ahead(one: UpstreamBreakers, clock: Clock) -> None:
    """Half-open: the first to ask makes the trial, the others wait for its outcome."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)

    assert one.before_submit() is None
    assert one.before_submit() is not None


def test_a_trial_that_succeeds_closes_it_for_all(one: UpstreamBreakers, clock: Clock) -> None:
    """Somebody has paid the bill."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)
    assert one.before_submit() is None

    one.after_submit(Accepted("gen-7", cost_usd=3.36))

    assert one.before_submit() is None


def test_a_trial_that_fails_doubles_the_wait(one: UpstreamBreakers, clock: Clock) -> None:
    """5 s, then 10 s, up to the longest."""
    one.after_submit(NO_CREDITS)
    clock.advance(5)
    assert one.before_submit() is None
    one.after_submit(NO_CREDITS)

    breaker = one.before_submit()

    assert breaker is not None
    assert breaker.wait_s == 10
