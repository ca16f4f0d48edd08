"""`make bench`: its options and its output."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from config.open_files import allow
from ops.bench.bars import bars
from ops.bench.contender import names
from ops.bench.harness import FULL, MINIATURE, QUICK, Bench, say
from ops.bench.processes import ROOT, Contender
from ops.bench.report import write_into
from ops.bench.results import Results, Scenario

PLOTS: Final = ROOT / "docs" / "explanation" / "performance"
FILES: Final = 65_536
"""Open files per process, so that no contender is limited by the shell's ulimit."""
SIZES: Final = {"full": FULL, "quick": QUICK, "miniature": MINIATURE}


def main(
    *,
    size: Annotated[str, typer.Option(help="full, quick (a few minutes) or miniature (for tests).")] = "full",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured; the contenders alternate.")] = 3,
    only: Annotated[str, typer.Option(help="Contenders by file name, comma-separated; empty: all.")] = "",
    scenarios: Annotated[str, typer.Option(help="Scenarios, comma-separated; empty: all.")] = "",
    minutes: Annotated[float, typer.Option(min=0, help="How long the soak lasts; 0: none.")] = 20.0,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another Python interpreter, for contenders that ours lacks.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results and plots.")] = PLOTS,
    page: Annotated[Path | None, typer.Option(help="The page whose tables are replaced; default: none.")] = None,
) -> None:
    """Measure, write the JSON after each trial, and at the end the tables, the plots and the bars."""
    allow(FILES)
    out.mkdir(parents=True, exist_ok=True)
    results = Results(_machine(), quick=size != "full")
    pythons = [sys.executable, *(str(Path(python).absolute()) for python in beside or [])]
    contenders = _available(only.split(",") if only else names(), pythons, results)
    wanted = frozenset(map(Scenario, scenarios.split(","))) if scenarios else frozenset(Scenario)
    bench = Bench(results, contenders, SIZES[size], rounds, out / "results.json", wanted)
    bench.run(minutes)
    report(results, out, page, pythons)


def report(results: Results, out: Path, page: Path | None, pythons: list[str]) -> None:
    """Write tables and plots, and print the bars."""
    if page is not None:
        write_into(page, results)
    if not any(_drawn(python, out) for python in pythons):
        say("no plots: matplotlib is in none of the environments")
    judged = list(bars(results))
    for bar in judged:
        if bar.met is not None:
            say(f"{'met    ' if bar.met else 'NOT MET'}  {bar.promise}: {bar.figure}")
    say(f"not run: {sum(bar.met is None for bar in judged)} of {len(judged)} bars")


def _drawn(python: str, out: Path) -> bool:
    command = [python, "-m", "ops.bench.plots", str(out / "results.json"), str(out)]
    return subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0  # noqa: S603 (our own)


def _available(wanted: list[str], pythons: list[str], results: Results) -> dict[str, Contender]:
    """Find the contenders that can run, each in the first environment with its packages."""
    available = {}
    for name in wanted:
        one = next(filter(None, (Contender.described(name, python) for python in pythons)), None)
        if one is None:
            say(f"{name} is skipped: its packages are not installed")
            continue
        available[name] = one
        results.contenders[name] = {"title": one.title, "versions": one.versions, "how": one.how, "limit": one.limit}
    return available


def _machine() -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "on": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }


if __name__ == "__main__":
    typer.run(main)
