"""A run: every contender and every scenario in turn, each figure noted as soon as it is there."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.bench import trials
from ops.bench.bars import ARQ, RUSHES
from ops.bench.contender import Course
from ops.bench.processes import ROOT, Contender, process, server, until
from ops.bench.results import Results, Scenario


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    lives: int = 1500
    looks: int = 12
    lives_interval_s: float = 1.0
    lives_cap_s: float = 30.0
    loads: tuple[int, ...] = (100, 1_000, 10_000)
    most: int = 50_000
    interval_s: float = 10.0
    window_s: float = 30.0
    fill_s: float = 120.0
    paced: int = 400
    scale: float = 5.0
    accept: int = 4000


FULL: Final = Size()
QUICK: Final = Size(
    lives=100,
    looks=3,
    lives_cap_s=10,
    loads=(100,),
    most=300,
    interval_s=1,
    window_s=2,
    fill_s=10,
    paced=30,
    scale=60,
    accept=300,
)
MINIATURE: Final = Size(
    lives=20,
    looks=2,
    lives_interval_s=0.5,
    lives_cap_s=20,
    loads=(20,),
    most=40,
    interval_s=1,
    window_s=2,
    fill_s=20,
    paced=5,
    scale=120,
    accept=50,
)


@dataclass(slots=True)
class Bench:
    """A run under way: what is measured goes into the results at once, so that an interrupted run has its figures."""

    results: Results
    contenders: dict[str, Contender]
    size: Size
    rounds: int
    file: Path
    wanted: frozenset[Scenario]

    def measure(self, scenario: Scenario, contender: str, trial: Callable[[], dict[str, Any]], **facts: Any) -> None:
        """Run one trial and note it; one that cannot be run is noted as well, and the rest goes on."""
        if scenario not in self.wanted or contender not in self.contenders:
            return
        began = time.monotonic()
        try:
            row = trial()
        except (TimeoutError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            row = {"failed": str(error)}
        told = {"scenario": scenario.value, "contender": contender, **facts, **row}
        self.results.rows.append(told)
        self.results.write(self.file)
        figures = ", ".join(f"{name} {_short(value)}" for name, value in {**facts, **row}.items())
        say(f"{scenario:7} {contender:15} {time.monotonic() - began:5.1f} s  {figures}")

    def run(self, minutes: float) -> None:
        """Everything that is wanted."""
        for number in range(self.rounds):
            self._round(number)
        self._flights()
        if minutes and Scenario.SOAK in self.wanted and RUSHES in self.contenders:
            per_s, render_s = (20.0, 60.0) if minutes > 1 else (5.0, 3.0)
            for sample in trials.soak(self.contenders[RUSHES], minutes=minutes, per_s=per_s, render_s=render_s):
                self.results.rows.append({"scenario": Scenario.SOAK.value, "contender": RUSHES, **sample})
            self.results.write(self.file)

    def _round(self, number: int) -> None:
        """One of several: the contenders take turns, so that the machine's moods meet all alike."""
        size = self.size
        lives = {"looks": size.looks, "interval_s": size.lives_interval_s, "cap_s": size.lives_cap_s}
        for name, one in self.contenders.items():
            self.measure(
                Scenario.LIVES, name, lambda one=one: trials.whole_lives(one, jobs=size.lives, **lives), round=number
            )
        for name, learned in ((RUSHES, True), (RUSHES, False), (ARQ, False)):
            self.measure(
                Scenario.PACED,
                name,
                lambda name=name, learned=learned: trials.paced(
                    self.contenders[name], jobs=size.paced, learned=learned, scale=size.scale, cap_s=300
                ),
                round=number,
            )
        rushes = self.contenders.get(RUSHES)
        if rushes is None:
            return
        for workers in (1, 2):
            jobs = size.lives * workers
            self.measure(
                Scenario.PAIR,
                RUSHES,
                lambda jobs=jobs, workers=workers: trials.whole_lives(rushes, jobs=jobs, workers=workers, **lives),
                workers=workers,
                round=number,
            )
        self.measure(Scenario.ACCEPT, RUSHES, lambda: accepting(rushes, size.accept), round=number)
        self.measure(Scenario.START, RUSHES, lambda: trials.first_look(rushes), round=number)
        self.measure(Scenario.IMPORT, RUSHES, importing, round=number)

    def _flights(self) -> None:
        size = self.size
        how = {"interval_s": size.interval_s, "window_s": size.window_s, "fill_s": size.fill_s}
        for name, one in self.contenders.items():
            for jobs in (*size.loads, *([size.most] if name == RUSHES else [])):
                self.measure(Scenario.FLIGHT, name, lambda one=one, jobs=jobs: trials.in_flight(one, jobs=jobs, **how))
        for jobs in size.loads[-2:]:
            self.measure(
                Scenario.FAR,
                RUSHES,
                lambda jobs=jobs: trials.in_flight(self.contenders[RUSHES], jobs=jobs, latency_s=0.1, **how),
            )


def accepting(contender: Contender, count: int) -> dict[str, Any]:
    """How fast one producer's process gets jobs accepted, with no worker about."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-") as name, server(Path(name), trials.OTHER_CORE) as url:
        course = Course(redis_url=url, folder=Path(name))
        command = [contender.python, "-m", "ops.bench.contender", "accept", contender.name, str(count)]
        environment = contender.command(course)[1]
        log = Path(name) / "accept.log"
        with process(command, log, core=trials.WORKER_CORE, environment=environment) as child:
            until(lambda: child.poll() is not None, "the end of the producer", within_s=300)
        if child.returncode:
            raise RuntimeError(log.read_text()[-2000:])
        told: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
        return told


def importing() -> dict[str, Any]:
    """How long the client library takes to import, in a fresh process."""
    code = "import time; began = time.perf_counter(); import producer.client; print(time.perf_counter() - began)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    if ran.returncode:
        raise RuntimeError("there is no producer.client")
    return {"import_s": float(ran.stdout)}


def say(line: str) -> None:
    """To whoever watches."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
