"""Each worker process knows how long each kind takes, and refreshes that from the fleet."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import redis

from config.connection import connect
from config.settings import PollSettings, RedisSettings
from jobs.forecast import Forecast, Latency, Sketch
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.lessons import Lesson
from jobs.pacing import FixedPacing, InSlots, LearnedPacing
from jobs.sketches import Sketches
from tests import steps
from tests.jobs.test_ledger import VIDEO, rendering
from tests.jobs.test_lessons import KNOWN
from tests.jobs.test_moves import NOW, POLICY
from worker import pace as pace_module
from worker.pace import Pace

KIND = "google/veo3:8:720p"
FAST = Latency(10, 12, 14, 20)


@dataclass
class Upstreams:
    """Stands for the upstream's metrics; counts how often it is asked."""

    answer: Latency | None = FAST
    asked: list[str] = field(default_factory=list)

    def latency(self, model: str) -> Latency | None:
        """Answer with the latency, and count the call."""
        self.asked.append(model)
        return self.answer


@pytest.fixture
def upstream() -> Upstreams:
    """An upstream whose metrics answer."""
    return Upstreams()


@pytest.fixture
def make(client: "redis.Redis", ledger: Ledger, upstream: Upstreams) -> Callable[..., Pace]:
    """A worker process's pace, another one at each call."""

    def made(**choice: object) -> Pace:
        poll = PollSettings.model_validate(choice)
        return Pace(POLICY, poll, Sketches(client), upstream.latency, ledger.limits)

    return made


def first_s(pace: Pace, job: Job = KNOWN) -> float:
    """When a job of this kind is polled first."""
    return pace.policy(job).pacing.first()


def finish(ledger: Ledger, *, jobs: int, pending_s: float, done_s: float) -> None:
    """Jobs that were seen pending `pending_s` and found done `done_s` seconds after their receipt."""
    lesson = Lesson(KIND, Forecast(Sketch(), Latency.typical(110)).lesson(pending_s, done_s), took_s=done_s)
    for _ in range(jobs):
        steps.rendered(ledger, rendering(ledger), VIDEO, lesson)


def test_a_kind_is_paced_by_what_the_fleet_has_learnt_of_it(make: Callable[..., Pace], ledger: Ledger) -> None:
    """A worker that starts knows at once what others learnt."""
    before = first_s(make())
    finish(ledger, jobs=60, pending_s=580, done_s=600)

    assert first_s(make()) > 2 * before


def test_what_is_learnt_meanwhile_arrives_with_a_refresh(
    make: Callable[..., Pace], ledger: Ledger, upstream: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a refresh reads it, because a decision reads nothing."""
    monkeypatch.setattr(pace_module, "REFRESH_S", 0.0)
    upstream.answer = None
    pace = make()
    before = first_s(pace)
    finish(ledger, jobs=60, pending_s=580, done_s=600)
    assert first_s(pace) == before

    pace.refresh()

    assert first_s(pace) > 2 * before


def test_one_of_the_fleet_asks_the_upstream_and_all_know(make: Callable[..., Pace], upstream: Upstreams) -> None:
    """The fleet asks once in a while for each model in use, and no task waits for it."""
    one, other = make(), make()
    before = first_s(one)
    first_s(other)
    assert upstream.asked == []

    for pace in (one, other, one):
        pace.refresh()

    assert upstream.asked == ["google/veo3"]
    assert first_s(one) < before / 2
    assert first_s(other) < before / 2


def test_an_upstream_without_metrics_harms_nothing(make: Callable[..., Pace], upstream: Upstreams) -> None:
    """The prior of the settings stays in use."""
    upstream.answer = None
    pace = make()
    before = first_s(pace)
    pace.refresh()
    assert first_s(pace) == before


def test_the_upstream_is_never_asked_where_that_was_chosen(make: Callable[..., Pace], upstream: Upstreams) -> None:
    """RUSHES_POLL__METRICS_EVERY_S=0 turns the metrics off."""
    pace = make(metrics_every_s=0)
    first_s(pace)
    pace.refresh()
    assert upstream.asked == []


def test_fixed_pacing_stays_available_and_still_learns(make: Callable[..., Pace]) -> None:
    """The ETA comes from the same sketches."""
    pace = make(pacing="fixed")

    assert pace.policy(KNOWN).pacing == FixedPacing(30, 10)
    assert pace.lesson(KNOWN, now=NOW) is not None


def test_the_first_job_of_a_kind_is_paced_although_redis_is_away(ledger: Ledger, upstream: Upstreams) -> None:
    """A receipt must be written, not lost for want of a schedule; the sketch is read when Redis is back."""
    away = Sketches(connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), name="test"))
    pace = Pace(POLICY, PollSettings.model_validate({}), away, upstream.latency, ledger.limits)

    in_slots = pace.policy(KNOWN).pacing
    assert isinstance(in_slots, InSlots)
    assert isinstance(in_slots.pacing, LearnedPacing)
    pace.refresh()
    assert upstream.asked == []  # what was made up in need is not kept


def test_a_kind_that_is_not_requested_any_more_is_dropped(
    make: Callable[..., Pace], upstream: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that runs for months must not collect kinds."""
    monkeypatch.setattr(pace_module, "UNUSED_S", -1.0)
    pace = make()
    first_s(pace)
    pace.refresh()
    assert upstream.asked == []
