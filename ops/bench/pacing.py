"""Looks against lateness, by simulation: `python -m ops.bench.pacing`.

Each run plays jobs one after another through a pacing: how often is a generation looked at, and how long does a
finished one wait for its look? The learned pacing starts cold, from a prior that is a little off (110 s), learns only
from what its own looks saw, twenty jobs late (those are in flight), and plans anew every ten jobs.
`known` is the best that any schedule could do: planned from the true distribution, which nobody has.
"""

import argparse
import json
import math
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import groupby, repeat
from pathlib import Path
from typing import Final, Protocol

from jobs.forecast import Forecast, Latency, Sketch
from jobs.pacing import Dial, FixedPacing, plan

JOBS: Final = 1000
SEED: Final = 1
TYPICAL_S: Final = 110.0
DEADLINE_S: Final = 1000.0
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 60.0
DIALS_S: Final = (2.5, 4.0, 5.0, 10.0)
FIXED_S: Final = (1.0, 5.0, 10.0, 15.0, 30.0)
IN_FLIGHT: Final = 20
EVERY_S: Final = 6.0
"""About so long after one another jobs of two minutes are ordered, if twenty are in flight."""
PLAN_EVERY: Final = 10
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
}
AT_ONCE: Final[Mapping[str, int]] = {"lognormal 120 s, sigma 0.3, 400 at once": 400}
"""How many jobs are ordered in the same moment, where it is not one after the other."""
STEADY: Final = frozenset(name for name in SHAPES if not name.endswith(("half-time", "never ends")))
"""The shapes of which a best schedule can be planned beforehand."""


class Waiting(Protocol):
    """As far as a pacing is needed here."""

    def wait(self, waited_s: float) -> float:
        """Seconds to the next look."""


@dataclass(frozen=True, slots=True)
class Doubling:
    """Exponential backoff with Celery's defaults: 1, 2, 4 s and so on, at most 600."""

    def wait(self, waited_s: float) -> float:
        """As long again as has passed."""
        return min(waited_s + 1, 600.0)


class Schedule(Protocol):
    """Chooses a pacing for each job, and is told what the looks saw."""

    def pacing(self) -> Waiting:
        """The pacing of the next job."""

    def seen(self, pending_s: float, done_s: float, at: float) -> None:
        """A job was pending at one look, done at the next, which was at `at` by the clock."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One pacing for all jobs."""

    choice: Waiting

    def pacing(self) -> Waiting:
        """The same as ever."""
        return self.choice

    def seen(self, pending_s: float, done_s: float, at: float) -> None:
        """Nothing is learnt."""


@dataclass(slots=True)
class Learning:
    """The learned pacing as a worker would have it."""

    lateness_s: float
    sketch: Sketch = field(default_factory=Sketch)
    forecast: Forecast = field(init=False)
    _in_flight: deque[tuple[float, float, float]] = field(default_factory=deque)
    _choice: Waiting = field(init=False)

    def __post_init__(self) -> None:
        self._plan()

    def pacing(self) -> Waiting:
        """As planned last."""
        return self._choice

    def seen(self, pending_s: float, done_s: float, at: float) -> None:
        """Learn of the job that finished a while ago."""
        self._in_flight.append((pending_s, done_s, at))
        if len(self._in_flight) > IN_FLIGHT:
            before_s, took_s, ended_at = self._in_flight.popleft()
            shares = self.forecast.lesson(before_s, took_s)
            self.sketch = self.sketch.with_lesson(shares, took_s=took_s, at=ended_at)
            if self.sketch.seen % PLAN_EVERY == 0:
                self._plan()

    def _plan(self) -> None:
        self.forecast = Forecast(self.sketch, Latency.typical(TYPICAL_S))
        self._choice = plan(self.forecast, Dial(self.lateness_s, SHORTEST_S, LONGEST_S))


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
        """The share that is done so long after the submission."""
        return bisect_right(self.ordered, elapsed_s) / len(self.ordered)

    def quantile_s(self, share: float) -> float:
        """The time by which this share is done."""
        return self.ordered[min(int(share * len(self.ordered)), len(self.ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Played:
    """One job: how long it took, and when it was looked at; all but the last look saw it pending."""

    took_s: float
    looked_s: Sequence[float]

    @property
    def ended_s(self) -> float:
        """The last look."""
        return self.looked_s[-1]

    @property
    def pending_s(self) -> float:
        """When it was last known to be pending."""
        return self.looked_s[-2] if len(self.looked_s) > 1 else 0.0

    @property
    def found(self) -> bool:
        """Whether its video was found before the deadline."""
        return self.took_s <= self.ended_s


@dataclass(frozen=True, slots=True)
class Figures:
    """What a pacing costs and brings on one shape.

    `eta_held`: of the p90s that were told at the submission and after each look, how many were kept.
    """

    shape: str
    pacing: str
    looks: float
    lateness_s: float
    lateness_p95_s: float
    eta_held: float | None


def play(pacing: Waiting, took_s: float) -> Played:
    """Look until it is done or the deadline has passed."""
    looked_s, now_s = [], 0.0
    while now_s < min(took_s, DEADLINE_S):
        now_s = min(now_s + pacing.wait(now_s), DEADLINE_S)
        looked_s.append(now_s)
    return Played(took_s, looked_s)


def simulate(
    draw: Draw, schedule: Schedule, *, jobs: int = JOBS, seed: int = SEED, at_once: int = 1
) -> Iterator[Played]:
    """Play jobs one after another, or so many at once; the schedule learns of those that were found, as they end."""
    dice, apart_s = random.Random(seed), EVERY_S if at_once == 1 else DEADLINE_S  # noqa: S311 (repeatable on purpose)
    for begin in range(0, jobs, at_once):
        numbers, now = range(begin, min(begin + at_once, jobs)), begin // at_once * apart_s
        burst = [play(schedule.pacing(), draw(dice, number / jobs)) for number in numbers]
        yield from burst
        for job in sorted(burst, key=lambda played: played.ended_s):
            if job.found:
                schedule.seen(job.pending_s, job.ended_s, now + job.ended_s)


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
    played: list[Played] = []
    kept: list[bool] = []
    for job in simulate(SHAPES[shape], schedule, jobs=jobs, seed=seed, at_once=AT_ONCE.get(shape, 1)):
        played.append(job)
        if isinstance(schedule, Learning) and job.found:
            kept += promises(job, schedule.forecast)
    late = sorted(job.ended_s - job.took_s for job in played if job.found)
    return Figures(
        shape,
        name,
        looks=sum(len(job.looked_s) for job in played) / len(played),
        lateness_s=sum(late) / len(late),
        lateness_p95_s=late[int(0.95 * len(late))],
        eta_held=sum(kept) / len(kept) if kept else None,
    )


def promises(job: Played, forecast: Forecast) -> list[bool]:
    """Whether the job was found within each p90 that it was told."""
    told = [0.0, *job.looked_s[:-1]]
    return [job.ended_s <= at_s + forecast.eta(at_s, pending_at_s=at_s).p90_s for at_s in told]


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
        told += [f"**{shape}**", "", "| pacing | looks a job | mean lateness | p95 lateness | p90 ETA held |"]
        told += ["|---|---:|---:|---:|---:|"]
        for row in group:
            held = "" if row.eta_held is None else f"{row.eta_held:.0%}"
            told.append(
                f"| {row.pacing} | {row.looks:.1f} | {row.lateness_s:.1f} s | {row.lateness_p95_s:.1f} s | {held} |"
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
