"""The durations in the ledger: the move that finds a job done adds its own, once; every process reads them."""

import pytest
import redis

from config.connection import connect
from config.settings import RedisSettings
from jobs.durations import FRESH_S, LIFE_S, MOST_KINDS, SAMPLE, DurationStore
from jobs.errors import StaleTurn
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.schedule import KEPT, Durations, Interval
from jobs.states import State
from tests import steps
from tests.redis_servers import Cable
from tests.stage import Clock
from tests.steps import VIDEO, Poll, job_in

KEY = "rushes:durations:google/veo3:8:720p"
TOOK = Interval(118.0, 122.0, 1000.0)
SLOW = Interval(580.0, 600.0, 1000.0)
Store = DurationStore[Durations]


def store_on(client: "redis.Redis") -> Store:
    """A process's store of durations."""
    return DurationStore(client, lambda read: read, typical_s=110)


@pytest.fixture
def store(client: "redis.Redis") -> Store:
    """What a process knows."""
    return store_on(client)


def found_done(ledger: Ledger, took: Interval = TOOK) -> Job:
    """A job that a poll found done."""
    job = job_in(ledger, State.RENDERING)
    steps.rendered(ledger, job, VIDEO, took)
    return job


def test_a_found_job_is_added_to_the_durations_of_its_kind_once(ledger: Ledger, client: "redis.Redis") -> None:
    """A doubled poll holds a stale turn, and what it saw is not counted again."""
    job = found_done(ledger)
    with pytest.raises(StaleTurn):
        steps.rendered(ledger, job, VIDEO, TOOK)

    assert client.lrange(KEY, 0, -1) == ["118.000 122.000 1000.000"]
    assert LIFE_S - 60 < client.ttl(KEY) <= LIFE_S


def test_the_newest_durations_are_kept(ledger: Ledger, client: "redis.Redis") -> None:
    """A service that became slower is believed, and a list is never longer than a look at it may cost."""
    client.rpush(KEY, *["118 122 1"] * KEPT)
    found_done(ledger, SLOW)

    assert client.llen(KEY) == KEPT
    assert client.lindex(KEY, 0) == "580.000 600.000 1000.000"


def test_a_process_knows_what_all_have_observed_of_a_kind(ledger: Ledger, store: Store) -> None:
    """A worker that starts knows at once what others found."""
    job = job_in(ledger, State.RENDERING)
    for _ in range(20):
        found_done(ledger, SLOW)

    assert store.of(job, now=0).quantile_s(0.5) == pytest.approx(590, rel=0.01)
    other = job.model_copy(update={"kind": "veo2:5"})
    assert store.of(other, now=0).quantile_s(0.5) < 120


def test_durations_are_read_again_once_in_a_while(ledger: Ledger, store: Store) -> None:
    """A decision is made in microseconds; what others found meanwhile is known a few seconds later."""
    job = job_in(ledger, State.RENDERING)
    before = store.of(job, now=0)
    assert store.is_at_hand(job, now=1)
    for _ in range(20):
        found_done(ledger, SLOW)

    assert store.of(job, now=FRESH_S - 1) is before
    assert not store.is_at_hand(job, now=FRESH_S)
    assert store.of(job, now=FRESH_S).quantile_s(0.5) > 500


@pytest.mark.parametrize("rows", [1, SAMPLE + 40])
def test_pending_jobs_count_by_their_age_at_their_last_poll(
    ledger: Ledger, store: Store, clock: Clock, rows: int
) -> None:
    """The quick ones of a burst must not pass for all; of many jobs a sample is read, which stands for all."""
    jobs = [job_in(ledger, State.RENDERING) for _ in range(rows)]
    clock.advance(200)
    steps.polled(ledger, [Poll(ledger.get(job.id), "generating", 10, pending=True) for job in jobs])
    done_by = store.of(jobs[0], now=0).done_by(150)

    assert done_by == pytest.approx(0.78 * 2 / (2 + rows), rel=0.35)


def test_what_no_poll_saw_pending_and_what_was_found_count_for_nothing(
    ledger: Ledger, store: Store, clock: Clock
) -> None:
    """A poll that learnt nothing shows no age; a job that is polled for a fresh URL has ended already."""
    unseen, found = job_in(ledger, State.RENDERING), job_in(ledger, State.RENDERING)
    fresh = store.of(unseen, now=0)
    clock.advance(200)
    steps.polled(ledger, [Poll(ledger.get(unseen.id), "unreachable: 503", 10)])
    steps.polled(ledger, [Poll(ledger.get(found.id), "generating", 10, pending=True)])
    steps.rendered(ledger, ledger.get(found.id), VIDEO)

    assert ledger.get(found.id).state is State.STORING
    assert store.of(unseen, now=FRESH_S) == fresh


@pytest.mark.parametrize("entry", ["", "soon", "1 2", "1 2 3 4"])
def test_an_entry_that_cannot_be_read_counts_as_none(
    store: Store, client: "redis.Redis", ledger: Ledger, entry: str
) -> None:
    """Schedules are a convenience: what another version wrote must not stop the polls."""
    client.rpush(KEY, entry)
    client.expire(KEY, 60)
    job = job_in(ledger, State.RENDERING)

    assert store.of(job, now=0) == Durations.of((), (), typical_s=110)


def test_while_redis_is_away_what_was_known_stays_good(ledger: Ledger, redis_url: str) -> None:
    """A receipt must be written, not lost for want of a schedule."""
    job = job_in(ledger, State.RENDERING)
    found_done(ledger, SLOW)
    with Cable.laid(int(redis_url.rpartition(":")[2].partition("/")[0])) as cable:
        settings = RedisSettings.model_validate({"url": cable.url, "socket_timeout_s": 1.1})
        store = store_on(connect(settings, name="test"))
        cable.cut()
        assert store.of(job, now=0) == Durations.of((), (), typical_s=110)
        cable.mend()
        known = store.of(job, now=FRESH_S)
        assert known.quantile_s(0.9) > 500
        cable.cut()
        assert store.of(job, now=2 * FRESH_S) is known


def test_a_process_that_runs_for_months_does_not_collect_kinds(ledger: Ledger, client: "redis.Redis") -> None:
    """Each model, duration and resolution ever asked for would be one."""
    store, job = store_on(client), job_in(ledger, State.RENDERING)
    kinds = [job.model_copy(update={"kind": f"veo{number}"}) for number in range(MOST_KINDS + 1)]
    for one in kinds:
        store.of(one, now=0)

    assert not store.is_at_hand(kinds[0], now=0)
    assert store.is_at_hand(kinds[-1], now=0)
