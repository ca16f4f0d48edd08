"""When to poll: silent at first, dense where videos come, and bounded whatever happens."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.schedule import (
    BOUND_OF_ELAPSED,
    EARLY,
    KEPT,
    Age,
    Durations,
    Eta,
    FixedSchedule,
    InSlots,
    Interval,
    LearnedSchedule,
    Schedule,
    interval,
    kind,
)
from tests.jobs.test_moves import NOW, a_job

LATENESS_S: Final = 4.0
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 60.0
TYPICAL_S: Final = 110.0
SECONDS: Final = st.floats(min_value=0, max_value=1e6)
TIMES: Final = st.floats(min_value=-1e9, max_value=1e9)


def durations(*took_s: float, wide_s: float = 4.0, ages: Sequence[Age] = (), typical_s: float = TYPICAL_S) -> Durations:
    """The durations after jobs that took about so long, found one after the other, the last one newest."""
    found = [Interval(took - wide_s / 2, took + wide_s / 2, number * 10.0) for number, took in enumerate(took_s)]
    return Durations.of(found[: -KEPT - 1 : -1], ages, typical_s=typical_s)


def schedule(known: Durations, lateness_s: float = LATENESS_S) -> LearnedSchedule:
    """The schedule for these durations, with the default bounds."""
    return LearnedSchedule(known, lateness_s=lateness_s, shortest_s=SHORTEST_S, longest_s=LONGEST_S)


def polls(of: Schedule, *, until_s: float = 1000) -> list[float]:
    """The times of the polls of a generation that never ends."""
    times = [of.wait_s(0.0)]
    while times[-1] < until_s:
        times.append(times[-1] + of.wait_s(times[-1]))
    return times


# -- durations ------------------------------------------------------------------------------------------------------


def test_before_anything_is_known_jobs_take_about_the_typical_time() -> None:
    """A cold start polls where the deployment says that videos come."""
    known = durations()

    assert known.quantile_s(0.5) == pytest.approx(TYPICAL_S, rel=0.06)
    assert 50 < known.quantile_s(EARLY) < 75
    assert 150 < known.quantile_s(0.9) < 220


def test_a_few_jobs_outweigh_the_typical_time() -> None:
    """It is an assumption; ten jobs know better."""
    assert durations(*[300] * 10).quantile_s(0.5) == 300
    assert durations(*[300] * 60).done_by(250) < 0.05


def test_a_service_that_became_slower_or_faster_is_believed() -> None:
    """What came before is forgotten within as many jobs as are kept."""
    assert durations(*[120] * 300, *[240] * 70).quantile_s(0.5) == 240
    assert durations(*[120] * 300, *[60] * 70).quantile_s(0.5) == 60


def test_the_quick_jobs_of_a_burst_do_not_pass_for_all() -> None:
    """Of 400 jobs bought at once 20 are found, the quickest; the others are known to take longer."""
    found = [Interval(78, 82, 80.0)] * 20
    pending = [Age(0.0, 80.0)] * 95

    assert Durations.of(found, [], typical_s=TYPICAL_S).quantile_s(0.5) == 80
    known = Durations.of(found, [age._replace(jobs=4.0) for age in pending], typical_s=TYPICAL_S)
    assert known.done_by(80) == pytest.approx(0.05, abs=0.005)
    assert known.quantile_s(0.5) > 100


def test_the_slow_jobs_of_a_burst_do_not_pass_for_all() -> None:
    """The newest 128 of 400 ended last: they show nothing of the ages before the first of them was found."""
    dice = random.Random(1)
    took_s = sorted(120 * math.exp(0.3 * dice.gauss(0, 1)) for _ in range(400))
    found = [Interval(took - 2, took + 2, took) for took in reversed(took_s)][:KEPT]

    known = Durations.of(found, [], typical_s=TYPICAL_S)
    assert found[-1].found_s > 135
    assert known.quantile_s(0.5) < 130


@given(
    found=st.lists(st.builds(Interval, SECONDS, SECONDS, TIMES), max_size=KEPT),
    ages=st.lists(st.builds(Age, TIMES, SECONDS, st.floats(min_value=1, max_value=100)), max_size=50),
    typical_s=st.floats(min_value=0.1, max_value=1e5),
    at_s=SECONDS,
)
def test_durations_are_a_distribution(found: list[Interval], ages: list[Age], typical_s: float, at_s: float) -> None:
    """It begins at nothing, never falls and never exceeds all, whatever the clocks said."""
    known = Durations.of(found, ages, typical_s=typical_s)

    assert (known.ends_s[0], known.done[0]) == (0.0, 0.0)
    assert list(known.ends_s) == sorted(known.ends_s)
    assert list(known.done) == sorted(known.done)
    assert 0 < known.done[-1] <= 1 + 1e-9
    assert -1e-9 <= known.done_by(at_s) <= known.done_by(at_s + 1) + 1e-9 <= 1 + 1e-6
    assert known.done_by(known.quantile_s(0.3)) >= min(0.3, known.done[-1]) - 1e-6


# -- the ETA --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elapsed_s", [0, 60, 120])
def test_nine_in_ten_are_done_within_the_p90(elapsed_s: float) -> None:
    """It holds at the submission, and again for the jobs still under way."""
    dice = random.Random(4)
    took_s = [dice.lognormvariate(4.79, 0.35) for _ in range(1200)]
    eta = durations(*took_s[:KEPT]).eta(elapsed_s, pending_at_s=elapsed_s, lateness_s=0)

    under_way = [seconds for seconds in took_s[KEPT:] if seconds > elapsed_s]
    held = sum(seconds <= elapsed_s + eta.p90_s for seconds in under_way) / len(under_way)
    half = sum(seconds <= elapsed_s + eta.p50_s for seconds in under_way) / len(under_way)
    assert 0.85 <= held <= 0.95
    assert 0.35 <= half <= 0.65


def test_an_eta_is_never_before_the_next_poll() -> None:
    """Half of them are done by now, but nobody knows before the next poll."""
    assert durations(*[102] * 50).eta(115, pending_at_s=95, lateness_s=1, next_poll_s=3) == Eta(3, 3)


def test_a_job_that_is_older_than_all_others_may_take_as_long_again() -> None:
    """Something must be said of it, and grows with its age."""
    assert durations().eta(2000, pending_at_s=2000, lateness_s=0) == pytest.approx(Eta(1000, 1820))


# -- the schedule ---------------------------------------------------------------------------------------------------


def test_it_is_silent_until_success_is_likely_and_dense_where_it_is() -> None:
    """A poll that cannot find anything is wasted."""
    times = polls(schedule(durations(*[110, 115, 120, 125, 130] * 20)))

    assert 100 < times[0] <= 110
    assert max(b - a for a, b in pairwise(times) if b <= 130) <= 2 * LATENESS_S


def test_half_the_lateness_takes_more_polls() -> None:
    """Polls are dearer the sooner a video is to be found."""
    counts = [len(polls(schedule(durations(), lateness_s), until_s=240)) for lateness_s in (1.5, 3, 6, 12)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[2]


def test_nothing_is_polled_where_hardly_any_job_ends() -> None:
    """Two kinds of machines serve one model, and no job ends between."""
    times = polls(schedule(durations(*[60, 200] * 60)), until_s=200)

    assert sum(70 < time < 190 for time in times) <= 4


def test_the_first_poll_comes_at_half_its_time_once_it_finds_more_than_one_in_ten() -> None:
    """Else a service that became faster would never be noticed: each first poll finds everything."""
    found = [Interval(0.0, 100.0, 10.0)] * 12 + [Interval(98.0, 102.0, 5.0)] * 88
    some = [Interval(0.0, 100.0, 10.0)] * 9 + [Interval(98.0, 102.0, 5.0)] * 91

    first_s = schedule(Durations.of(some, [], typical_s=TYPICAL_S)).wait_s(0)
    assert schedule(Durations.of(found, [], typical_s=TYPICAL_S)).wait_s(0) == first_s / 2


def test_a_stuck_generation_is_polled_ever_less_often_up_to_the_longest_wait() -> None:
    """Far beyond all that is known, polls cost more than they find."""
    gaps = [b - a for a, b in pairwise(polls(schedule(durations(*[120] * 100)), until_s=4000)) if a > 600]

    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_S
    assert len(gaps) < 80


@given(
    elapsed_s=st.floats(allow_nan=True, allow_infinity=True),
    lateness_s=st.floats(min_value=0.1, max_value=30),
    found=st.lists(st.builds(Interval, SECONDS, SECONDS, TIMES), max_size=20),
    ages=st.lists(st.builds(Age, TIMES, SECONDS), max_size=20),
)
def test_a_wait_is_bounded_whatever_the_clocks_say(
    elapsed_s: float, lateness_s: float, found: list[Interval], ages: list[Age]
) -> None:
    """Clocks that jump must neither crash nor blind us."""
    known = Durations.of(found, ages, typical_s=TYPICAL_S)
    wait_s = schedule(known, lateness_s).wait_s(elapsed_s)

    passed_s = elapsed_s if math.isfinite(elapsed_s) and elapsed_s > 0 else 0.0
    silence_s = max(known.quantile_s(0.25) - passed_s, 0)
    assert SHORTEST_S <= wait_s <= max(SHORTEST_S, LONGEST_S, silence_s)
    assert wait_s <= max(SHORTEST_S, BOUND_OF_ELAPSED * passed_s, silence_s) + 1e-9


def test_a_fixed_schedule_polls_at_even_intervals() -> None:
    """The upstream's own example does the same."""
    fixed = FixedSchedule(first_s=30, interval_s=10)

    assert [fixed.wait_s(elapsed_s) for elapsed_s in (0, 5, 30, 500)] == [30, 25, 10, 10]


def test_a_generation_that_seems_to_begin_in_an_hour_is_polled_as_one_that_has_just_begun() -> None:
    """Redis's clock was set back: the wait is no hour."""
    assert FixedSchedule(first_s=30, interval_s=10).wait_s(-3600) == 30
    assert schedule(durations()).wait_s(-3600) == schedule(durations()).wait_s(0)


@pytest.mark.parametrize("apart_s", [1.5, 4.0, 10.0])
def test_a_crowd_that_is_polled_at_the_end_of_a_slot_keeps_its_interval(apart_s: float) -> None:
    """A poll takes a moment, so the next falls due just behind a slot's end: it must not wait for another's."""
    slots, moment_s, now = InSlots(FixedSchedule(apart_s, apart_s), slot_s=0.25, shortest_s=1.0), 0.004, 0.0
    for number in range(1, 100):
        now = math.ceil((now + moment_s + slots.wait_s(now)) / 0.25) * 0.25
        assert now == number * apart_s


def test_no_poll_comes_sooner_for_the_slots_sake_than_the_shortest_wait() -> None:
    """The floor is a promise to the upstream; what was chosen shorter than it stays as it was chosen."""
    assert InSlots(FixedSchedule(1.1, 1.05), slot_s=0.25, shortest_s=1.0).wait_s(0.0) == 1.0
    assert InSlots(FixedSchedule(0.5, 0.5), slot_s=5.0, shortest_s=1.0).wait_s(3.0) == 0.5


# -- which duration counts ------------------------------------------------------------------------------------------

KNOWN: Final = a_job(
    kind="google/veo3:8:720p",
    polls=3,
    intent_at=NOW - 102,
    submitted_at=NOW - 100,
    pending_at=NOW - 10,
    due_at=NOW,
    rendered_at=None,
)
"""Bought a hundred seconds ago, seen pending ten seconds ago."""


def test_a_job_ended_between_the_poll_that_saw_it_pending_and_the_one_that_found_it() -> None:
    """The exact moment is nobody's to know."""
    assert interval(KNOWN, now=NOW) == Interval(90, 100, NOW)


def test_a_job_found_by_its_first_poll_ended_some_time_before() -> None:
    """It shows that the first poll may have been late."""
    assert interval(KNOWN.model_copy(update={"pending_at": None, "polls": 0}), now=NOW) == Interval(0, 100, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"rendered_at": NOW - 50},
        {"submitted_at": None},
        {"intent_at": NOW - 400},
        {"intent_at": NOW + 5},
        {"pending_at": NOW - 70},
        {"pending_at": None},
        {"pending_at": None, "polls": 0, "due_at": NOW - 40},
        {"submitted_at": NOW + 7},
        {"pending_at": NOW + 7},
        {"pending_at": NOW - 150},
    ],
    ids=[
        "its URL had gone and it was counted before",
        "nobody knows when it began",
        "its receipt came late, or it was adopted",
        "the intent is later than the receipt",
        "an outage lies between the polls",
        "no poll saw it pending, but there were some",
        "the first poll was late by an outage",
        "the clock went back behind the receipt",
        "the clock went back behind the last poll",
        "it was seen pending before it began",
    ],
)
def test_a_duration_that_would_blur_the_others_does_not_count(change: dict[str, float | None]) -> None:
    """A wrong duration is worse than none."""
    assert interval(KNOWN.model_copy(update=change), now=NOW) is None


def test_a_row_without_a_kind_is_of_its_models() -> None:
    """A job that was accepted without one is of a kind with all others of its model."""
    assert kind(KNOWN) == "google/veo3:8:720p"
    assert kind(KNOWN.model_copy(update={"kind": None})) == "google/veo3"


def test_an_adopted_generation_is_polled_as_from_the_intent() -> None:
    """Its receipt was found minutes later: it is probably done, and must not be waited for as if it began now."""
    assert KNOWN.model_copy(update={"intent_at": NOW - 400}).began_at == NOW - 400
    assert KNOWN.began_at == NOW - 100
    assert KNOWN.model_copy(update={"intent_at": None}).began_at == NOW - 100
