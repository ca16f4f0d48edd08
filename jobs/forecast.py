"""How long a generation will take: a distribution learnt from finished and pending ones, mixed with a prior. Pure.

The unit of learning is an interval: a generation was pending at one poll and done at the next, so it finished in
between. A sketch keeps the finishing times as masses of log-spaced buckets, six per cent wide each, so that a second
at one second and a minute at one hour are told apart alike. Sketches add up bucket by bucket and forget by a factor.

Pending jobs count as well: of jobs that were ordered together the quick ones end first, so that by the finished jobs
alone all would seem quick. What share finishes in a bucket is counted among all that are known to have come
so far (the estimator of Kaplan and Meier, 1958, by bucket).
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import NormalDist
from typing import Final, TypeAlias

BUCKETS_PER_OCTAVE: Final = 12
FIRST_EDGE_S: Final = 1 / 16
BUCKETS: Final = 20 * BUCKETS_PER_OCTAVE
EDGES_S: Final = tuple(FIRST_EDGE_S * math.exp2(number / BUCKETS_PER_OCTAVE) for number in range(BUCKETS + 1))
"""The bucket `n` holds what took from `EDGES_S[n]` to `EDGES_S[n + 1]` seconds; from a sixteenth to eighteen hours."""

MEMORY_JOBS: Final = 65.0
"""About how many finished jobs a sketch remembers, if few are in flight."""

MEMORY_OF_FLIGHT: Final = 3.0
"""A sketch remembers this multiple of the jobs in flight, if that is more.

Jobs that were ordered together end in the order of how long they took: a sketch that remembered fewer of them would
take the last and slowest for all, and the next ones would be polled too late.
"""

PACE_JOBS: Final = 5.0
"""How quickly jobs follow one another is averaged over this many of them."""

PRIOR_JOBS: Final = 4.0
"""This many jobs of our own weigh as much as the prior; with more its share fades by their square."""

TAIL_SHARE: Final = 0.006
"""How much is set aside for times that nothing has told of yet, so that none is ever ruled out."""

TAIL_OCTAVES: Final = 3
"""How far to either side of the median that reaches."""

EVEN_SHARE: Final = 0.15
"""How much of an observed interval is spread evenly over it, and not as the forecast would have it.

Without it, a forecast would believe itself for ever: all that is found by the first poll would count as finished just
before it, and a service that became twice as fast would never be noticed.
"""

SMOOTHING: Final = (0.25, 0.5, 0.25)
"""How far one observation speaks for the buckets beside it."""

STUCK: Final = 3.0
"""A job that takes this multiple of the median time is stuck, and tells nothing of the others."""

TYPICAL_SPREAD: Final = 0.45
"""The standard deviation of the logarithm, where only a typical time is known."""


Pending: TypeAlias = Mapping[int, int]
"""How many unfinished jobs of a kind were last seen pending in each bucket."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """The decayed finishing times of one kind of job: mass by bucket, and how many jobs it has `seen` in all.

    The last came at `at`; they follow one another by `gap_s` on average.
    """

    mass: Mapping[int, float] = field(default_factory=dict)
    seen: int = 0
    at: float | None = None
    gap_s: float = 0.0

    def with_lesson(self, shares: Mapping[int, float], *, took_s: float = 0.0, at: float = 0.0) -> "Sketch":
        """The sketch after one more job, done at `at` after `took_s`; its time lies in these buckets by these shares.

        `jobs/lua/prelude.lua` does the same in the ledger.
        """
        gap_s = took_s
        if self.at is not None:
            gap_s = self.gap_s + (min(max(at - self.at, 0.0), took_s) - self.gap_s) / PACE_JOBS
        in_flight = took_s / gap_s if gap_s > 0 else 0.0
        keep = 1 - 1 / max(MEMORY_JOBS, MEMORY_OF_FLIGHT * in_flight)
        mass = {bucket: held * keep for bucket, held in self.mass.items()}
        for bucket, share in shares.items():
            mass[bucket] = mass.get(bucket, 0.0) + share
        return Sketch(mass, self.seen + 1, at, gap_s)


@dataclass(frozen=True, slots=True)
class Latency:
    """The upstream's own word on how long a model takes: quantiles in seconds."""

    p50_s: float
    p75_s: float
    p90_s: float
    p99_s: float

    @classmethod
    def typical(cls, typical_s: float) -> "Latency":
        """The latency where nothing but a typical time is known: lognormal around it."""
        return cls(*(typical_s * math.exp(TYPICAL_SPREAD * NormalDist().inv_cdf(q)) for q in (0.5, 0.75, 0.9, 0.99)))


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until the video is there: half of the jobs take at most `p50_s`, nine in ten at most `p90_s`."""

    p50_s: float
    p90_s: float


class Forecast:
    """The distribution of the finishing time of one kind of job, in seconds from its submission."""

    __slots__ = ("_cumulated", "seen")

    def __init__(self, sketch: Sketch, prior: Latency, pending: Pending | None = None) -> None:
        """Mix what was seen with the prior, and both with a heavy tail."""
        self.seen = sketch.seen
        self._cumulated = tuple(accumulate(_mixed(sketch, prior, pending or {}), initial=0.0))

    def done_by(self, elapsed_s: float) -> float:
        """The share of jobs that are done `elapsed_s` seconds after their submission."""
        place = BUCKETS_PER_OCTAVE * math.log2(max(elapsed_s, FIRST_EDGE_S) / FIRST_EDGE_S)
        bucket = min(int(place), BUCKETS - 1)
        below, above = self._cumulated[bucket : bucket + 2]
        return below + (above - below) * min(place - bucket, 1.0)

    def quantile_s(self, share: float) -> float:
        """The time by which this share of jobs is done."""
        bucket = min(max(bisect_right(self._cumulated, share) - 1, 0), BUCKETS - 1)
        below, above = self._cumulated[bucket : bucket + 2]
        within = min(max((share - below) / (above - below), 0.0), 1.0) if above > below else 0.0
        return FIRST_EDGE_S * math.exp2((bucket + within) / BUCKETS_PER_OCTAVE)

    def eta(self, elapsed_s: float, *, pending_at_s: float, next_poll_s: float = 0.0) -> Eta:
        """What remains for a job that was last known to be pending at `pending_at_s` after its submission.

        Nobody learns of its end before the next poll, `next_poll_s` from now.
        """
        gone = self.done_by(pending_at_s)
        half, most = (self.quantile_s(gone + share * (1.0 - gone)) - elapsed_s for share in (0.5, 0.9))
        return Eta(max(half, next_poll_s), max(most, next_poll_s))

    def lesson(self, pending_at_s: float, done_at_s: float) -> dict[int, float]:
        """The buckets in which a job finished that was pending at one time and done at another, by share (sum: 1)."""
        begin_s = min(max(pending_at_s, done_at_s / 4, FIRST_EDGE_S), EDGES_S[-2])
        end_s = min(max(done_at_s, begin_s * 1.0001), EDGES_S[-1])
        first, last = bisect_right(EDGES_S, begin_s) - 1, bisect_right(EDGES_S, end_s) - 1
        even = {
            bucket: min(end_s, EDGES_S[bucket + 1]) - max(begin_s, EDGES_S[bucket])
            for bucket in range(first, min(last, BUCKETS - 1) + 1)
        }
        expected = {
            bucket: self.done_by(min(end_s, EDGES_S[bucket + 1])) - self.done_by(max(begin_s, EDGES_S[bucket]))
            for bucket in even
        }
        return _blended(even, expected)


def _blended(even: Mapping[int, float], expected: Mapping[int, float]) -> dict[int, float]:
    """Part evenly, part as expected; all evenly where nothing was expected."""
    width, belief = sum(even.values()), sum(expected.values())
    trust = (1 - EVEN_SHARE) if belief > 0 else 0.0
    return {
        bucket: (1 - trust) * even[bucket] / width + (trust * expected[bucket] / belief if trust else 0.0)
        for bucket in even
    }


def _mixed(sketch: Sketch, prior: Latency, pending: Pending) -> Sequence[float]:
    """Mass by bucket, summing to one: our own jobs, the prior for as long as they are few, and the tail."""
    jobs = sum(sketch.mass.values())
    prior_jobs = PRIOR_JOBS**2 / (PRIOR_JOBS + jobs)
    own, expected = _smoothed(sketch.mass), _expected(prior)
    finished = [held + prior_jobs * share for held, share in zip(own, expected, strict=True)]
    known = _among(_smoothed(_come_so_far(pending, _stuck_from(finished, prior))), finished)
    tail = _tail(known)
    return [(1 - TAIL_SHARE) * share + rest for share, rest in zip(known, tail, strict=True)]


def _stuck_from(finished: Sequence[float], prior: Latency) -> int:
    """The first bucket of those that are stuck."""
    half = bisect_right(list(accumulate(finished)), sum(finished) / 2)
    return bucket_of(STUCK * max(EDGES_S[half], prior.p50_s))


def _come_so_far(pending: Pending, stuck_from: int) -> Mapping[int, int]:
    """For each bucket how many were last seen pending in it or in a later one, never fewer than none.

    Counts may have drifted below nothing: a worker of another version may have counted out what it never counted in.
    """
    counts = [pending.get(bucket, 0) for bucket in range(stuck_from)]
    come = reversed(list(accumulate(reversed(counts))))
    return {bucket: max(count, 0) for bucket, count in enumerate(come)}


def _among(pending: Sequence[float], finished: Sequence[float]) -> Sequence[float]:
    """Mass by bucket, summing to one, from the share of jobs that end in a bucket, of all that came to it."""
    come = reversed(list(accumulate(reversed(finished))))
    left, ended = 1.0, []
    for waiting, ending, finishing in zip(pending, finished, come, strict=True):
        ended.append(left * ending / (finishing + waiting) if ending else 0.0)
        left -= ended[-1]
    whole = sum(ended)
    return [share / whole for share in ended]


def bucket_of(seconds: float) -> int:
    """The bucket that holds this time; the first or the last one if none does."""
    return min(max(bisect_right(EDGES_S, seconds) - 1, 0), BUCKETS - 1)


def _smoothed(mass: Mapping[int, float]) -> Sequence[float]:
    spread = [0.0] * BUCKETS
    for bucket, held in mass.items():
        for offset, share in enumerate(SMOOTHING, start=-1):
            spread[min(max(bucket + offset, 0), BUCKETS - 1)] += held * share
    return spread


def _expected(prior: Latency) -> Sequence[float]:
    """The prior by bucket: even in the logarithm between its quantiles, its lower half a mirror of the upper."""
    middle, three_quarters, nine_tenths, most = (
        math.log(max(quantile, FIRST_EDGE_S)) for quantile in (prior.p50_s, prior.p75_s, prior.p90_s, prior.p99_s)
    )
    steps = [(three_quarters, 0.25), (nine_tenths, 0.15), (most, 0.09), (2 * most - nine_tenths, 0.01)]
    spread, inner = [0.0] * BUCKETS, middle
    for outer, share in steps:
        _pour(spread, inner, max(outer, inner), share)
        _pour(spread, 2 * middle - max(outer, inner), 2 * middle - inner, share)
        inner = max(outer, inner)
    return spread


def _pour(spread: list[float], low: float, high: float, share: float) -> None:
    """Spread a share evenly over a stretch of the logarithm of time."""
    step = math.log(2) / BUCKETS_PER_OCTAVE
    begin, end = ((edge - math.log(FIRST_EDGE_S)) / step for edge in (low, max(high, low + step / 100)))
    for bucket in range(math.floor(begin), math.floor(end) + 1):
        overlap = min(end, bucket + 1) - max(begin, bucket)
        spread[min(max(bucket, 0), BUCKETS - 1)] += share * overlap / (end - begin)


def _tail(known: Sequence[float]) -> Sequence[float]:
    middle = bisect_right(list(accumulate(known)), 0.5)
    reach = TAIL_OCTAVES * BUCKETS_PER_OCTAVE
    spread = [0.0] * BUCKETS
    for bucket in range(middle - reach, middle + reach):
        spread[min(max(bucket, 0), BUCKETS - 1)] += TAIL_SHARE / (2 * reach)
    return spread
