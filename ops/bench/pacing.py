"""Polls against lateness, by simulation: `python -m ops.bench.pacing`.

Each run plays jobs through a pacing as the clock goes, twenty in flight or hundreds at once: how often is a generation
polled, and how long does a finished one wait for its poll? The learned pacing starts cold, from a prior that is a
little off (110 s), learns only from what its own polls saw, and plans anew as often as a worker does.
`known` is the best that any schedule could do: planned from the true distribution, which nobody has.
"""

import argparse
import json
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from heapq import heapify, heappop, heappush
from itertools import groupby, repeat
from pathlib import Path
from typing import Final, Protocol

from jobs.forecast import Forecast, Latency, Sketch, bucket_of
from jobs.pacing import Dial, FixedPacing, plan

JOBS: Final = 1000
SEED: Final = 1
TYPICAL_S: Final = 110.0
DEADLINE_S: Final = 1000.0
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 60.0
DIALS_S: Final = (2.5, 4.0, 5.0, 10.0)
FIXED_S: Final = (1.0, 5.0, 10.0, 15.0, 30.0)
EVERY_S: Final = 6.0
"""Seconds, about, from one order to the next, if jobs take two minutes and twenty are in flight."""
PLAN_EVERY_S: Final = 10.0
NEVER: Final = math.inf
SAMPLES: Final = 20_000

Draw = Callable[[random.Random, float], float]
"""Draws a latency in seconds, given how far the run has come (0 to 1)."""


def lognormal(median_s: float, sigma: float) -> Draw:
    """The usual shape of a service's latency."""
    return lambda dice, _progress: median_s * math.exp(sigma * dice.gauss(0, 1))


def two_humps(dice: random.Random, _progress: float) -> float:
    """Two kinds of machines behind one name."""
    return max(dice.gauss(60, 5) if dice.random() < 0.5 else dice.gauss(200, 15), 5.0)  # noqa: PLR2004 (a coin)


def changing(draw: Draw, factor: float) -> Draw:
    """All takes `factor` times as long from half of the run on."""
    return lambda dice, progress: draw(dice, progress) * (factor if progress >= 0.5 else 1.0)  # noqa: PLR2004 (half)


def sticking(draw: Draw, share: float) -> Draw:
    """Some never finish."""
    return lambda dice, progress: NEVER if dice.random() < share else draw(dice, progress)


SHAPES: Final[Mapping[str, Draw]] = {
    "lognormal 120 s, sigma 0.2": lognormal(120, 0.2),
    "lognormal 120 s, sigma 0.25": lognormal(120, 0.25),
    "lognormal 120 s, sigma 0.35": lognormal(120, 0.35),
    "normal 120 ± 6 s": lambda dice, _progress: max(dice.gauss(120, 6), 5.0),
    "uniform 40 to 240 s": lambda dice, _progress: dice.uniform(40, 240),
    "Pareto from 60 s, alpha 1.8": lambda dice, _progress: 60 * dice.paretovariate(1.8),
    "two humps, 60 and 200 s": two_humps,
    "twice as slow from half-time": changing(lognormal(120, 0.3), 2.0),
    "twice as fast from half-time": changing(lognormal(120, 0.3), 0.5),
    "one in twenty never ends": sticking(lognormal(120, 0.3), 0.05),
    "lognormal 120 s, sigma 0.3, 400 at once": lognormal(120, 0.3),
    "lognormal 120 s, sigma 0.3, ten a second": lognormal(120, 0.3),
}
ORDERED: Final[Mapping[str, Callable[[int], float]]] = {
    "lognormal 120 s, sigma 0.3, 400 at once": lambda number: number // 400 * DEADLINE_S,
    "lognormal 120 s, sigma 0.3, ten a second": lambda number: number / 10,
}
"""When each job is ordered, where it is not one every six seconds."""
STEADY: Final = frozenset(name for name in SHAPES if not name.endswith(("half-time", "never ends")))
"""The shapes of which a best schedule can be planned beforehand."""


class Waiting(Protocol):
    """As far as a pacing is needed here."""

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll."""


@dataclass(frozen=True, slots=True)
class Doubling:
    """Exponential backoff with Celery's defaults: 1, 2, 4 s and so on, at most 600."""

    def wait(self, waited_s: float) -> float:
        """As long again as has passed."""
        return min(waited_s + 1, 600.0)


class Schedule(Protocol):
    """Chooses a pacing for each poll, and is told what the polls saw."""

    def at(self, now: float, /) -> Waiting:
        """The pacing at this time of the clock."""

    def pending(self, before_s: float, pending_s: float) -> None:
        """A job that was pending at one poll still is at the next."""

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """A job was pending at one poll, done at the next, which is now."""

    def ended(self, pending_s: float) -> None:
        """A job that was pending at this poll is not waited for any more."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One pacing for all jobs."""

    choice: Waiting

    def at(self, _now: float, /) -> Waiting:
        """The same as ever."""
        return self.choice

    def pending(self, before_s: float, pending_s: float) -> None:
        """Nothing is learnt."""

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """Nothing is learnt."""

    def ended(self, pending_s: float) -> None:
        """Nothing is learnt."""


@dataclass(slots=True)
class Learning:
    """The learned pacing as a worker would have it."""

    lateness_s: float
    sketch: Sketch = field(default_factory=Sketch)
    forecast: Forecast = field(init=False)
    _reached: Counter[int] = field(default_factory=Counter)
    _choice: Waiting = field(init=False)
    _planned_at: float = -math.inf

    def at(self, now: float, /) -> Waiting:
        """As planned last, a few seconds ago at most."""
        if now - self._planned_at >= PLAN_EVERY_S:
            self.forecast = Forecast(self.sketch, Latency.typical(TYPICAL_S), self._reached)
            self._choice = plan(self.forecast, Dial(self.lateness_s, SHORTEST_S, LONGEST_S))
            self._planned_at = now
        return self._choice

    def pending(self, before_s: float, pending_s: float) -> None:
        """Count it where it has come to."""
        self.ended(before_s)
        self._reached[bucket_of(pending_s)] += 1

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """Learn of it."""
        self.ended(pending_s)
        self.sketch = self.sketch.with_lesson(self.forecast.lesson(pending_s, done_s), took_s=done_s, at=now)

    def ended(self, pending_s: float) -> None:
        """Count it no longer."""
        if pending_s:
            self._reached[bucket_of(pending_s)] -= 1


@dataclass(frozen=True, slots=True)
class Known:
    """A distribution that is known beforehand, from very many of its own draws."""

    ordered: Sequence[float]

    @classmethod
    def of(cls, draw: Draw) -> "Known":
        """Draw often."""
        dice = random.Random(SEED)  # noqa: S311 (repeatable on purpose)
        return cls(sorted(draw(dice, 0.0) for _ in range(SAMPLES)))

    def done_by(self, elapsed_s: float) -> float:
        """The share that is done `elapsed_s` seconds after the submission."""
        return bisect_right(self.ordered, elapsed_s) / len(self.ordered)

    def quantile_s(self, share: float) -> float:
        """The time by which this share is done."""
        return self.ordered[min(int(share * len(self.ordered)), len(self.ordered) - 1)]


@dataclass(slots=True)
class Played:
    """One job: when it was ordered, how long it took, and when it was polled; all but the last poll saw it pending.

    `kept`: for each p90 that it was told, at the order and after each poll, whether it was found by then.
    """

    ordered_at: float
    took_s: float
    polled_s: list[float] = field(default_factory=list)
    promised_s: list[float] = field(default_factory=list)

    @property
    def ended_s(self) -> float:
        """The last poll."""
        return self.polled_s[-1] if self.polled_s else 0.0

    @property
    def found(self) -> bool:
        """Whether its video was found before the deadline."""
        return self.took_s <= self.ended_s

    @property
    def kept(self) -> list[bool]:
        """Whether each of the promises was kept."""
        return [self.ended_s <= promised for promised in self.promised_s]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a pacing costs and brings on one shape.

    `eta_held`: of the p90s that were told at the submission and after each poll, how many were kept.
    """

    shape: str
    pacing: str
    polls: float
    lateness_s: float
    lateness_p95_s: float
    eta_held: float | None


def simulate(draw: Draw, schedule: Schedule, ordered_at: Sequence[float], *, seed: int = SEED) -> list[Played]:
    """Play jobs as the clock goes; what each poll sees is told to the schedule then."""
    dice, jobs = random.Random(seed), len(ordered_at)  # noqa: S311 (repeatable on purpose)
    played = [Played(at, draw(dice, number / jobs)) for number, at in enumerate(ordered_at)]
    moments = [(job.ordered_at, number) for number, job in enumerate(played)]
    heapify(moments)
    while moments:
        now, number = heappop(moments)
        again_at = _live(played[number], schedule, now)
        if again_at is not None:
            heappush(moments, (again_at, number))
    return played


def _live(job: Played, schedule: Schedule, now: float) -> float | None:
    """What happens to a job that is ordered, or polled, now; when it is polled next."""
    pacing, elapsed_s, before_s = schedule.at(now), now - job.ordered_at, job.ended_s
    if elapsed_s:
        job.polled_s.append(elapsed_s)
        if job.found:
            schedule.done(before_s, elapsed_s, now)
            return None
        if elapsed_s >= DEADLINE_S:
            schedule.ended(before_s)
            return None
        schedule.pending(before_s, elapsed_s)
    if isinstance(schedule, Learning):
        job.promised_s.append(elapsed_s + schedule.forecast.eta(elapsed_s, pending_at_s=elapsed_s).p90_s)
    return min(now + pacing.wait(elapsed_s), job.ordered_at + DEADLINE_S)


def ordered(shape: str, jobs: int) -> Iterable[float]:
    """When the jobs of a shape are ordered."""
    return map(ORDERED.get(shape, lambda number: number * EVERY_S), range(jobs))


def schedules(shape: str) -> Iterator[tuple[str, Schedule]]:
    """Every pacing that is compared on a shape."""
    for dial_s in DIALS_S:
        yield f"learned, {dial_s:g} s", Learning(dial_s)
    if shape in STEADY:
        known = Known.of(SHAPES[shape])
        for dial_s in DIALS_S:
            yield f"known, {dial_s:g} s", Constant(plan(known, Dial(dial_s, SHORTEST_S, DEADLINE_S)))
    for interval_s in FIXED_S:
        yield f"fixed {interval_s:g} s", Constant(FixedPacing(interval_s, interval_s))
    yield "backoff 1, 2, 4 ...", Constant(Doubling())


def figures(shape: str, name: str, schedule: Schedule, *, jobs: int = JOBS, seed: int = SEED) -> Figures:
    """Play a schedule and sum up."""
    played = simulate(SHAPES[shape], schedule, list(ordered(shape, jobs)), seed=seed)
    kept = [one for job in played if job.found for one in job.kept]
    late = sorted(job.ended_s - job.took_s for job in played if job.found)
    return Figures(
        shape,
        name,
        polls=sum(len(job.polled_s) for job in played) / len(played),
        lateness_s=sum(late) / len(late),
        lateness_p95_s=late[int(0.95 * len(late))],
        eta_held=sum(kept) / len(kept) if kept else None,
    )


def compare(shape: str, jobs: int, seed: int) -> list[Figures]:
    """Every pacing on one shape."""
    return [figures(shape, name, schedule, jobs=jobs, seed=seed) for name, schedule in schedules(shape)]


def compare_all(*, jobs: int = JOBS, seed: int = SEED) -> list[Figures]:
    """Every pacing on every shape, on all cores."""
    with ProcessPoolExecutor() as pool:
        results = pool.map(compare, SHAPES, repeat(jobs), repeat(seed))
        return [row for rows in results for row in rows]


def markdown(rows: Sequence[Figures]) -> str:
    """A table for each shape."""
    told = []
    for shape, group in groupby(rows, key=lambda row: row.shape):
        told += [f"**{shape}**", "", "| pacing | polls a job | mean lateness | p95 lateness | p90 ETA held |"]
        told += ["|---|---:|---:|---:|---:|"]
        for row in group:
            held = "" if row.eta_held is None else f"{row.eta_held:.0%}"
            told.append(
                f"| {row.pacing} | {row.polls:.1f} | {row.lateness_s:.1f} s | {row.lateness_p95_s:.1f} s | {held} |"
            )
        told.append("")
    return "\n".join(told)


def main() -> None:
    """Print the comparison as Markdown; write it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.pacing", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="jobs in each run")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    choice = parser.parse_args()
    rows = compare_all(jobs=choice.jobs, seed=choice.seed)
    if choice.json:
        choice.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"{choice.jobs} jobs in each run, seed {choice.seed}\n\n{markdown(rows)}")  # noqa: T201 (a program)


if __name__ == "__main__":
    main()
