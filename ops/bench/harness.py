"""A run: every contender and every scenario in sequence, each figure written at once."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.bench import recovery, trials
from ops.bench.bars import ARQ, BARE, DEFAULTS, RUSHES
from ops.bench.contender import RunConfig
from ops.bench.processes import ROOT, Contender, process, server, until
from ops.bench.results import Results, Scenario


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a run."""

    lives: int = 3000
    pair: int = 6000
    polls: int = 12
    lives_interval_s: float = 1.0
    lives_cap_s: float = 40.0
    loads: tuple[int, ...] = (100, 1_000, 10_000)
    most: int = 50_000
    interval_s: float = 10.0
    window_s: float = 30.0
    fill_s: float = 30.0
    all_flights: bool = True
    """False: only Rushes runs with many jobs in flight."""
    paced: int = 400
    scale: float = 2.5
    accept: int = 4000
    steady: tuple[int, ...] = (10, 100)
    steady_render_s: float = 120.0
    steady_window_s: float = 180.0
    burst: int = 1500
    killed: int = 500
    killed_interval_s: float = 5.0
    together_s: float = 20.0
    """How long the videos of a burst, or of a killed worker, take."""


FAR_S: Final = 0.1
HANGS: Final = 100
"""In the hanging scenario one poll in this many is never answered."""
PACED_CAP_S: Final = 300.0
FILL_S_PER_JOB: Final = 0.015
"""Time per job for the purchases before a trial of jobs in flight, in seconds."""
FULL: Final = Size()
QUICK: Final = Size(
    lives=80,
    pair=300,
    polls=2,
    lives_interval_s=0.5,
    lives_cap_s=8,
    loads=(100,),
    most=300,
    all_flights=False,
    interval_s=1,
    window_s=3,
    fill_s=10,
    paced=30,
    scale=60,
    accept=300,
    steady=(10,),
    steady_render_s=5,
    steady_window_s=10,
    burst=50,
    killed=20,
    killed_interval_s=1,
    together_s=4,
)
MINIATURE: Final = Size(
    lives=10,
    pair=10,
    polls=2,
    lives_interval_s=0.3,
    lives_cap_s=30,
    loads=(10,),
    most=20,
    all_flights=False,
    interval_s=0.5,
    window_s=1,
    fill_s=30,
    paced=5,
    scale=120,
    accept=20,
    steady=(2,),
    steady_render_s=2,
    steady_window_s=4,
    burst=5,
    killed=5,
    killed_interval_s=0.5,
    together_s=3,
)


@dataclass(slots=True)
class Bench:
    """A run; results are written after each trial, so that an interrupted run keeps its figures."""

    results: Results
    contenders: dict[str, Contender]
    size: Size
    rounds: int
    file: Path
    wanted: frozenset[Scenario]

    def measure(self, scenario: Scenario, contender: str, trial: Callable[[], dict[str, Any]], **facts: Any) -> None:
        """Run one trial and record its figures, or why it failed."""
        if scenario not in self.wanted or contender not in self.contenders:
            return
        began = time.monotonic()
        try:
            row = trial()
        except (TimeoutError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            row = {"failed": str(error)}
        self.results.rows.append({"scenario": scenario.value, "contender": contender, **facts, **row})
        self.results.write(self.file)
        figures = ", ".join(f"{name} {_short(value)}" for name, value in {**facts, **row}.items())
        say(f"{scenario:7} {contender:15} {time.monotonic() - began:5.1f} s  {figures}")

    def run(self, minutes: float) -> None:
        """Run the wanted scenarios; contenders alternate within a round, so that noise affects all."""
        for number in range(self.rounds):
            for name in self.contenders:
                self._lives(Scenario.LIVES, name, self.size.lives, round=number)
            for name in (RUSHES, ARQ, BARE):
                self._lives(Scenario.FAR_LIVES, name, self.size.pair, latency_s=FAR_S, round=number)
            for name, learned in ((RUSHES, True), (RUSHES, False), (ARQ, False)):
                self._paced(name, learned=learned, round_=number)
            for workers in (1, 2):
                self._lives(Scenario.PAIR, RUSHES, self.size.pair * workers, workers=workers, round=number)
            self._alone(number)
        for name in (RUSHES, DEFAULTS, ARQ, BARE):
            for jobs in self.size.steady:
                self._steady(name, jobs)
        for name in (RUSHES, DEFAULTS):
            self._burst(name)
        self._killed(RUSHES)
        self._flights()
        self._soak(minutes)

    def _lives(
        self, scenario: Scenario, name: str, jobs: int, *, workers: int = 1, latency_s: float = 0.0, **facts: int
    ) -> None:
        size = self.size
        times = 1 if scenario is Scenario.LIVES else 3  # the other scenarios must finish their work
        self.measure(
            scenario,
            name,
            lambda: trials.whole_lives(
                self.contenders[name],
                jobs=jobs,
                polls=size.polls,
                interval_s=size.lives_interval_s,
                cap_s=size.lives_cap_s * times,
                workers=workers,
                latency_s=latency_s,
            ),
            workers=workers,
            latency_s=latency_s,
            **facts,
        )

    def _paced(self, name: str, *, learned: bool, round_: int) -> None:
        size = self.size
        self.measure(
            Scenario.PACED,
            name,
            lambda: trials.paced(
                self.contenders[name], jobs=size.paced, learned=learned, scale=size.scale, cap_s=PACED_CAP_S
            ),
            round=round_,
        )

    def _steady(self, name: str, jobs: int) -> None:
        size = self.size
        self.measure(
            Scenario.STEADY,
            name,
            lambda: trials.steady(
                self.contenders[name],
                jobs=jobs,
                render_s=size.steady_render_s,
                interval_s=size.interval_s,
                window_s=size.steady_window_s,
            ),
        )

    def _burst(self, name: str) -> None:
        size = self.size
        self.measure(
            Scenario.BURST,
            name,
            lambda: recovery.burst(
                self.contenders[name], jobs=size.burst, render_s=size.together_s, interval_s=size.interval_s
            ),
        )

    def _killed(self, name: str) -> None:
        size = self.size
        self.measure(
            Scenario.KILLED,
            name,
            lambda: recovery.killed(
                self.contenders[name], jobs=size.killed, render_s=size.together_s, interval_s=size.killed_interval_s
            ),
        )

    def _alone(self, number: int) -> None:
        """Measure what only Rushes has."""
        self.measure(
            Scenario.ACCEPT, RUSHES, lambda: accepting(self.contenders[RUSHES], self.size.accept), round=number
        )
        self.measure(Scenario.START, RUSHES, lambda: trials.first_poll(self.contenders[RUSHES]), round=number)
        self.measure(Scenario.IMPORT, RUSHES, importing, round=number)

    def _soak(self, minutes: float) -> None:
        if not minutes or Scenario.SOAK not in self.wanted or RUSHES not in self.contenders:
            return
        per_s, render_s = (20.0, 60.0) if minutes > 1 else (5.0, 3.0)
        for sample in trials.soak(self.contenders[RUSHES], minutes=minutes, per_s=per_s, render_s=render_s):
            self.results.rows.append({"scenario": Scenario.SOAK.value, "contender": RUSHES, **sample})
        self.results.write(self.file)

    def _flights(self) -> None:
        size = self.size
        for name in self.contenders:
            if size.all_flights or name == RUSHES:
                for jobs in (*size.loads, *([size.most] if name == RUSHES else [])):
                    self._flight(Scenario.FLIGHT, name, jobs)
        for jobs in (*size.loads[-2:], size.most):
            self._flight(Scenario.FAR, RUSHES, jobs, latency_s=FAR_S)
        self._flight(Scenario.HANGING, RUSHES, size.loads[-1], hangs=HANGS)

    def _flight(self, scenario: Scenario, name: str, jobs: int, *, latency_s: float = 0.0, hangs: int = 0) -> None:
        size = self.size
        self.measure(
            scenario,
            name,
            lambda: trials.in_flight(
                self.contenders[name],
                jobs=jobs,
                interval_s=size.interval_s,
                window_s=size.window_s,
                fill_s=size.fill_s + jobs * FILL_S_PER_JOB,
                latency_s=latency_s,
                hangs=hangs,
            ),
        )


def accepting(contender: Contender, count: int) -> dict[str, Any]:
    """Measure how fast one producer process submits jobs, without a worker."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-") as name, server(Path(name), trials.OTHER_CORE) as url:
        config = RunConfig(redis_url=url, folder=Path(name))
        command = [contender.python, "-m", "ops.bench.contender", "accept", contender.name, str(count)]
        environment = contender.command(config)[1]
        log = Path(name) / "accept.log"
        with process(command, log, core=trials.WORKER_CORE, environment=environment) as child:
            until(lambda: child.poll() is not None, "the end of the producer", within_s=300)
        if child.returncode:
            raise RuntimeError(log.read_text()[-2000:])
        rates: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
        return rates


def importing() -> dict[str, Any]:
    """Measure the import of the client library in a new process."""
    code = "import time; began = time.perf_counter(); import producer.client; print(time.perf_counter() - began)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    if ran.returncode:
        raise RuntimeError("there is no producer.client")
    return {"import_s": float(ran.stdout)}


def say(line: str) -> None:
    """Print a line with the time of day."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
