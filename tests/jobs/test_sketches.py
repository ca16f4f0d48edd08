"""The sketches in the ledger: the move that finds a job done counts it, once."""

import json
from dataclasses import replace

import pytest
import redis

from config.connection import connect
from config.settings import RedisSettings
from jobs.errors import LedgerUnavailable, StaleTurn
from jobs.forecast import MEMORY_JOBS, Latency, Sketch, bucket_of
from jobs.job import Charged, Job, Reason
from jobs.ledger import Ledger
from jobs.lessons import LIFE_S, Lesson
from jobs.sketches import Experience, Sketches
from jobs.states import State
from tests import steps
from tests.jobs.test_ledger import VIDEO, rendering
from tests.stage import Clock
from tests.steps import Poll

KIND = "google/veo3:8:720p"
LESSON = Lesson(KIND, {130: 0.25, 131: 0.75}, took_s=120.0)
LATENCY = Latency(105, 130, 160, 240)


@pytest.fixture
def sketches(client: "redis.Redis") -> Sketches:
    """What the fleet has learnt."""
    return Sketches(client)


def found_done(ledger: Ledger, lesson: Lesson = LESSON) -> Job:
    """A job that a poll found done."""
    job = rendering(ledger)
    steps.rendered(ledger, job, VIDEO, lesson)
    return job


def test_a_finished_job_is_added_to_the_sketch_of_its_kind(ledger: Ledger, sketches: Sketches) -> None:
    """The move that finds a job done writes its lesson, so nobody can forget to."""
    found_done(ledger)

    known = sketches.recall(KIND)
    assert known == Experience(replace(known.sketch, mass={130: 0.25, 131: 0.75}, seen=1), None)
    assert sketches.recall("veo2:5") == Experience(Sketch(), None)


def test_a_job_is_learnt_from_once(ledger: Ledger, sketches: Sketches) -> None:
    """A doubled poll holds a stale turn, and what it saw is not counted again."""
    job = found_done(ledger)

    with pytest.raises(StaleTurn):
        steps.rendered(ledger, job, VIDEO, LESSON)

    assert sketches.recall(KIND).sketch.seen == 1


@pytest.mark.parametrize("apart_s", [0.0, 0.5, 300.0])
def test_older_jobs_fade_as_the_pure_sketch_says(
    ledger: Ledger, sketches: Sketches, clock: Clock, apart_s: float
) -> None:
    """The script and the simulation must forget alike, whether jobs come together or one by one."""
    expected = Sketch()
    for bucket in (100, 101, 100, *[102] * 60):
        found_done(ledger, replace(LESSON, shares={bucket: 1.0}, took_s=float(bucket)))
        expected = expected.with_lesson({bucket: 1.0}, took_s=float(bucket), at=clock.now)
        clock.advance(apart_s)

    learnt = sketches.recall(KIND).sketch
    assert learnt.seen == expected.seen
    assert learnt.mass == pytest.approx(expected.mass, rel=1e-6)
    assert learnt.gap_s == pytest.approx(expected.gap_s, abs=1e-3)


def test_a_sketch_stays_small(ledger: Ledger, sketches: Sketches) -> None:
    """What has faded is dropped: a few dozen numbers, however many jobs were seen."""
    found_done(ledger, replace(LESSON, shares={10: 1.0}))
    for _ in range(3):
        found_done(ledger, replace(LESSON, shares={20: 1.0}, memory_jobs=1.05, memory_of_flight=0.0))

    assert sketches.recall(KIND).sketch.mass.keys() == {20}


def test_a_kind_that_nobody_requests_any_more_is_forgotten(ledger: Ledger, client: "redis.Redis") -> None:
    """No key lives for ever."""
    found_done(ledger)
    assert LIFE_S - 60 < client.ttl(f"rushes:sketch:{KIND}") <= LIFE_S


@pytest.mark.parametrize(
    "garbage",
    ["", "{", "null", "[]", '{"mass": 3, "seen": 1}', '{"mass": {"x": 1}, "seen": 1}', '{"mass": {"5": "y"}}'],
)
def test_a_sketch_that_cannot_be_read_is_begun_anew(
    ledger: Ledger, sketches: Sketches, client: "redis.Redis", garbage: str
) -> None:
    """Pacing is a convenience: it must never keep a video from its job."""
    client.set(f"rushes:sketch:{KIND}", garbage, px=60_000)
    assert sketches.recall(KIND).sketch.mass == {}

    found_done(ledger)

    assert json.loads(str(client.get(f"rushes:sketch:{KIND}")))["mass"]["131"] == 0.75


def test_what_the_upstream_says_is_kept_for_the_models_kinds(sketches: Sketches) -> None:
    """One worker asks for the whole fleet; the upstream does not distinguish durations or resolutions."""
    sketches.heard(KIND, LATENCY)

    assert sketches.recall(KIND).latency == LATENCY
    assert sketches.recall("google/veo3:4:1080p").latency == LATENCY
    assert sketches.recall("google/veo-3.0-fast:8:720p").latency is None


@pytest.mark.parametrize("latency", [Latency(0, 1, 2, 3), Latency(3, 2, 1, 1), Latency(1, 2, 3, 1e9)])
def test_a_latency_that_cannot_be_is_not_believed(sketches: Sketches, latency: Latency) -> None:
    """Somebody else's numbers decide nothing without being checked."""
    sketches.heard(KIND, latency)
    assert sketches.recall(KIND).latency is None


def test_a_poll_that_saw_it_pending_is_remembered(ledger: Ledger) -> None:
    """A poll that learnt nothing is not."""
    job = rendering(ledger)
    steps.polled(ledger, [Poll(job, "unreachable: 503", 10)])
    unseen = ledger.get(job.id)
    steps.polled(ledger, [Poll(unseen, "generating", 10, pending=True)])

    assert unseen.pending_at is None
    assert ledger.get(job.id).pending_at is not None
    assert ledger.get(job.id).kind == KIND


@pytest.mark.parametrize("seconds", [0.01, 1, 12, 77.7, 300, 86_000])
def test_those_that_are_pending_are_counted_where_they_have_come_to(
    ledger: Ledger, sketches: Sketches, clock: Clock, seconds: float
) -> None:
    """Each counts once, however often it is polled; the script and the forecast use the same buckets."""
    jobs = [rendering(ledger) for _ in range(2)]
    for passed_s in (5.0, seconds):
        clock.advance(passed_s)
        steps.polled(ledger, [Poll(ledger.get(job.id), "generating", 10, pending=True) for job in jobs])

    assert sketches.recall(KIND).pending == {bucket_of(5 + seconds): 2}


def test_a_poll_that_came_too_late_counts_nothing(ledger: Ledger, sketches: Sketches) -> None:
    """The job has moved on, or somebody else has polled."""
    job = rendering(ledger)
    steps.polled(ledger, [Poll(job, "generating", 10, pending=True)] * 2)
    assert sum(sketches.recall(KIND).pending.values()) == 1

    steps.rendered(ledger, ledger.get(job.id), VIDEO)
    steps.polled(ledger, [Poll(ledger.get(job.id), "generating", 10, pending=True)])
    assert sketches.recall(KIND).pending == {}


def test_a_job_that_is_done_or_given_up_is_pending_no_more(ledger: Ledger, clock: Clock, client: "redis.Redis") -> None:
    """It leaves the count however often it was polled; no count outlives the last job."""
    done, failed, never_polled = (rendering(ledger) for _ in range(3))
    for _ in range(3):
        clock.advance(20)
        steps.polled(ledger, [Poll(ledger.get(job.id), "generating", 10, pending=True) for job in (done, failed)])
    assert LIFE_S - 60 < client.ttl(f"rushes:pending:{KIND}") <= LIFE_S

    steps.rendered(ledger, ledger.get(done.id), VIDEO)
    steps.end(ledger, ledger.get(failed.id), steps.ended(State.FAILED, Reason.REFUSED, "400", Charged.NO))
    steps.rendered(ledger, ledger.get(never_polled.id), VIDEO)

    assert not client.exists(f"rushes:pending:{KIND}")


def test_counts_that_cannot_be_read_are_none(sketches: Sketches, client: "redis.Redis") -> None:
    """Pacing is a convenience: unreadable counts must not stop it."""
    client.hset(f"rushes:pending:{KIND}", mapping={"x": "1"})
    client.expire(f"rushes:pending:{KIND}", 60)
    assert sketches.recall(KIND).pending == {}


def test_an_outage_of_redis_is_raised_as_one(ledger: Ledger) -> None:
    """Callers know how to wait for the ledger."""
    del ledger
    away = Sketches(connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), name="test"))
    with pytest.raises(LedgerUnavailable):
        away.recall(KIND)
    with pytest.raises(LedgerUnavailable):
        away.heard(KIND, LATENCY)


def test_the_memory_of_a_sketch_is_some_dozens_of_jobs() -> None:
    """Long enough to know a shape, short enough to notice a change."""
    assert 40 <= MEMORY_JOBS <= 100
