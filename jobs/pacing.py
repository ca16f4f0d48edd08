"""When to poll a generation next. Pure: from a forecast, a dial and bounds to seconds.

Each poll costs something, each second that a finished video waits for its poll does too. The dial names the mean
lateness that is wanted; the schedule with the fewest polls that holds it is found by a dynamic programme over the
forecast (the optimal inspection schedules of Barlow and Proschan, on a grid): silence until success is likely at all,
then polls as dense as the chance of finishing asks for.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

COARSEST: Final = 0.015
"""Polls are planned on a grid whose points are at most this share of the time itself apart."""

MOST_POINTS: Final = 600
"""How fine the grid may become for the sake of a small lateness."""

FIRST_SHARE: Final = 0.001
"""The grid begins where this share of jobs is done."""

LAST_SHARE: Final = 0.9995
"""The grid ends where this share of jobs is done; beyond it the bounds alone space the polls."""

SILENT_SHARE: Final = 0.25
"""There is no silence beyond the time by which this share of jobs is expected to be done."""

BOUND_OF_ELAPSED: Final = 0.5
"""No wait is longer than this share of the time that has passed."""

CLOSE_ENOUGH: Final = 0.03
MOST_TRIALS: Final = 12
PRICE_RANGE: Final = 10.0
"""How far the price of a poll may go from its estimate: a lateness that cannot be had is not paid for at any price."""


class Distribution(Protocol):
    """Of finishing times, in seconds from the submission: a forecast, or one that is known."""

    def done_by(self, elapsed_s: float) -> float:
        """The share that is done `elapsed_s` seconds after the submission."""

    def quantile_s(self, share: float) -> float:
        """The time by which this share is done."""


class Pacing(Protocol):
    """Says when to poll."""

    @property
    def interval_s(self) -> float:
        """Seconds to the next poll after one that learnt nothing."""

    def first(self) -> float:
        """Seconds from the receipt to the first poll."""

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll of a generation that was submitted `waited_s` ago and is not done."""


@dataclass(frozen=True, slots=True)
class FixedPacing:
    """Polls first after `first_s`, then every `interval_s` seconds, as the upstream's own example does."""

    first_s: float
    interval_s: float

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll of a generation that was submitted `waited_s` ago."""
        return max(self.first_s - max(waited_s, 0.0), self.interval_s)

    def first(self) -> float:
        """Seconds from the receipt to the first poll."""
        return self.first_s


@dataclass(frozen=True, slots=True)
class InSlots:
    """Another pacing, where a poll comes at the end of the slot of time that it is due in.

    Each wait is half a slot shorter, but not shorter than `shortest_s` for that reason: polls come when they should on
    average. Without this each would be late, and a crowd that is polled together, with an interval of whole slots,
    would be late by a whole slot each time.
    """

    pacing: Pacing
    slot_s: float
    shortest_s: float

    @property
    def interval_s(self) -> float:
        """Seconds to the next poll after one that learnt nothing."""
        return self.pacing.interval_s

    def first(self) -> float:
        """Seconds from the receipt to the first poll."""
        return self._sooner(self.pacing.first())

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll of a generation that was submitted `waited_s` ago and is not done."""
        return self._sooner(self.pacing.wait(waited_s))

    def _sooner(self, seconds: float) -> float:
        return max(seconds - self.slot_s / 2, min(seconds, self.shortest_s))


@dataclass(frozen=True, slots=True)
class Dial:
    """What a deployment chose: how late a video is found on average, and no wait shorter or longer than these."""

    lateness_s: float
    shortest_s: float
    longest_s: float
    interval_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LearnedPacing:
    """Polls where the forecast says that they find most; made by `plan`, asked in microseconds.

    From the time `points[n]` the next poll is at `nexts[n]`. Before `silent_until_s` no wait is too long.
    """

    points: tuple[float, ...]
    nexts: tuple[float, ...]
    silent_until_s: float
    dial: Dial

    @property
    def interval_s(self) -> float:
        """Seconds to the next poll after one that learnt nothing."""
        return self.dial.interval_s

    def first(self) -> float:
        """Seconds from the receipt to the first poll."""
        return self.wait(0.0)

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll; never shorter than the floor nor longer than the bound, whatever the clocks say."""
        elapsed = max(waited_s, 0.0) if math.isfinite(waited_s) else 0.0
        place = bisect_left(self.points, elapsed)
        wanted = self.nexts[place] - elapsed if place < len(self.points) else math.inf
        return max(min(wanted, longest_wait_s(elapsed, self.silent_until_s, self.dial)), self.dial.shortest_s)


def longest_wait_s(elapsed_s: float, silent_until_s: float, dial: Dial) -> float:
    """The bound of a wait: a share of the time that has passed and a ceiling, or the rest of the silence."""
    return max(min(BOUND_OF_ELAPSED * elapsed_s, dial.longest_s), silent_until_s - elapsed_s)


def plan(forecast: Distribution, dial: Dial) -> LearnedPacing:
    """The schedule with the fewest polls whose mean lateness is the dial's, as far as the bounds allow it."""
    grid = _Grid(forecast, dial)
    # Polls a gap g apart under the hazard h cost least if one is worth g²h/2; the mean lateness is g/2.
    estimate = 2 * dial.lateness_s**2 / (forecast.quantile_s(0.75) - forecast.quantile_s(0.25))
    price, nexts, miss = estimate, grid.cheapest(estimate), math.inf
    trial = nexts
    # No price may bring just this lateness, so that the trials go to and fro: the best counts.
    for _ in range(MOST_TRIALS):
        ratio = dial.lateness_s / max(grid.lateness_s(trial), 1e-9)
        if abs(math.log(ratio)) < miss:
            nexts, miss = trial, abs(math.log(ratio))
        better = min(max(price * ratio * ratio, estimate / PRICE_RANGE), estimate * PRICE_RANGE)
        if miss < CLOSE_ENOUGH or better == price:
            break
        price, trial = better, grid.cheapest(better)
    points = tuple(grid.points)
    return LearnedPacing(points, tuple(points[place] for place in nexts), grid.silent_until_s, dial)


class _Grid:
    """The times at which a poll can be, the chance that it finds a video, and how late that is."""

    def __init__(self, forecast: Distribution, dial: Dial) -> None:
        self.silent_until_s = forecast.quantile_s(SILENT_SHARE)
        begin, end = forecast.quantile_s(FIRST_SHARE), forecast.quantile_s(LAST_SHARE)
        self.points = _points(begin, end, max(dial.lateness_s / 2, (end - begin) / MOST_POINTS))
        self.done = [0.0, *(forecast.done_by(point) for point in self.points[1:-1]), 1.0]
        self._moment = self._moments()
        self._reach = [self._latest(place, dial) for place in range(len(self.points))]
        self._floor = dial.shortest_s

    def cheapest(self, price_s: float) -> Sequence[int]:
        """The next poll from each point, if a poll is worth `price_s` seconds of lateness; the last one's is itself.

        What is left to pay from a point is a minimum over the next poll of lines in the share that is done, so a
        convex hull gives all minima in one pass from the end.
        """
        last = len(self.points) - 1
        nexts = [last] * (last + 1)
        hull: deque[tuple[float, float, int]] = deque()
        rest = 0.0
        for place in range(last - 1, -1, -1):
            following = place + 1
            point, done = self.points[following], self.done[following]
            _add(hull, (-point, point * done - self._moment[following] + rest, following))
            share = self.done[place]
            while len(hull) > 1 and _at(hull[1], share) <= _at(hull[0], share):
                hull.popleft()
            nexts[place] = self._bounded(place, hull[0][2])
            rest = price_s * (1.0 - share) + self._moment[place] + _at(hull[0], share)
        return nexts

    def lateness_s(self, nexts: Sequence[int]) -> float:
        """The mean lateness of the schedule."""
        polls = [0]
        while polls[-1] < len(self.points) - 1:
            polls.append(nexts[polls[-1]])
        return sum(
            self.points[end] * (self.done[end] - self.done[begin]) - (self._moment[end] - self._moment[begin])
            for begin, end in pairwise(polls)
        )

    def _moments(self) -> list[float]:
        """The sum of finishing times up to each point."""
        moments = [0.0]
        for place in range(len(self.points) - 1):
            middle = (self.points[place] + self.points[place + 1]) / 2
            moments.append(moments[-1] + middle * (self.done[place + 1] - self.done[place]))
        return moments

    def _latest(self, place: int, dial: Dial) -> int:
        """The last point that the bound of a wait allows after a poll at `place`."""
        elapsed = self.points[place] if place else 0.0
        until = elapsed + longest_wait_s(elapsed, self.silent_until_s, dial)
        return max(bisect_left(self.points, until) - 1, place + 1)

    def _bounded(self, place: int, wanted: int) -> int:
        soonest = bisect_left(self.points, self.points[place] + self._floor)
        return min(max(min(wanted, self._reach[place]), soonest), len(self.points) - 1)


def _points(begin: float, end: float, step: float) -> list[float]:
    points = [begin]
    while points[-1] < end:
        points.append(points[-1] + min(points[-1] * COARSEST, step))
    return points


def _at(line: tuple[float, float, int], share: float) -> float:
    return line[0] * share + line[1]


def _add(hull: deque[tuple[float, float, int]], line: tuple[float, float, int]) -> None:
    """Add a line that is steeper upwards than all before it; drop those that are nowhere the lowest any more."""
    while len(hull) > 1 and _meet(hull[-2], line) >= _meet(hull[-2], hull[-1]):
        hull.pop()
    hull.append(line)


def _meet(one: tuple[float, float, int], other: tuple[float, float, int]) -> float:
    """The share at which two lines cross."""
    return (other[1] - one[1]) / (one[0] - other[0])
