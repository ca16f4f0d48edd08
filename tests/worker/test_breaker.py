"""Circuit breaker of the upstream: what a batch of polls says about its health."""

from typing import TYPE_CHECKING, Final

import pytest

from jobs.breakers import Breaker
from jobs.facts import NoResult, NotBought, Pending, PollResult
from jobs.job import Hold
from jobs.ledger import Ledger
from worker.breaker import BatchHealth, UpstreamBreakers

if TYPE_CHECKING:
    import redis

ANSWERED: Final = Pending("generating")
SILENT: Final = NoResult(Hold.UNREACHABLE, "no answer")
THROTTLED: Final = NoResult(Hold.THROTTLED, "slow down", 3.0)
TIMED_OUT: Final = NoResult(Hold.UNREACHABLE, "no answer", timed_out=True)
FIRST_S: Final = 2.0
LONGEST_S: Final = 30.0


@pytest.fixture
def ledger(client: "redis.Redis") -> Ledger:
    """An empty ledger."""
    return Ledger(client)


@pytest.fixture
def breakers(ledger: Ledger) -> UpstreamBreakers:
    """Breakers that open after three refusals in a row."""
    return UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)


def health_of(breakers: UpstreamBreakers, polls: int) -> BatchHealth:
    """The health by a batch of this many polls."""
    return BatchHealth(breakers, polls, longest_timeout_s=LONGEST_S)


def within(timeout_s: float, *results: PollResult) -> list[tuple[PollResult, float]]:
    """The results of polls with this time-out."""
    return [(result, timeout_s) for result in results]


@pytest.mark.parametrize(
    ("batch", "opens", "failing"),
    [
        ([[SILENT] * 3], True, True),
        ([[SILENT] * 2], False, True),
        ([[ANSWERED], [SILENT] * 30], False, False),
        ([[SILENT] * 10, [ANSWERED] * 20], False, False),
        ([[SILENT] * 10, [SILENT] * 20], True, True),
        ([[SILENT] * 10, [ANSWERED, *[SILENT] * 19]], False, False),
    ],
)
def test_an_upstream_that_answers_one_poll_is_not_down(
    ledger: Ledger, breakers: UpstreamBreakers, batch: list[list[PollResult]], opens: bool, failing: bool
) -> None:
    """A balancer with a dead machine refuses part of them at once, one that is stuck is silent until the time-out."""
    health = health_of(breakers, sum(map(len, batch)))
    for group in batch:
        health.add(within(FIRST_S, *group))

    assert bool(ledger.breakers.currently_open()) is opens
    assert breakers.polls_failing is failing


def test_the_breaker_opens_once_most_polls_failed_and_closes_with_the_first_answer(
    ledger: Ledger, breakers: UpstreamBreakers
) -> None:
    """What hangs meanwhile may take half a minute."""
    health = health_of(breakers, 100)
    health.add(within(FIRST_S, *[SILENT] * 49))
    assert not ledger.breakers.currently_open()
    health.add(within(FIRST_S, SILENT))
    assert ledger.breakers.currently_open()[Breaker.POLL].hold is Hold.UNREACHABLE

    health.add(within(FIRST_S, ANSWERED))
    assert not ledger.breakers.currently_open()


@pytest.mark.parametrize(("timeout_s", "opens"), [(FIRST_S, False), (LONGEST_S / 2, False), (LONGEST_S, True)])
def test_only_the_longest_time_out_says_that_the_upstream_is_down(
    ledger: Ledger, breakers: UpstreamBreakers, timeout_s: float, opens: bool
) -> None:
    """After a shorter one it may be only slow, and a longer one will show."""
    health_of(breakers, 10).add(within(timeout_s, *[TIMED_OUT] * 10))

    assert bool(ledger.breakers.currently_open()) is opens
    assert breakers.polls_failing is opens


def test_polls_that_were_only_slow_count_neither_for_nor_against(ledger: Ledger, breakers: UpstreamBreakers) -> None:
    """A third is refused, the rest time out: no reply says that the upstream lives."""
    health = health_of(breakers, 9)
    health.add(within(FIRST_S, *[SILENT] * 3))
    assert not ledger.breakers.currently_open()
    health.add(within(FIRST_S, *[TIMED_OUT] * 6))
    assert ledger.breakers.currently_open()


def test_a_batch_of_stuck_polls_is_no_sign_while_others_are_answered(
    ledger: Ledger, breakers: UpstreamBreakers
) -> None:
    """Polls that time out meet in batches of their own, where nobody is answered."""
    stuck = health_of(breakers, 10)
    health_of(breakers, 1).add(within(FIRST_S, ANSWERED))
    stuck.add(within(LONGEST_S, *[TIMED_OUT] * 10))
    assert not ledger.breakers.currently_open()

    health_of(breakers, 10).add(within(LONGEST_S, *[TIMED_OUT] * 10))  # nobody was answered since it began
    assert ledger.breakers.currently_open()


def test_what_concerns_everybody_opens_the_breaker_whatever_else_was_answered(
    ledger: Ledger, breakers: UpstreamBreakers
) -> None:
    """Too many requests: the answers that came with it, or were on their way, do not make it untrue."""
    health = health_of(breakers, 10)
    health.add(within(FIRST_S, ANSWERED, THROTTLED, ANSWERED))
    health.add(within(FIRST_S, *[ANSWERED] * 7))

    assert ledger.breakers.currently_open()[Breaker.POLL].hold is Hold.THROTTLED
    assert breakers.polls_failing


@pytest.mark.parametrize(
    "hold", [Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.MISCONFIGURED, Hold.THROTTLED]
)
def test_what_concerns_every_request_opens_the_breaker_at_once(
    ledger: Ledger, breakers: UpstreamBreakers, hold: Hold
) -> None:
    """Each further request would only get the same answer."""
    breakers.after_submit(NotBought(hold, "no"))
    assert ledger.breakers.currently_open()[Breaker.SUBMIT].hold is hold
