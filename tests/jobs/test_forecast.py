"""The forecast learns finishing times from intervals, starts from a prior, and forgets slowly."""

import math
import random
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.forecast import BUCKETS, EDGES_S, PRIOR_JOBS, Eta, Forecast, Latency, Sketch, bucket_of

PRIOR: Final = Latency.typical(110)
ANY_SECONDS: Final = st.floats(min_value=0, max_value=1e6)


def taught(*intervals: tuple[float, float], sketch: Sketch | None = None) -> Sketch:
    """A sketch after jobs that were pending at one time and done at another, in seconds."""
    learnt = sketch or Sketch()
    for pending_s, done_s in intervals:
        learnt = learnt.with_lesson(Forecast(learnt, PRIOR).lesson(pending_s, done_s))
    return learnt


def median_s(sketch: Sketch) -> float:
    """Seconds until half of the jobs are done."""
    return Forecast(sketch, PRIOR).quantile_s(0.5)


def test_before_anything_is_seen_the_prior_speaks() -> None:
    """A cold start polls about where the upstream says that its videos come."""
    forecast = Forecast(Sketch(), Latency(60, 75, 100, 200))

    assert [forecast.quantile_s(share) for share in (0.5, 0.75, 0.9)] == pytest.approx([60, 75, 100], rel=0.03)


def test_a_few_jobs_of_our_own_outweigh_the_prior() -> None:
    """The prior is somebody else's word; ten jobs know better."""
    assert median_s(taught(*[(290, 310)] * 2)) > 110
    assert median_s(taught(*[(290, 310)] * 10)) == pytest.approx(300, rel=0.05)


def test_what_came_before_a_change_is_forgotten_within_a_few_dozen_jobs() -> None:
    """A service that became twice as slow, or fast, is believed."""
    before = taught(*[(110, 130)] * 300)

    assert median_s(taught(*[(230, 250)] * 60, sketch=before)) > 200
    assert median_s(taught(*[(55, 65)] * 60, sketch=before)) < 70


def test_a_first_poll_that_finds_all_done_still_teaches_that_it_was_late() -> None:
    """Nothing shows how early they were; spread evenly, the forecast creeps forward until a poll finds one pending."""
    before = taught(*[(110, 130)] * 300)

    assert Forecast(taught(*[(0, 100)] * 30, sketch=before), PRIOR).quantile_s(0.1) < 60


def test_sketches_of_two_fleets_add_up_bucket_by_bucket() -> None:
    """A plain sum is the sketch of both."""
    one, other = taught((100, 110)), taught((200, 220))

    both = {bucket: one.mass.get(bucket, 0) + other.mass.get(bucket, 0) for bucket in {*one.mass, *other.mass}}
    assert sum(both.values()) == pytest.approx(2)
    assert 110 < median_s(Sketch(both, 2)) < 200


@given(pending_s=ANY_SECONDS, done_s=ANY_SECONDS)
def test_a_lesson_is_one_job_wherever_it_lies(pending_s: float, done_s: float) -> None:
    """Clocks may jump: an impossible time moves to a possible one, and never counts for more than one job."""
    shares = Forecast(Sketch(), PRIOR).lesson(pending_s, done_s)

    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 <= bucket < BUCKETS and share >= 0 for bucket, share in shares.items())


@example(taken_s=[1.0, 1.0], pending={48: -3}, at_s=1.0)
@given(
    taken_s=st.lists(st.floats(min_value=0.1, max_value=5e4), max_size=30),
    pending=st.dictionaries(st.integers(-3, BUCKETS + 3), st.integers(-5, 10_000)),
    at_s=ANY_SECONDS,
)
def test_a_forecast_is_a_distribution(taken_s: list[float], pending: dict[int, int], at_s: float) -> None:
    """It begins at nothing, ends at all, never falls, and rules no time out; whatever the counts say."""
    forecast = Forecast(taught(*[(0.9 * seconds, seconds) for seconds in taken_s]), PRIOR, pending)

    assert forecast.done_by(0) == pytest.approx(0, abs=0.01)
    assert forecast.done_by(EDGES_S[-1]) == pytest.approx(1)
    assert forecast.done_by(at_s) <= forecast.done_by(at_s * 1.1 + 1) + 1e-12
    assert forecast.done_by(forecast.quantile_s(0.3)) == pytest.approx(0.3, abs=1e-6)


def test_nine_in_ten_are_done_within_the_p90_that_was_forecast() -> None:
    """The forecast holds at the submission, and again each minute for the jobs still under way."""
    dice = random.Random(4)
    took_s = [dice.lognormvariate(4.79, 0.35) for _ in range(1200)]
    forecast = Forecast(taught(*[(0.96 * seconds, 1.02 * seconds) for seconds in took_s[:200]]), PRIOR)
    asked = took_s[200:]

    for elapsed_s in (0, 60, 120):
        under_way = [seconds for seconds in asked if seconds > elapsed_s]
        eta = forecast.eta(elapsed_s, pending_at_s=elapsed_s)
        held = sum(seconds <= elapsed_s + eta.p90_s for seconds in under_way) / len(under_way)
        half = sum(seconds <= elapsed_s + eta.p50_s for seconds in under_way) / len(under_way)
        assert 0.85 <= held <= 0.95
        assert 0.35 <= half <= 0.65


def test_an_eta_is_never_before_the_next_poll() -> None:
    """Half of them are done by now, but nobody knows before the next poll."""
    forecast = Forecast(taught(*[(100, 105)] * 50), PRIOR)

    assert forecast.eta(115, pending_at_s=95, next_poll_s=3) == Eta(3, 3)


def test_the_share_of_the_prior_fades_faster_than_jobs_come() -> None:
    """After dozens of jobs a wrong prior costs no polls any more."""
    learnt = taught(*[(950, 1050)] * 60)
    jobs = sum(learnt.mass.values())

    assert PRIOR_JOBS**2 / (PRIOR_JOBS + jobs) / jobs < 0.01
    assert Forecast(learnt, PRIOR).done_by(200) < 0.02


@pytest.mark.parametrize("many", [100, 400, 2000])
def test_what_was_requested_together_is_remembered_together(many: int) -> None:
    """Of a burst the quick ones end first: a memory of the last few dozen would know none but the slow ones."""
    dice, learnt = random.Random(1), Sketch()
    took = sorted(120 * math.exp(0.3 * dice.gauss(0, 1)) for _ in range(many))
    for took_s in took:
        shares = Forecast(learnt, PRIOR).lesson(took_s - 5, took_s + 5)
        learnt = learnt.with_lesson(shares, took_s=took_s + 5, at=1000 + took_s)

    learnt_of = Forecast(learnt, PRIOR)
    assert learnt_of.quantile_s(0.5) == pytest.approx(took[many // 2], rel=0.1)
    assert learnt_of.quantile_s(0.1) == pytest.approx(took[many // 10], rel=0.2)


@pytest.mark.parametrize("done", [0.02, 0.1, 0.5, 0.9])
def test_the_quick_jobs_of_a_burst_do_not_stand_for_all(done: float) -> None:
    """The others were pending when they were polled last, so they take longer than that."""
    dice, learnt = random.Random(1), Sketch()
    took = sorted(120 * math.exp(0.3 * dice.gauss(0, 1)) for _ in range(400))
    ended = round(done * len(took))
    for took_s in took[:ended]:
        shares = Forecast(learnt, PRIOR).lesson(took_s - 5, took_s + 5)
        learnt = learnt.with_lesson(shares, took_s=took_s + 5, at=1000 + took_s)
    pending = {bucket_of(took[ended]): len(took) - ended}

    forecast = Forecast(learnt, PRIOR, pending)
    assert forecast.done_by(took[ended]) == pytest.approx(done, abs=0.07)
    assert 0.85 * took[360] <= forecast.quantile_s(0.9) <= 1.6 * took[360]
    assert done > 0.5 or Forecast(learnt, PRIOR).quantile_s(0.5) < forecast.quantile_s(0.5) - 5


def test_the_forecast_learns_from_jobs_that_are_still_pending() -> None:
    """A service that became slower is noticed before its first video is there."""
    learnt = taught(*[(110, 130)] * 60)

    assert Forecast(learnt, PRIOR).quantile_s(0.9) < 140
    assert Forecast(learnt, PRIOR, {bucket_of(180): 30}).quantile_s(0.9) > 180


def test_those_that_are_stuck_say_nothing_of_the_others() -> None:
    """They never end: with them in mind each poll would seem to find less, and the next one too soon."""
    learnt = taught(*[(110, 130)] * 60)

    stuck = Forecast(learnt, PRIOR, {bucket_of(800): 30})
    assert stuck.quantile_s(0.9) == pytest.approx(Forecast(learnt, PRIOR).quantile_s(0.9))


def test_a_change_is_noticed_while_few_are_in_flight() -> None:
    """Twice as slow from one job to the next: forty jobs later the forecast has moved over."""
    learnt, now = Sketch(), 0.0
    for took_s in [60.0] * 100 + [120.0] * 60:
        now += 20
        shares = Forecast(learnt, PRIOR).lesson(took_s - 5, took_s + 5)
        learnt = learnt.with_lesson(shares, took_s=took_s, at=now)

    assert median_s(learnt) > 100
