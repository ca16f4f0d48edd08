"""The fleet's rate limits, by one kind of bucket, which the API's quota and the polls' pace are as well."""

import random

import pytest
import redis

from jobs.ledger import Ledger
from jobs.limits import Limits
from tests.stage import Clock


@pytest.fixture
def limits(client: "redis.Redis", clock: Clock) -> Limits:
    """The rate limits of one process."""
    return Ledger(client, clock=clock).limits


def test_a_burst_is_granted_at_once_and_refills_steadily(limits: Limits, clock: Clock) -> None:
    """Three calls pass at once, then one every twenty seconds."""
    assert [limits.wait_s("log", every_s=20, burst=3) for _ in range(4)] == [0, 0, 0, pytest.approx(20, abs=0.002)]
    clock.advance(19)
    assert limits.wait_s("log", every_s=20, burst=3) == pytest.approx(1, abs=0.002)
    clock.advance(1)
    assert limits.wait_s("log", every_s=20, burst=3) == 0
    assert limits.wait_s("log", every_s=20, burst=3) == pytest.approx(20, abs=0.002)
    clock.advance(1e6)
    assert [limits.wait_s("log", every_s=20, burst=3) > 0 for _ in range(4)] == [False, False, False, True]


def test_one_of_the_fleet_does_it_at_a_time(limits: Limits, client: "redis.Redis", clock: Clock) -> None:
    """With nothing saved up, the second caller leaves it to the first, whichever process it is in."""
    other = Ledger(client, clock=clock).limits
    assert limits.wait_s("reading", every_s=10) == 0
    assert other.wait_s("reading", every_s=10) == pytest.approx(10, abs=0.002)
    assert other.wait_s("another thing", every_s=10) == 0
    clock.advance(10)
    assert other.wait_s("reading", every_s=10) == 0


def test_any_time_sees_no_more_than_its_share_and_what_was_saved_up(limits: Limits, clock: Clock) -> None:
    """The bound holds however the callers are spread, and however their waits are rounded."""
    rand, granted, began = random.Random(7), [], clock.now
    while clock.now < began + 600:
        if limits.wait_s("log", every_s=0.6, burst=100) == 0:
            granted.append(clock.now)
        clock.advance(rand.choice([0, 0, 0.05, 0.3, 2]))
    assert len(granted) > 600
    for first in granted[::50]:
        assert sum(first <= at <= first + 60 for at in granted) <= 100 + 60 / 0.6 + 1


def test_a_bucket_lives_until_it_is_full(limits: Limits, client: "redis.Redis") -> None:
    """A name that nobody uses any more must not stay as a key for ever."""
    limits.wait_s("log", every_s=20, burst=3)
    limits.wait_s("log", every_s=20, burst=3)
    assert 39_000 < client.pttl("rushes:rate:log") <= 40_000


@pytest.mark.parametrize("left_behind", ["nonsense", "4e9"])
def test_what_else_stands_in_its_key_stops_nobody(limits: Limits, client: "redis.Redis", left_behind: str) -> None:
    """A moment that cannot be is at most an empty bucket."""
    client.set("rushes:rate:log", left_behind, ex=60)
    assert limits.wait_s("log", every_s=20, burst=3) <= 20
