"""The performance bars of Rushes, judged by the figures of the same run."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from ops.bench.results import Results, Scenario

RUSHES, DEFAULTS, ARQ, BARE = "rushes", "rushes_defaults", "arq_defer", "bare_asyncio"
MANY, MOST, FEW = 10_000, 50_000, 1_000
CORES_OF_A_PAIR = 4
"""Two workers and the servers need this many cores."""

REFERENCE_US = 200
"""µs CPU per request of the bare loop on the reference machine, on which absolute bars were set."""

TWICE = 1.8
ENOUGH = 0.98
"""A contender keeps up if it makes this share of the due polls."""

UNHINDERED = 0.9
"""With an upstream 100 ms away, whole jobs must use this multiple of the core that they use with a near one."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `met` is None if this run did not measure it."""

    promise: str
    figure: str
    met: bool | None


def bars(results: Results) -> Iterator[Bar]:
    """Judge all bars, in the order of the documentation."""
    yield from _cpu(results, Scenario.LIVES, "CPU per request")
    yield from _paced(results)
    yield from _steady(results)
    yield from _recovery(results)
    yield from _in_flight(results)
    yield from _memory(results)
    yield from _accepting(results)
    yield _pair(results)
    yield from _far(results)
    yield _hanging(results)
    yield from _start(results)


def slowness(results: Results) -> float | None:
    """Return this machine's CPU per request of the bare loop, relative to the reference machine's."""
    bare = results.median("cpu_us_per_request", Scenario.LIVES, BARE)
    return bare / REFERENCE_US if bare else None


def _cpu(results: Results, scenario: Scenario, what: str) -> Iterator[Bar]:
    ours = results.median("cpu_us_per_request", scenario, RUSHES)
    for other, title, share in ((ARQ, "arq's", 0.6), (BARE, "the bare asyncio loop's", 2.5)):
        theirs = results.median("cpu_us_per_request", scenario, other)
        yield _ratio(f"{what} at most {share:g} x {title}", ours, theirs, share, "µs")


def _paced(results: Results) -> Iterator[Bar]:
    ours = results.median("cpu_ms_per_video", Scenario.PACED, RUSHES, learned=True)
    theirs = results.median("cpu_ms_per_video", Scenario.PACED, ARQ)
    yield _ratio("CPU per finished video at most 0.25 x arq's with fixed 10 s", ours, theirs, 0.25, "ms", digits=1)
    late = results.median("late_mean_s", Scenario.PACED, RUSHES, learned=True)
    own = results.median("late_mean_s", Scenario.PACED, RUSHES, learned=False)
    fixed = results.median("late_mean_s", Scenario.PACED, ARQ)
    least = min(filter(None, (own, fixed)), default=None)
    yield _ratio("… at no more mean lateness than fixed 10 s, arq's or ours", late, least, 1.0, "s", digits=2)


def _steady(results: Results) -> Iterator[Bar]:
    def cost(name: str, jobs: int) -> float | None:
        return results.median("cpu_ms_per_video", Scenario.STEADY, name, jobs=jobs)

    for jobs, share in ((100, 1.0), (10, 1.5)):
        promise = f"{jobs} in flight in real time: CPU per video at most {share:g} x arq's"
        yield _ratio(promise, cost(RUSHES, jobs), cost(ARQ, jobs), share, "ms", digits=1)
    promise = "… 100 in flight: at most 1.6 x the bare asyncio loop's"
    yield _ratio(promise, cost(RUSHES, 100), cost(BARE, 100), 1.6, "ms", digits=1)
    promise = "… 100 in flight: with all defaults at most 1.5 x without"
    yield _ratio(promise, cost(DEFAULTS, 100), cost(RUSHES, 100), 1.5, "ms", digits=1)


def _recovery(results: Results) -> Iterator[Bar]:
    told = results.median("told_s", Scenario.BURST, DEFAULTS)
    yield _most("a burst of 1,500 is stored and told within 5 s of its last poll", told, 5, "s", digits=1)
    for figure, title, limit in (
        ("first_poll_s", "the first overdue poll within 15 s", 15),
        ("half_s", "half stored within 12 s", 12),
        ("all_s", "all within 16 s", 16),
    ):
        found = results.median(figure, Scenario.KILLED, RUSHES)
        yield _most(f"after kill -9 of the only worker with 500 in flight: {title}", found, limit, "s", digits=1)


def _in_flight(results: Results) -> Iterator[Bar]:
    share, late = (_of_full_flight(results, figure, MANY) for figure in ("cpu_share", "late_p99_s"))
    yield _most(
        "10,000 jobs in flight: at most 20 % of the core", share and share * 100, 20, "%", slow=slowness(results)
    )
    yield _most("… p99 lateness at most 0.5 s", late, 0.5, "s", digits=3)
    done = _of_full_flight(results, "due_done", MOST)
    yield _least("50,000 jobs in flight: it keeps up (98 % of due polls)", done and done * 100, ENOUGH * 100, "%")
    few, most = (_of_full_flight(results, "cpu_us_per_poll", jobs) for jobs in (FEW, MOST))
    yield _ratio("the cost of a poll does not grow from 1,000 to 50,000", most, few, 1.0, "µs")


def _of_full_flight(results: Results, figure: str, jobs: int) -> float | None:
    """Return a figure of a trial in which all jobs were bought; otherwise it includes the cost of buying."""
    return results.median(figure, Scenario.FLIGHT, RUSHES, jobs=jobs, bought=jobs)


def _memory(results: Results) -> Iterator[Bar]:
    for figure, title, limit in (("rss_bytes", "worker", 1024), ("redis_bytes", "Redis, job log included,", 3584)):
        yield _most(f"{title} memory per job in flight at most {limit:,} B", _each(results, figure), limit, "B")
    samples = list(results.of(Scenario.SOAK, RUSHES))
    for figure, title in (("rss_bytes", "worker"), ("redis_bytes", "Redis")):
        grown = _growth([sample[figure] for sample in samples])
        yield _most(f"{title} memory flat over the soak: grows by 2 % at most", grown, 2.0, "%", digits=1)


def _each(results: Results, figure: str) -> float | None:
    """Return the memory per job: the slope between the fewest and the most jobs in flight."""
    found = [
        (jobs, size) for jobs in results.loads(RUSHES) if (size := _of_full_flight(results, figure, jobs)) is not None
    ]
    if not found or found[-1][0] - found[0][0] < FEW:  # over fewer jobs, the slope is the interpreter's warm-up
        return None
    (few, low), *_, (many, high) = found
    return (high - low) / (many - few)


def _growth(samples: list[float]) -> float | None:
    """Return the growth from the second quarter, when all is warm, to the last, in per cent."""
    quarter = len(samples) // 4
    if not quarter:
        return None
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return (statistics.median(late) / statistics.median(early) - 1) * 100


def _accepting(results: Results) -> Iterator[Bar]:
    one = results.median("one_by_one_per_s", Scenario.ACCEPT, RUSHES)
    yield _least("accepting one by one: at least 2,000 jobs/s", one, 2000, "/s", slow=slowness(results))
    bulk = results.median("in_bulk_per_s", Scenario.ACCEPT, RUSHES)
    yield _least("accepting in bulk: at least 8,000 jobs/s", bulk, 8000, "/s", slow=slowness(results))


def _pair(results: Results) -> Bar:
    """Compare one worker with two: by rate, or by CPU if the second worker shares its core with the servers."""
    crowded = int(results.machine.get("cores", 0)) < CORES_OF_A_PAIR
    figure, unit = ("cpu_us_per_request", " µs CPU per request") if crowded else ("requests_per_s", "/s")
    one = results.median(figure, Scenario.PAIR, RUSHES, workers=1)
    two = results.median(figure, Scenario.PAIR, RUSHES, workers=2)
    promise = "two workers on two cores finish at least 1.8 x what one finishes"
    if not one or not two:
        return Bar(promise, "not measured", None)
    times = 2 * one / two if crowded else two / one
    by = "by CPU, the second shares its core with the servers: " if crowded else ""
    return Bar(promise, f"{by}{times:.2f} x ({two:,.0f}{unit} against {one:,.0f}{unit})", times >= TWICE)


def _far(results: Results) -> Iterator[Bar]:
    yield from _cpu(results, Scenario.FAR_LIVES, "upstream 100 ms away: CPU per request")
    near = results.median("cpu_share", Scenario.PAIR, RUSHES, workers=1)
    far = results.median("cpu_share", Scenario.FAR_LIVES, RUSHES)
    times = far / near if far and near else None
    promise = "… whole jobs use up the core as with a near upstream, at least 0.9 x: nothing else limits them"
    yield _least(promise, times, UNHINDERED, "x", digits=2)
    late = results.median("late_p99_s", Scenario.FAR, RUSHES, jobs=MANY, bought=MANY)
    yield _most("… 10,000 jobs in flight: p99 lateness at most 0.5 s", late, 0.5, "s", digits=3)
    for jobs in (MANY, MOST):
        done = results.median("due_done", Scenario.FAR, RUSHES, jobs=jobs, bought=jobs)
        promise = f"… {jobs:,} jobs in flight: it keeps up (98 % of due polls)"
        yield _least(promise, done and done * 100, ENOUGH * 100, "%")


def _hanging(results: Results) -> Bar:
    done = results.median("due_done", Scenario.HANGING, RUSHES, jobs=MANY, bought=MANY)
    promise = "one poll in a hundred never answered: with 10,000 jobs in flight it keeps up (98 % of due polls)"
    return _least(promise, done and done * 100, ENOUGH * 100, "%")


def _start(results: Results) -> Iterator[Bar]:
    slow, started = slowness(results), results.median("start_s", Scenario.START, RUSHES)
    yield _most("start of a worker to its first poll under 1.5 s", started, 1.5, "s", digits=2, slow=slow)
    took = results.median("import_s", Scenario.IMPORT, RUSHES)
    yield _most("import of producer.client under 150 ms", took and took * 1000, 150, "ms", slow=slow)


def _most(
    promise: str, figure: float | None, limit: float, unit: str, *, digits: int = 0, slow: float | None = None
) -> Bar:
    if figure is None:
        return Bar(promise, "not measured", None)
    reference = _at_reference(slow and figure / slow, unit, digits)
    return Bar(promise, f"{figure:,.{digits}f} {unit}{reference}", figure <= limit)


def _least(
    promise: str, figure: float | None, limit: float, unit: str, *, digits: int = 1, slow: float | None = None
) -> Bar:
    if figure is None:
        return Bar(promise, "not measured", None)
    reference = _at_reference(slow and figure * slow, unit, digits)
    return Bar(promise, f"{figure:,.{digits}f} {unit}{reference}", figure >= limit)


def _at_reference(figure: float | None, unit: str, digits: int) -> str:
    """Format the figure scaled to the reference machine; the verdict uses the measured one."""
    return f" (on the reference machine {figure:,.{digits}f} {unit})" if figure else ""


def _ratio(promise: str, ours: float | None, theirs: float | None, share: float, unit: str, *, digits: int = 0) -> Bar:
    if not ours or not theirs:
        return Bar(promise, "not measured", None)
    figure = f"{ours / theirs:.2f} x ({ours:,.{digits}f} against {theirs:,.{digits}f} {unit})"
    return Bar(promise, figure, ours <= share * theirs)
