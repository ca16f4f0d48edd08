"""A Redis without memory: it takes no new job, and lets everything that helps jobs to end go on."""

from collections.abc import Iterator

import pytest
import redis

from jobs.errors import LedgerUnavailable
from jobs.job import VideoRequest
from jobs.ledger import Ledger
from jobs.moves.request import on_cancel
from jobs.scripts import Retention, Scripts
from jobs.states import State
from producer.keys import Keys, Scope
from tests import steps

REQUEST = VideoRequest("google/veo3", "a wave")


@pytest.fixture
def full(client: "redis.Redis") -> Iterator["redis.Redis"]:
    """Leave Redis without memory once the test calls for it."""
    yield client
    client.config_set("maxmemory", 0)


def fill(client: "redis.Redis") -> None:
    """Leave no memory for new jobs."""
    client.config_set("maxmemory", int(client.info()["used_memory"]) // 2)


def test_a_full_redis_takes_no_new_job_and_leaves_nothing_behind(full: "redis.Redis") -> None:
    """A producer hears what to do."""
    ledger = Ledger(full)
    fill(full)

    with pytest.raises(LedgerUnavailable, match="maxmemory"):
        ledger.accept(REQUEST)
    assert ledger.unfinished() == set()


def test_on_a_full_redis_jobs_go_on_and_can_be_given_up(full: "redis.Redis") -> None:
    """What was paid for is written down, and a person can still cancel and erase."""
    ledger = Ledger(full)
    bought, unwanted = (ledger.get(ledger.accept(REQUEST).job_id) for _ in range(2))
    fill(full)

    intended = steps.submitting(ledger, bought)
    steps.submitted(ledger, intended, "gen-1")
    assert ledger.get(bought.id).state is State.RENDERING

    move = on_cancel(unwanted)
    assert move is not None
    ledger.move(unwanted, move)
    ledger.erase(ledger.get(unwanted.id))
    assert ledger.get(unwanted.id).erased_at is not None


def test_on_a_full_redis_links_are_signed_and_the_page_goes_on(full: "redis.Redis") -> None:
    """A process that starts now reads the secret that another one made."""
    secret = Keys(full).link_secret()
    fill(full)

    assert Keys(full).link_secret() == secret


def test_on_a_full_redis_a_key_can_be_revoked(full: "redis.Redis") -> None:
    """A stolen key must not stay valid for want of memory."""
    keys = Keys(full)
    key = keys.issue("shop", [Scope.READ]).key
    fill(full)

    assert keys.revoke(key.id).revoked_at is not None


def test_a_script_that_only_a_person_calls_is_refused_too(full: "redis.Redis") -> None:
    """A redelivery is new work."""
    fill(full)

    with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
        Scripts(full, retention=Retention(), clock=None, subscribers=()).run(
            "mail", id="job_1", wanted={"x": ["a 0 1"]}
        )
