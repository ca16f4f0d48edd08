"""Simulates polls against lateness: `python -m ops.bench.pacing`.

Each run simulates jobs with one schedule, 20 in flight or hundreds at once, and counts the polls per generation and the
lateness of each finished one. The learned schedule starts cold from a slightly wrong typical duration (110 s), learns
only from its own polls, and is made anew as often as by a worker. `known` is made from the true distribution.
"""

import argparse
import json
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from heapq import heapify, heappop, heappush
from itertools import groupby, repeat
from pathlib import Path
from typing import Final, Protocol

from jobs.durations import FRESH_S
from jobs.schedule import (
    KEPT,
    LONGEST_S,
    SHORTEST_S,
    TYPICAL_S,
    WIDEST,
    Age,
    Durations,
    FixedSchedule,
    Interval,
    LearnedSchedule,
    Schedule,
)

JOBS: Final = 1000
SEED: Final = 1
DEADLINE_S: Final = 1000.0
LATENESSES_S: Final = (2.5, 4.0, 5.0, 10.0)
FIXED_S: Final = (1.0, 5.0, 10.0, 15.0, 30.0)
EVERY_S: Final = 6.0
"""Seconds between two submissions, for 20 jobs in flight of about two minutes each."""
NEVER: Final = math.inf
SAMPLES: Final = 2000

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
"""The shapes whose distribution is the same throughout."""


@dataclass(frozen=True, slots=True)
class Doubling:
    """Exponential backoff with Celery's defaults: 1, 2, 4 s and so on, at most 600."""

    def wait_s(self, elapsed_s: float) -> float:
        """Wait as long as has passed."""
        return min(elapsed_s + 1, 600.0)


@dataclass(slots=True, eq=False)
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
    def interval(self) -> Interval:
        """The last poll at which it was pending, and the one that found it."""
        pending_s, found_s = [0.0, *self.polled_s][-2:]
        return Interval(pending_s, found_s, self.submitted_at + found_s)

    @property
    def found(self) -> bool:
        """Whether its video was found before the deadline."""
        return self.took_s <= self.ended_s

    @property
    def kept(self) -> list[bool]:
        """Whether each estimated p90, at submission and after each poll, was kept."""
        return [self.ended_s <= promised for promised in self.promised_s]


class Choice(Protocol):
    """Chooses a schedule for each poll, and receives the polls' results."""

    def at(self, now: float, /) -> Schedule:
        """Return the schedule at this time."""

    def polled(self, job: SimulatedJob) -> None:
        """Receive a job that was polled: found, given up, or still pending."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One schedule for all jobs."""

    schedule: Schedule

    def at(self, _now: float, /) -> Schedule:
        """Return the same schedule always."""
        return self.schedule

    def polled(self, job: SimulatedJob) -> None:
        """Learn nothing."""


@dataclass(slots=True)
class Learning:
    """The learned schedule, as a worker uses it."""

    lateness_s: float
    durations: Durations = field(init=False)
    _newest: deque[Interval] = field(default_factory=lambda: deque(maxlen=KEPT))
    _pending: dict[SimulatedJob, Age] = field(default_factory=dict)
    _schedule: Schedule = field(init=False)
    _made_at: float = -math.inf

    def at(self, now: float, /) -> Schedule:
        """Return the last schedule, or a new one if it is no longer fresh."""
        if now - self._made_at >= FRESH_S:
            self.durations = Durations.of(tuple(self._newest), self._pending.values(), typical_s=TYPICAL_S)
            self._schedule = learned(self.durations, self.lateness_s)
            self._made_at = now
        return self._schedule

    def polled(self, job: SimulatedJob) -> None:
        """Remember a job that was found, and the age of one that is pending."""
        pending_s, found_s, _ = job.interval
        if job.found and (not pending_s or found_s <= WIDEST * pending_s):
            self._newest.appendleft(job.interval)
        if job.found or job.ended_s >= DEADLINE_S:
            self._pending.pop(job, None)
        else:
            self._pending[job] = Age(job.submitted_at, job.ended_s)


def learned(durations: Durations, lateness_s: float) -> Schedule:
    """Make a schedule with the default bounds."""
    return LearnedSchedule(durations, lateness_s=lateness_s, shortest_s=SHORTEST_S, longest_s=LONGEST_S)


def known(draw: Draw) -> Durations:
    """Return a distribution that is known in advance, from many of its draws."""
    rng = random.Random(SEED)  # noqa: S311 (repeatable on purpose)
    drawn = sorted(draw(rng, 0.0) for _ in range(SAMPLES))
    return Durations([0.0, *drawn], [number / SAMPLES for number in range(SAMPLES + 1)], at_first=0.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a schedule on one shape; `eta_kept` is the share of the estimated p90s that were kept."""

    shape: str
    schedule: str
    polls: float
    lateness_s: float
    lateness_p95_s: float
    eta_kept: float | None


def simulate(draw: Draw, choice: Choice, submitted_at: Sequence[float], *, seed: int = SEED) -> list[SimulatedJob]:
    """Simulate jobs in the order of time, and pass each poll's result to the choice of schedules."""
    rng, jobs = random.Random(seed), len(submitted_at)  # noqa: S311 (repeatable on purpose)
    simulated = [SimulatedJob(at, draw(rng, number / jobs)) for number, at in enumerate(submitted_at)]
    polls = [(job.submitted_at, number) for number, job in enumerate(simulated)]
    heapify(polls)
    while polls:
        now, number = heappop(polls)
        again_at = _step(simulated[number], choice, now)
        if again_at is not None:
            heappush(polls, (again_at, number))
    return simulated


def _step(job: SimulatedJob, choice: Choice, now: float) -> float | None:
    """Submit or poll a job now; returns when it is polled next, or None."""
    schedule, elapsed_s = choice.at(now), now - job.submitted_at
    if elapsed_s:
        job.polled_s.append(elapsed_s)
        choice.polled(job)
        if job.found or elapsed_s >= DEADLINE_S:
            return None
    again_s = min(elapsed_s + schedule.wait_s(elapsed_s), DEADLINE_S)
    if isinstance(choice, Learning):
        eta = choice.durations.eta(
            elapsed_s, pending_at_s=elapsed_s, lateness_s=choice.lateness_s, next_poll_s=again_s - elapsed_s
        )
        job.promised_s.append(elapsed_s + eta.p90_s)
    return job.submitted_at + again_s


def arrivals(shape: str, jobs: int) -> Iterable[float]:
    """Yield when the jobs of a shape are submitted."""
    return map(ARRIVALS.get(shape, lambda number: number * EVERY_S), range(jobs))


def choices(shape: str) -> Iterator[tuple[str, Choice]]:
    """Yield every schedule to compare on a shape."""
    for lateness_s in LATENESSES_S:
        yield f"learned, {lateness_s:g} s", Learning(lateness_s)
    if shape in STEADY:
        durations = known(SHAPES[shape])
        for lateness_s in LATENESSES_S:
            yield f"known, {lateness_s:g} s", Constant(learned(durations, lateness_s))
    for interval_s in FIXED_S:
        yield f"fixed {interval_s:g} s", Constant(FixedSchedule(interval_s, interval_s))
    yield "backoff 1, 2, 4 ...", Constant(Doubling())


def figures(shape: str, name: str, choice: Choice, *, jobs: int = JOBS, seed: int = SEED) -> Figures:
    """Simulate a choice of schedules and summarize it."""
    simulated = simulate(SHAPES[shape], choice, list(arrivals(shape, jobs)), seed=seed)
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
    """Compare every schedule on one shape."""
    return [figures(shape, name, choice, jobs=jobs, seed=seed) for name, choice in choices(shape)]


def compare_all(*, jobs: int = JOBS, seed: int = SEED) -> list[Figures]:
    """Compare every schedule on every shape, on all cores."""
    with ProcessPoolExecutor() as pool:
        results = pool.map(compare, SHAPES, repeat(jobs), repeat(seed))
        return [row for rows in results for row in rows]


def markdown(rows: Sequence[Figures]) -> str:
    """Format a table for each shape."""
    lines = []
    for shape, group in groupby(rows, key=lambda row: row.shape):
        lines += [f"**{shape}**", "", "| schedule | polls per job | mean lateness | p95 lateness | p90 ETA kept |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for row in group:
            kept = "" if row.eta_kept is None else f"{row.eta_kept:.0%}"
            lines.append(
                f"| {row.schedule} | {row.polls:.1f} | {row.lateness_s:.1f} s | {row.lateness_p95_s:.1f} s | {kept} |"
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
