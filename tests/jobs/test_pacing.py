"""When to poll: silent at first, dense where videos come, and bounded whatever happens."""

import math
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.forecast import Forecast, Latency, Sketch
from jobs.pacing import BOUND_OF_ELAPSED, Dial, FixedPacing, InSlots, LearnedPacing, plan

DIAL: Final = Dial(lateness_s=4.0, shortest_s=1, longest_s=60)
CERTAIN_S: Final = 120


def narrow() -> Forecast:
    """A forecast by which every job takes about two minutes."""
    sketch = Sketch()
    for _ in range(100):
        sketch = sketch.with_lesson(Forecast(sketch, Latency.typical(CERTAIN_S)).lesson(115, 125))
    return Forecast(sketch, Latency.typical(CERTAIN_S))


def polls(pacing: LearnedPacing, *, until_s: float = 1000) -> list[float]:
    """The times of the polls of a generation that never finishes."""
    times = [pacing.first()]
    while times[-1] < until_s:
        times.append(times[-1] + pacing.wait(times[-1]))
    return times


def test_it_is_silent_until_success_is_likely_and_dense_where_it_is() -> None:
    """A poll that cannot find anything is wasted."""
    times = polls(plan(narrow(), DIAL))

    assert times[0] > 60
    near = [gap for now, gap in zip(times, (b - a for a, b in pairwise(times)), strict=False) if 108 <= now <= 122]
    assert max(near) < 15
    assert sum(time < CERTAIN_S for time in times) <= 5


def test_the_dial_trades_polls_for_lateness() -> None:
    """Half the lateness takes more polls, never fewer."""
    forecast = Forecast(Sketch(), Latency.typical(CERTAIN_S))
    counts = [len(polls(plan(forecast, Dial(late, 1, 60)), until_s=240)) for late in (1.5, 3, 6, 12)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[2]


@pytest.mark.parametrize(
    ("typical_s", "lateness_s"), [(CERTAIN_S, 2), (CERTAIN_S, 4), (CERTAIN_S, 8), (90, 6), (150, 5)]
)
def test_the_planned_lateness_is_the_dials(typical_s: float, lateness_s: float) -> None:
    """The dial is a promise in seconds, not a knob without a unit; also where the search for it goes to and fro."""
    forecast = Forecast(Sketch(), Latency.typical(typical_s))
    times = [0.0, *polls(plan(forecast, Dial(lateness_s, 0.5, 60)), until_s=2000)]
    late_s = 0.0
    for begin, end in pairwise(times):
        steps = [begin + (end - begin) * n / 20 for n in range(21)]
        late_s += sum((end - (a + b) / 2) * (forecast.done_by(b) - forecast.done_by(a)) for a, b in pairwise(steps))
    assert late_s == pytest.approx(lateness_s, rel=0.06)


@pytest.mark.parametrize("apart_s", [1.5, 4.0, 10.0])
def test_a_crowd_that_is_polled_at_the_end_of_a_slot_keeps_its_interval(apart_s: float) -> None:
    """A poll takes a moment, so the next falls due just behind a slot's end: it must not wait for another's."""
    pacing, moment_s, now = InSlots(FixedPacing(apart_s, apart_s), slot_s=0.25, shortest_s=1.0), 0.004, 0.0
    for number in range(1, 100):
        now = math.ceil((now + moment_s + pacing.wait(now)) / 0.25) * 0.25
        assert now == number * apart_s


def test_no_poll_comes_sooner_for_the_slots_sake_than_the_shortest_wait() -> None:
    """The floor is a promise to the upstream; what was chosen shorter than it stays as it was chosen."""
    assert InSlots(FixedPacing(1.1, 1.05), slot_s=0.25, shortest_s=1.0).first() == 1.0
    assert InSlots(FixedPacing(0.5, 0.5), slot_s=5.0, shortest_s=1.0).wait(3.0) == 0.5


@given(
    waited_s=st.floats(allow_nan=True, allow_infinity=True),
    lateness_s=st.floats(min_value=0.1, max_value=30),
    typical_s=st.floats(min_value=0.5, max_value=3000),
)
def test_a_wait_is_bounded_whatever_the_clocks_say(waited_s: float, lateness_s: float, typical_s: float) -> None:
    """Clocks that jump must neither crash nor blind us: a wait has a floor, and a ceiling beside the time passed."""
    dial = Dial(lateness_s, 0.1, 60)
    pacing = plan(Forecast(Sketch(), Latency.typical(typical_s)), dial)
    wait_s = pacing.wait(waited_s)

    elapsed_s = waited_s if math.isfinite(waited_s) and waited_s > 0 else 0.0
    silence_s = max(pacing.silent_until_s - elapsed_s, 0)
    assert dial.shortest_s <= wait_s <= max(dial.shortest_s, dial.longest_s, silence_s)
    assert wait_s <= max(dial.shortest_s, BOUND_OF_ELAPSED * elapsed_s, silence_s) + 1e-9


def test_a_stuck_generation_is_polled_ever_less_often_up_to_the_ceiling() -> None:
    """Far beyond all that was seen, polls cost more than they find."""
    gaps = [b - a for a, b in pairwise(polls(plan(narrow(), DIAL), until_s=4000)) if a > 600]

    assert gaps[-1] == DIAL.longest_s
    assert len(gaps) < 80


def test_a_wait_that_began_between_two_planned_polls_ends_at_a_planned_one() -> None:
    """A poll that came a little late does not shift those after it."""
    pacing = plan(narrow(), DIAL)
    planned = polls(pacing)

    late = planned[1] + 0.2
    assert late + pacing.wait(late) == pytest.approx(planned[2], rel=0.06)


def test_a_plan_can_be_made_for_what_takes_a_second_or_an_hour() -> None:
    """Other models take other times; the grid grows with them, not without end."""
    for typical_s in (0.05, 1.0, 3600.0, 40_000.0):
        pacing = plan(Forecast(Sketch(), Latency.typical(typical_s)), DIAL)
        assert len(pacing.points) < 2000
        assert pacing.first() >= DIAL.shortest_s


def test_a_fixed_pacing_polls_at_even_intervals() -> None:
    """The upstream's own example does the same."""
    fixed = FixedPacing(first_s=30, interval_s=10)

    assert (fixed.first(), fixed.wait(5), fixed.wait(30), fixed.wait(500)) == (30, 25, 10, 10)


def test_a_generation_that_seems_to_begin_in_an_hour_is_polled_as_one_that_has_just_begun() -> None:
    """Redis's clock was set back: with fixed pacing too the wait is no hour."""
    assert FixedPacing(first_s=30, interval_s=10).wait(-3600) == 30
