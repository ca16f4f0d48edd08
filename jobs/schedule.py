"""When to poll a generation next, and when it will be done, from how long others of its kind took. Pure.

A kind is a model, a duration and a resolution. A generation ended between the last poll that saw it pending and the
one that found it done: its duration is the middle of that interval.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple, Protocol, Self

from jobs.job import Job

KEPT: Final = 128
"""The newest durations of a kind that are kept: enough to know a shape, few enough to notice a change."""

PRIOR_JOBS: Final = 2.0
PRIOR: Final = [(1.1**step, math.cosh(step * math.log(1.1) / 0.5) ** -2) for step in range(-16, 17)]
"""A log-logistic distribution, of scale 0.25, around the typical duration: factors and weights. It counts as
`PRIOR_JOBS` jobs: it decides where nothing was observed, and is negligible elsewhere."""

TYPICAL_S: Final = 110.0
"""The assumed duration of a generation until the first ones of its kind have ended."""

SHORTEST_S: Final = 1.0
"""The shortest time between two polls of a generation; nobody notices a video that is found sooner."""

LONGEST_S: Final = 60.0
"""The longest time between two polls, once a quarter of such jobs are usually done."""

EARLY: Final = 0.08
"""The first poll comes when this share is done."""

MOST_AT_FIRST: Final = 0.1
"""If the first poll finds more than this share, it comes at half its time: the service may have become faster."""

CHANCE: Final = 0.04
"""A poll waits until this share of what is pending has ended, if that takes longer than twice the lateness."""

NINE_IN_TEN: Final = 0.91
"""Estimated from few jobs, the time by which 0.9 are done is not kept by quite as many."""

BOUND_OF_ELAPSED: Final = 0.5
"""Once a quarter is done, no wait is longer than this share of the time passed."""

SURE_OF_START: Final = 0.1
"""Most of a duration that may lie between the intent to buy and the receipt."""

WIDEST: Final = 3.0
"""Polls that are further apart than this factor of the time passed were not scheduled so: there was an outage."""


class Interval(NamedTuple):
    """When a generation was last seen pending (0: never), and found, in seconds since it began; and that time."""

    pending_s: float
    found_s: float
    found_at: float


class Age(NamedTuple):
    """When a generation began, at which age it was last seen pending, and how many jobs it stands for."""

    began_at: float
    pending_s: float
    jobs: float = 1.0


class Eta(NamedTuple):
    """Seconds until a poll finds the video: half of the jobs take at most `p50_s`, nine in ten at most `p90_s`."""

    p50_s: float
    p90_s: float


def kind(job: Job) -> str:
    """Return what a job's duration depends on."""
    return job.kind or job.model


def interval(job: Job, *, now: float) -> Interval | None:
    """Return the interval in which a job ended that is found now; None if it would blur what is known.

    A fresh URL is not counted again; nor is what began at an unknown time (adopted, spooled), or spans an outage.
    """
    if job.rendered_at is not None or job.submitted_at is None:
        return None
    found_s = now - job.submitted_at
    unsure_s = job.submitted_at - (job.intent_at or job.submitted_at)
    if found_s <= 0 or not 0 <= unsure_s <= SURE_OF_START * found_s:
        return None
    if job.pending_at is None:
        is_on_time = job.polls == 0 and now - (job.due_at or now) <= SURE_OF_START * found_s
        return Interval(0.0, found_s, now) if is_on_time else None
    pending_s = job.pending_at - job.submitted_at
    return Interval(pending_s, found_s, now) if 0 < pending_s < found_s <= WIDEST * pending_s else None


@dataclass(frozen=True, slots=True)
class Durations:
    """The distribution of the durations of one kind: at `ends_s[n]` seconds the share `done[n]` is done.

    `at_first` is the share that was found by its first poll.
    """

    ends_s: Sequence[float]
    done: Sequence[float]
    at_first: float

    @classmethod
    def of(cls, intervals: Sequence[Interval], ages: Iterable[Age], *, typical_s: float) -> Self:
        """Estimate from the newest intervals (newest first), the ages of pending jobs and a typical duration.

        A job counts for the ages that it had while the intervals were collected, so that neither the quick jobs of a
        burst pass for all nor the slow ones.
        """
        since = intervals[-1].found_at if len(intervals) >= KEPT else -math.inf
        whole = sum(weight for _, weight in PRIOR)
        spans = chain(
            ((0.0, typical_s * factor, PRIOR_JOBS * weight / whole, True) for factor, weight in PRIOR),
            ((since - at + found_s, (pending_s + found_s) / 2, 1.0, True) for pending_s, found_s, at in intervals),
            ((since - began_at, pending_s, jobs, False) for began_at, pending_s, jobs in ages),
        )
        ends_s, done = _kaplan_meier(spans)
        return cls(ends_s, done, sum(not one.pending_s for one in intervals) / max(len(intervals), 1))

    def done_by(self, elapsed_s: float) -> float:
        """Return the share that is done after `elapsed_s` seconds."""
        return _interpolated(elapsed_s, self.ends_s, self.done)

    def quantile_s(self, share: float) -> float:
        """Return the time by which this share is done, or the last end that is known."""
        return _interpolated(share, self.done, self.ends_s)

    def _end_s(self, share: float) -> float:
        """Return the end of the job by which this share is done."""
        return self.ends_s[min(bisect_left(self.done, share), len(self.ends_s) - 1)]

    def eta(self, elapsed_s: float, *, pending_at_s: float, lateness_s: float, next_poll_s: float = 0.0) -> Eta:
        """Return what remains for a job last seen pending at `pending_at_s`, found `lateness_s` late on average.

        A job older than all others may take as long again. Nobody learns of an end before the next poll.
        """
        gone, all_ = self.done_by(pending_at_s), self.done[-1]
        half, most = (
            (self._end_s(gone + share * (all_ - gone)) if all_ > gone else (1 + share) * pending_at_s)
            for share in (0.5, NINE_IN_TEN)
        )
        return Eta(*(max(at_s + lateness_s - elapsed_s, next_poll_s) for at_s in (half, most)))


def _interpolated(at: float, points: Sequence[float], values: Sequence[float]) -> float:
    """Return the value at a point; beyond the first or last one, that one's."""
    place = bisect_right(points, at)
    if place in (0, len(points)):
        return values[min(place, len(points) - 1)]
    before, low = points[place - 1], values[place - 1]
    return low + (values[place] - low) * (at - before) / (points[place] - before)


def _kaplan_meier(spans: Iterable[tuple[float, float, float, bool]]) -> tuple[list[float], list[float]]:
    """Return the ages at which jobs end, and the share that is done by then.

    The estimator of Kaplan and Meier (1958) with delayed entry: of the jobs observed at an age, the share that ends.
    A span is (age from which it is observed, age to which, jobs, whether it ended then).
    """
    changes = []
    for begin_s, end_s, jobs, has_ended in spans:
        changes += [(max(begin_s, 0.0), 0, jobs), (max(end_s, begin_s, 0.0), 1 if has_ended else 2, -jobs)]
    ends_s, done, at_risk = [0.0], [0.0], 0.0
    for age_s, order, jobs in sorted(changes):
        if order == 1:
            ends_s.append(age_s)
            done.append(done[-1] + (1.0 - done[-1]) * -jobs / max(at_risk, -jobs))
        at_risk += jobs
    return ends_s, done


class Schedule(Protocol):
    """Says when to poll."""

    def wait_s(self, elapsed_s: float) -> float:
        """Return the seconds to the next poll of a generation that began `elapsed_s` ago and is not done."""


@dataclass(frozen=True, slots=True)
class FixedSchedule:
    """Polls first after `first_s`, then every `interval_s` seconds, as the upstream's own example does."""

    first_s: float
    interval_s: float

    def wait_s(self, elapsed_s: float) -> float:
        """Return the seconds to the next poll."""
        return max(self.first_s - max(elapsed_s, 0.0), self.interval_s)


class LearnedSchedule:
    """Polls when jobs of the same kind usually end, so that a video is found `lateness_s` late on average."""

    __slots__ = ("_bounds_s", "_durations", "_first_s", "_quiet_s", "_step_s")

    def __init__(self, durations: Durations, *, lateness_s: float, shortest_s: float, longest_s: float) -> None:
        self._durations = durations
        self._step_s = 2 * lateness_s
        self._bounds_s = shortest_s, longest_s
        self._quiet_s = durations.quantile_s(0.25)
        self._first_s = durations.quantile_s(EARLY) / (2 if durations.at_first > MOST_AT_FIRST else 1)

    def wait_s(self, elapsed_s: float) -> float:
        """Return the seconds to the next poll, within the bounds whatever the clocks say."""
        elapsed_s = max(elapsed_s, 0.0) if math.isfinite(elapsed_s) else 0.0
        shortest_s, longest_s = self._bounds_s
        wished_s = self._first_s - elapsed_s if elapsed_s < self._first_s else self._next_s(elapsed_s)
        bound_s = max(min(BOUND_OF_ELAPSED * elapsed_s, longest_s), self._quiet_s - elapsed_s)
        return max(min(wished_s, bound_s), shortest_s)

    def _next_s(self, elapsed_s: float) -> float:
        """Return twice the lateness, more where hardly any job ends; beyond the last known end ever more."""
        known, gone = self._durations, self._durations.done_by(elapsed_s)
        share = gone + CHANCE * (1.0 - gone)
        is_known = elapsed_s < known.ends_s[-1] and share <= known.done[-1]
        wait_s = known.quantile_s(share) - elapsed_s if is_known else (elapsed_s - known.ends_s[-1]) / 2
        return max(self._step_s, wait_s)


@dataclass(frozen=True, slots=True)
class InSlots:
    """Another schedule, where a poll comes at the end of the slot of time that it is due in.

    Each wait is half a slot shorter, but not below `shortest_s`, so that polls come when they should on average.
    """

    schedule: Schedule
    slot_s: float
    shortest_s: float

    def wait_s(self, elapsed_s: float) -> float:
        """Return the seconds to the next poll."""
        wait_s = self.schedule.wait_s(elapsed_s)
        return max(wait_s - self.slot_s / 2, min(wait_s, self.shortest_s))
