"""Writes a run as Markdown between two markers of a page, so that nobody copies figures by hand."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ops.bench.bars import REFERENCE_US, bars, slowness
from ops.bench.results import Results, Scenario

BEGIN: Final = "<!-- bench:begin (written by make bench) -->"
END: Final = "<!-- bench:end -->"
QUIET: Final = 0.05
_MARK: Final = {True: "met", False: "**not met**", None: "-"}


def write_into(page: Path, results: Results) -> None:
    """Replace the text between the markers.

    Raises:
        ValueError: the page has no such markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the tables: {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}")


def markdown(results: Results) -> str:
    """Format the whole run."""
    parts = [
        _machine(results),
        *_lives(results),
        *_flight(results),
        *_paced(results),
        *_steady(results),
        *_recovery(results),
        *_bars(results),
        *_who(results),
    ]
    return "\n".join(parts)


def _machine(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    quick = (
        " **A quick run: its figures show that the bench works, not how fast anything is.**" if results.quick else ""
    )
    others = max((row.get("disturbed") or 0.0 for row in results.rows), default=0.0)
    noisy = (
        f" **Other processes used up to {others:.0%} of the worker's core: not a quiet machine.**"
        if others > QUIET
        else ""
    )
    return f"Measured on {machine}.{quick}{noisy}\n"


def _lives(results: Results) -> Iterator[str]:
    for scenario, heading in (
        (Scenario.LIVES, "### CPU per request\n\nWhole jobs (buy, 12 polls, store), as many as one core can do.\n"),
        (Scenario.FAR_LIVES, "The same, 100 ms away.\n"),
    ):
        rows = []
        for name in _measured(results, scenario):
            cost = results.range("cpu_us_per_request", scenario, name)
            rate = results.range("requests_per_s", scenario, name)
            assert cost is not None
            assert rate is not None
            rows.append((cost.median, [_title(results, name), cost.formatted(), rate.formatted()]))
        rows.sort(key=lambda row: row[0])
        if rows:
            yield heading
            yield _table(["", "µs CPU per request", "requests/s"], (cells for _, cells in rows))


def _flight(results: Results) -> Iterator[str]:
    for scenario, title in (
        (Scenario.FLIGHT, "Jobs in flight, polled every 10 s"),
        (Scenario.FAR, "The same, 100 ms away"),
        (Scenario.HANGING, "The same with a near upstream, one poll in a hundred never answered"),
    ):
        rows = [
            [_title(results, name), _wanted(results, scenario, name, jobs), *_in_flight(results, scenario, name, jobs)]
            for name in _measured(results, scenario)
            for jobs in results.loads(name, scenario)
        ]
        if rows:
            yield f"### {title}\n"
            heads = [
                "",
                "jobs",
                "of the core",
                "due polls done",
                "lateness p50",
                "p99",
                "µs per poll",
                "worker MB",
                "Redis MB",
            ]
            yield _table(heads, rows)


def _wanted(results: Results, scenario: Scenario, name: str, jobs: int) -> str:
    bought = results.median("bought", scenario, name, jobs=jobs)
    return f"{jobs:,}" if bought in {None, jobs} else f"{jobs:,}; {bought:,.0f} were bought in time"


def _in_flight(results: Results, scenario: Scenario, name: str, jobs: int) -> list[str]:
    def median(figure: str, digits: int, times: float = 1.0, unit: str = "") -> str:
        found = results.median(figure, scenario, name, jobs=jobs)
        return "-" if found is None else f"{found * times:,.{digits}f}{unit}"

    return [
        median("cpu_share", 0, 100, " %"),
        median("due_done", 0, 100, " %"),
        median("late_p50_s", 2, unit=" s"),
        median("late_p99_s", 2, unit=" s"),
        median("cpu_us_per_poll", 0),
        median("rss_bytes", 0, 1e-6),
        median("redis_bytes", 0, 1e-6),
    ]


def _paced(results: Results) -> Iterator[str]:
    rows = []
    for name in _measured(results, Scenario.PACED):
        for learned in (True, False):
            found = [
                results.range(figure, Scenario.PACED, name, learned=learned)
                for figure in ("cpu_ms_per_video", "polls_per_video", "late_mean_s", "late_p95_s")
            ]
            if found[0]:
                how = "learned" if learned else "fixed 10 s"
                rows.append([_title(results, name), how, *(part.formatted(2) if part else "-" for part in found)])
    if rows:
        yield "### A finished video\n\nLognormal around 120 s (sigma 0.3); times are scaled back to real time.\n"
        yield _table(["", "polls", "ms CPU per video", "polls per video", "mean lateness, s", "p95, s"], rows)


def _steady(results: Results) -> Iterator[str]:
    figures = (("cpu_ms_per_video", 1), ("polls_per_video", 1), ("late_mean_s", 1))
    rows = [
        [
            _title(results, name),
            f"{jobs:,}",
            *(_median(results, figure, Scenario.STEADY, name, jobs, digits) for figure, digits in figures),
        ]
        for name in _measured(results, Scenario.STEADY)
        for jobs in results.loads(name, Scenario.STEADY)
    ]
    if rows:
        yield "### In real time\n\nJobs come one by one, lognormal around 120 s (sigma 0.2).\n"
        yield _table(["", "in flight", "ms CPU per video", "polls per video", "mean lateness, s"], rows)


def _recovery(results: Results) -> Iterator[str]:
    for scenario, heading, figures in (
        (
            Scenario.BURST,
            "### A burst\n\nSeconds after the last poll of jobs that are done together.\n",
            ("stored_s", "told_s"),
        ),
        (
            Scenario.KILLED,
            "### kill -9\n\nSeconds after the only worker was killed; another starts at once.\n",
            ("first_poll_s", "half_s", "all_s"),
        ),
    ):
        rows = [
            [
                _title(results, name),
                f"{jobs:,}",
                *(_median(results, figure, scenario, name, jobs, 1) for figure in figures),
            ]
            for name in _measured(results, scenario)
            for jobs in results.loads(name, scenario)
        ]
        if rows:
            yield heading
            yield _table(["", "jobs", *(figure.removesuffix("_s").replace("_", " ") for figure in figures)], rows)


def _median(results: Results, figure: str, scenario: Scenario, name: str, jobs: int, digits: int) -> str:
    found = results.median(figure, scenario, name, jobs=jobs)
    return "-" if found is None else f"{found:,.{digits}f}"


def _bars(results: Results) -> Iterator[str]:
    yield "### The bars\n"
    slow = slowness(results)
    if slow:
        yield (
            f"Bars in seconds, rates and shares of a core were set on a reference machine, where a request of the bare "
            f"loop costs {REFERENCE_US} µs; here it costs {slow * REFERENCE_US:,.0f} µs, {slow:.2f} times as much. "
            f"The verdict uses the measured figures.\n"
        )
    yield _table(["bar", "figure", ""], ([bar.promise, bar.figure, _MARK[bar.met]] for bar in bars(results)))


def _who(results: Results) -> Iterator[str]:
    yield "### The contenders\n"
    rows = ([one["title"], one["versions"], one["how"], one["limit"]] for one in results.contenders.values())
    yield _table(["", "versions", "waits by", "limited by"], rows)
    failures = [row for row in results.rows if "failed" in row]
    if failures:
        yield "Not measured:\n"
        yield "\n".join(f"- {row['contender']}, {row['scenario']}: {row['failed']}" for row in failures) + "\n"


def _measured(results: Results, scenario: Scenario) -> list[str]:
    return list(dict.fromkeys(row["contender"] for row in results.of(scenario)))


def _title(results: Results, name: str) -> str:
    title = results.contenders[name]["title"]
    return f"**{title}**" if name == "rushes" else title


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
