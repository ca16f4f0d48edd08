"""Simulates polls against lateness: `python -m ops.bench.pacing`.

Each run simulates jobs with one pacing, 20 in flight or hundreds at once, and counts the polls per generation and the
lateness of each finished one. The learned pacing starts cold from a slightly wrong prior (110 s), learns only from its
own polls, and plans as often as a worker does. `known` is planned from the true distribution, so no schedule is better.
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
LATENESSES_S: Final = (2.5, 4.0, 5.0, 10.0)
FIXED_S: Final = (1.0, 5.0, 10.0, 15.0, 30.0)
EVERY_S: Final = 6.0
"""Seconds between two submissions, for 20 jobs in flight of about two minutes each."""
PLAN_EVERY_S: Final = 10.0
NEVER: Final = math.inf
SAMPLES: Final = 20_000

Draw = Callable[[random.Random, float], float]
"""Draws a latency in seconds, given the progress of the run (0 to 1)."""


def lognormal(median_s: float, sigma: float) -> Draw:
    """Draw from a lognormal distribution, the usual shape of latencies."""
    return lambda rng, _progress: median_s * math.exp(sigma * rng.gauss(0, 1))


def two_humps(rng: random.Random, _progress: float) -> float:
    """Draw from two peaks, as if two kinds of machines served one model."""
    return max(rng.gauss(60, 5) if rng.random() < 0.5 else rng.gauss(200, 15), 5.0)  # noqa: PLR2004 (a coin)


def changing(draw: Draw, factor: float) -> Draw:
    """Multiply the latency by `factor` in the second half of the run."""
    return lambda rng, progress: draw(rng, progress) * (factor if progress >= 0.5 else 1.0)  # noqa: PLR2004 (half)


def sticking(draw: Draw, share: float) -> Draw:
    """Let a share of the generations never finish."""
    return lambda rng, progress: NEVER if rng.random() < share else draw(rng, progress)


SHAPES: Final[Mapping[str, Draw]] = {
    "lognormal 120 s, sigma 0.2": lognormal(120, 0.2),
    "lognormal 120 s, sigma 0.25": lognormal(120, 0.25),
    "lognormal 120 s, sigma 0.35": lognormal(120, 0.35),
    "normal 120 ± 6 s": lambda rng, _progress: max(rng.gauss(120, 6), 5.0),
    "uniform 40 to 240 s": lambda rng, _progress: rng.uniform(40, 240),
    "Pareto from 60 s, alpha 1.8": lambda rng, _progress: 60 * rng.paretovariate(1.8),
    "two humps, 60 and 200 s": two_humps,
    "twice as slow from half-time": changing(lognormal(120, 0.3), 2.0),
    "twice as fast from half-time": changing(lognormal(120, 0.3), 0.5),
    "one in twenty never ends": sticking(lognormal(120, 0.3), 0.05),
    "lognormal 120 s, sigma 0.3, 400 at once": lognormal(120, 0.3),
    "lognormal 120 s, sigma 0.3, ten a second": lognormal(120, 0.3),
}
ARRIVALS: Final[Mapping[str, Callable[[int], float]]] = {
    "lognormal 120 s, sigma 0.3, 400 at once": lambda number: number // 400 * DEADLINE_S,
    "lognormal 120 s, sigma 0.3, ten a second": lambda number: number / 10,
}
"""When each job is submitted, if not one every six seconds."""
STEADY: Final = frozenset(name for name in SHAPES if not name.endswith(("half-time", "never ends")))
"""The shapes whose best schedule can be planned in advance."""


class Waiting(Protocol):
    """The part of a pacing that is needed here."""

    def wait(self, waited_s: float) -> float:
        """Seconds to the next poll."""


@dataclass(frozen=True, slots=True)
class Doubling:
    """Exponential backoff with Celery's defaults: 1, 2, 4 s and so on, at most 600."""

    def wait(self, waited_s: float) -> float:
        """Wait as long as has passed."""
        return min(waited_s + 1, 600.0)


class Schedule(Protocol):
    """Chooses a pacing for each poll, and receives the polls' results."""

    def at(self, now: float, /) -> Waiting:
        """Return the pacing at this time."""

    def pending(self, before_s: float, pending_s: float) -> None:
        """A job was pending at two successive polls."""

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """A job was pending at one poll and done at the next, which is now."""

    def ended(self, pending_s: float) -> None:
        """A job that was pending at this poll has been given up."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One pacing for all jobs."""

    choice: Waiting

    def at(self, _now: float, /) -> Waiting:
        """Return the same pacing always."""
        return self.choice

    def pending(self, before_s: float, pending_s: float) -> None:
        """Learn nothing."""

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """Learn nothing."""

    def ended(self, pending_s: float) -> None:
        """Learn nothing."""


@dataclass(slots=True)
class Learning:
    """The learned pacing, as a worker uses it."""

    lateness_s: float
    sketch: Sketch = field(default_factory=Sketch)
    forecast: Forecast = field(init=False)
    _reached: Counter[int] = field(default_factory=Counter)
    _choice: Waiting = field(init=False)
    _planned_at: float = -math.inf

    def at(self, now: float, /) -> Waiting:
        """Return the last plan, or a new one after `PLAN_EVERY_S`."""
        if now - self._planned_at >= PLAN_EVERY_S:
            self.forecast = Forecast(self.sketch, Latency.typical(TYPICAL_S), self._reached)
            self._choice = plan(self.forecast, Dial(self.lateness_s, SHORTEST_S, LONGEST_S))
            self._planned_at = now
        return self._choice

    def pending(self, before_s: float, pending_s: float) -> None:
        """Count the pending job at its present age."""
        self.ended(before_s)
        self._reached[bucket_of(pending_s)] += 1

    def done(self, pending_s: float, done_s: float, now: float) -> None:
        """Learn the duration."""
        self.ended(pending_s)
        self.sketch = self.sketch.with_lesson(self.forecast.lesson(pending_s, done_s), took_s=done_s, at=now)

    def ended(self, pending_s: float) -> None:
        """Stop counting the pending job."""
        if pending_s:
            self._reached[bucket_of(pending_s)] -= 1


@dataclass(frozen=True, slots=True)
class Known:
    """A distribution known in advance, from many of its draws."""

    latencies: Sequence[float]

    @classmethod
    def of(cls, draw: Draw) -> "Known":
        """Draw `SAMPLES` latencies."""
        rng = random.Random(SEED)  # noqa: S311 (repeatable on purpose)
        return cls(sorted(draw(rng, 0.0) for _ in range(SAMPLES)))

    def done_by(self, elapsed_s: float) -> float:
        """Return the share that is done `elapsed_s` seconds after submission."""
        return bisect_right(self.latencies, elapsed_s) / len(self.latencies)

    def quantile_s(self, share: float) -> float:
        """Return the time by which this share is done, in seconds."""
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


@dataclass(slots=True)
class SimulatedJob:
    """One job: its submission, its duration and its polls; it was pending at all but the last."""

    submitted_at: float
    took_s: float
    polled_s: list[float] = field(default_factory=list)
    promised_s: list[float] = field(default_factory=list)

    @property
    def ended_s(self) -> float:
        """Seconds from submission to the last poll."""
        return self.polled_s[-1] if self.polled_s else 0.0

    @property
    def found(self) -> bool:
        """Whether its video was found before the deadline."""
        return self.took_s <= self.ended_s

    @property
    def kept(self) -> list[bool]:
        """Whether each estimated p90, at submission and after each poll, was kept."""
        return [self.ended_s <= promised for promised in self.promised_s]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a pacing on one shape; `eta_kept` is the share of the estimated p90s that were kept."""

    shape: str
    pacing: str
    polls: float
    lateness_s: float
    lateness_p95_s: float
    eta_kept: float | None


def simulate(draw: Draw, schedule: Schedule, submitted_at: Sequence[float], *, seed: int = SEED) -> list[SimulatedJob]:
    """Simulate jobs in the order of time, and pass each poll's result to the schedule."""
    rng, jobs = random.Random(seed), len(submitted_at)  # noqa: S311 (repeatable on purpose)
    simulated = [SimulatedJob(at, draw(rng, number / jobs)) for number, at in enumerate(submitted_at)]
    polls = [(job.submitted_at, number) for number, job in enumerate(simulated)]
    heapify(polls)
    while polls:
        now, number = heappop(polls)
        again_at = _step(simulated[number], schedule, now)
        if again_at is not None:
            heappush(polls, (again_at, number))
    return simulated


def _step(job: SimulatedJob, schedule: Schedule, now: float) -> float | None:
    """Submit or poll a job now; returns when it is polled next, or None."""
    pacing, elapsed_s, before_s = schedule.at(now), now - job.submitted_at, job.ended_s
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
    return min(now + pacing.wait(elapsed_s), job.submitted_at + DEADLINE_S)


def arrivals(shape: str, jobs: int) -> Iterable[float]:
    """Yield when the jobs of a shape are submitted."""
    return map(ARRIVALS.get(shape, lambda number: number * EVERY_S), range(jobs))


def schedules(shape: str) -> Iterator[tuple[str, Schedule]]:
    """Yield every pacing to compare on a shape."""
    for lateness_s in LATENESSES_S:
        yield f"learned, {lateness_s:g} s", Learning(lateness_s)
    if shape in STEADY:
        known = Known.of(SHAPES[shape])
        for lateness_s in LATENESSES_S:
            yield f"known, {lateness_s:g} s", Constant(plan(known, Dial(lateness_s, SHORTEST_S, DEADLINE_S)))
    for interval_s in FIXED_S:
        yield f"fixed {interval_s:g} s", Constant(FixedPacing(interval_s, interval_s))
    yield "backoff 1, 2, 4 ...", Constant(Doubling())


def figures(shape: str, name: str, schedule: Schedule, *, jobs: int = JOBS, seed: int = SEED) -> Figures:
    """Simulate a schedule and summarize it."""
    simulated = simulate(SHAPES[shape], schedule, list(arrivals(shape, jobs)), seed=seed)
    kept = [one for job in simulated if job.found for one in job.kept]
    late = sorted(job.ended_s - job.took_s for job in simulated if job.found)
    return Figures(
        shape,
        name,
        polls=sum(len(job.polled_s) for job in simulated) / len(simulated),
        lateness_s=sum(late) / len(late),
        lateness_p95_s=late[int(0.95 * len(late))],
        eta_kept=sum(kept) / len(kept) if kept else None,
    )


def compare(shape: str, jobs: int, seed: int) -> list[Figures]:
    """Compare every pacing on one shape."""
    return [figures(shape, name, schedule, jobs=jobs, seed=seed) for name, schedule in schedules(shape)]


def compare_all(*, jobs: int = JOBS, seed: int = SEED) -> list[Figures]:
    """Compare every pacing on every shape, on all cores."""
    with ProcessPoolExecutor() as pool:
        results = pool.map(compare, SHAPES, repeat(jobs), repeat(seed))
        return [row for rows in results for row in rows]


def markdown(rows: Sequence[Figures]) -> str:
    """Format a table for each shape."""
    lines = []
    for shape, group in groupby(rows, key=lambda row: row.shape):
        lines += [f"**{shape}**", "", "| pacing | polls per job | mean lateness | p95 lateness | p90 ETA kept |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for row in group:
            kept = "" if row.eta_kept is None else f"{row.eta_kept:.0%}"
            lines.append(
                f"| {row.pacing} | {row.polls:.1f} | {row.lateness_s:.1f} s | {row.lateness_p95_s:.1f} s | {kept} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the comparison as Markdown; `--json` writes it to a file too."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.pacing", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="jobs in each run")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    choice = parser.parse_args()
    rows = compare_all(jobs=choice.jobs, seed=choice.seed)
    if choice.json:
        choice.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"{choice.jobs} jobs in each run, seed {choice.seed}\n\n{markdown(rows)}")  # noqa: T201 (a program)


if __name__ == "__main__":
    main()
