"""One trial: fresh servers and workers; jobs are given; what the workers used and the upstream saw is noted."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ops.bench import meter
from ops.bench.contender import Course
from ops.bench.processes import Contender, Upstream, giving, memory_of, server, until, worker

WORKER_CORE: Final = 0
OTHER_CORE: Final = 1
FAR_SLOTS: Final = 1024
"""Where each request waits for the way, those that are tried there get as many as Rushes has by default."""

WARM_JOBS: Final = 30
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effort:
    """What the workers used between two moments."""

    took_s: float
    cpu_s: float
    rss_bytes: int
    disturbed: float
    """Share of the worker's core that others took: above a few per cent, rates and lateness are theirs as well."""


class Watch:
    """Measures from its making to each reading."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began, self._busy_s, self._cpu_s = time.monotonic(), meter.busy_s(WORKER_CORE), self._used()[0]

    def read(self) -> Effort:
        """The effort so far."""
        cpu_s, rss = self._used()
        cpu_s, took_s = cpu_s - self._cpu_s, time.monotonic() - self._began
        others_s = meter.busy_s(WORKER_CORE) - self._busy_s - cpu_s
        return Effort(took_s, cpu_s, rss, max(others_s / took_s, 0.0))

    def _used(self) -> tuple[float, int]:
        readings = [meter.read(pid) for pid in self._pids]
        return sum(one.cpu_s for one in readings), sum(one.rss_bytes for one in readings)


@dataclass(frozen=True, slots=True)
class Stage:
    """A trial under way."""

    contender: Contender
    course: Course
    upstream: Upstream
    pids: list[int]

    def fetched(self) -> int:
        """How many videos were fetched since the books were opened."""
        self.check()
        fetches: int = self.upstream.tally()["fetches"]
        return fetches

    @contextmanager
    def given(self, jobs: int) -> Iterator[None]:
        """Jobs come in, from a producer on the other core."""
        with giving(self.contender, self.course, jobs, OTHER_CORE):
            yield

    def check(self) -> None:
        """Say so at once if a worker is gone: there is no figure to wait for.

        Raises:
            RuntimeError: with the end of its log.
        """
        for number, pid in enumerate(self.pids):
            if not meter.lives(pid):
                log = (self.course.folder / f"worker-{number}.log").read_text(errors="replace")
                raise RuntimeError(f"a worker of {self.contender.name} ended: {log[-300:]}")

    def warm_up(self, jobs: int = WARM_JOBS) -> None:
        """A few short lives, until all code has run and all connections stand."""
        self.upstream.set(polls=2, interval_s=self.course.interval_s)
        with self.given(jobs):
            until(lambda: self.fetched() >= jobs, f"the warm-up of {self.contender.name}", step_s=0.1)


@contextmanager
def stage(contender: Contender, course: Course, *, workers: int = 1) -> Iterator[Stage]:
    """Everything runs: the first worker on its core, the servers on the other, further workers on the next ones."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        url = stack.enter_context(server(folder, OTHER_CORE))
        upstream = stack.enter_context(Upstream.started(folder, OTHER_CORE))
        course = replace(course, redis_url=url, upstream_url=upstream.url, folder=folder)
        pids = [
            stack.enter_context(worker(contender, course, WORKER_CORE + number, log=f"worker-{number}.log")).pid
            for number in range(workers)
        ]
        yield Stage(contender, course, upstream, pids)


def whole_lives(
    contender: Contender,
    *,
    jobs: int,
    polls: int,
    interval_s: float,
    cap_s: float,
    workers: int = 1,
    latency_s: float = 0.0,
) -> Row:
    """Buy, poll `polls` times, store: CPU for each request of whole lives, from an idle warm worker to the last video.

    More is asked for than a core of most can give, so that nobody is charged for idling; a contender that is not
    done when the time is up is charged for what it did.
    """
    course = Course(first_s=interval_s, interval_s=interval_s)
    if latency_s:
        course = replace(course, slots=FAR_SLOTS)
    with stage(contender, course, workers=workers) as on:
        on.warm_up()
        on.upstream.set(polls=polls, interval_s=interval_s, latency_s=latency_s)
        watch, give_up_at = Watch(on.pids), time.monotonic() + cap_s
        with on.given(jobs):
            while (tally := on.upstream.tally())["fetches"] < jobs and time.monotonic() < give_up_at:
                on.check()
                time.sleep(0.1)
        effort = watch.read()
    requests = tally["submits"] + tally["polls"]
    return {
        "jobs": jobs,
        "finished": tally["fetches"],
        "took_s": effort.took_s,
        "requests": requests,
        "requests_per_s": requests / effort.took_s,
        "cpu_us_per_request": effort.cpu_s / max(requests, 1) * 1e6,
        "cpu_share": effort.cpu_s / effort.took_s,
        "disturbed": effort.disturbed if workers == 1 else None,
    }


def in_flight(
    contender: Contender,
    *,
    jobs: int,
    interval_s: float,
    window_s: float,
    fill_s: float,
    latency_s: float = 0.0,
    hangs: int = 0,
) -> Row:
    """`jobs` jobs that never finish, polled at a fixed interval: share of the core, lateness, memory."""
    course = Course(first_s=interval_s, interval_s=interval_s)
    with stage(contender, course) as on:
        on.upstream.set(polls=0, render_s=1e9, interval_s=interval_s, latency_s=latency_s, hangs=hangs)
        with on.given(jobs):
            give_up_at = time.monotonic() + fill_s
            while (bought := on.upstream.tally()["submits"]) < jobs and time.monotonic() < give_up_at:
                on.check()
                time.sleep(0.2)
        time.sleep(interval_s + 1)
        on.upstream.open_books()
        watch = Watch(on.pids)
        time.sleep(window_s)
        on.check()
        tally, effort = on.upstream.tally(), watch.read()
        held = memory_of(on.course.redis_url)
    due = jobs * effort.took_s / (interval_s + latency_s)
    late = tally["poll_lateness_s"] or {}
    return {
        "jobs": jobs,
        "bought": bought,
        "latency_s": latency_s,
        "cpu_share": effort.cpu_s / effort.took_s,
        "cpu_us_per_poll": effort.cpu_s / tally["polls"] * 1e6 if tally["polls"] else None,
        "due_done": min(tally["polls"] / due, 1.0),
        "late_p50_s": late.get("p50"),
        "late_p99_s": late.get("p99"),
        "rss_bytes": effort.rss_bytes,
        "redis_bytes": held,
        "disturbed": effort.disturbed,
    }


def paced(contender: Contender, *, jobs: int, learned: bool, scale: float, cap_s: float) -> Row:
    """Videos that take a lognormal time around 120 s, scaled: CPU for each, and how late it is found.

    As many jobs again come first, unmeasured: contenders that learn how long a generation takes learn it from them.
    """
    course = Course(first_s=10 / scale, interval_s=10 / scale, learned=int(learned))
    terms = {"render_s": 120 / scale, "spread": 0.3, "interval_s": 10 / scale}
    with stage(contender, course) as on:
        on.upstream.set(**terms)
        with on.given(jobs):
            until(lambda: on.fetched() >= jobs, "the first videos", within_s=cap_s, step_s=0.2)
        on.upstream.set(**terms, seed=2)
        watch = Watch(on.pids)
        with on.given(jobs):
            until(lambda: on.fetched() >= jobs, "the videos", within_s=cap_s, step_s=0.2)
        effort, tally = watch.read(), on.upstream.tally()
    late = tally["video_lateness_s"]
    return {
        "jobs": jobs,
        "scale": scale,
        "learned": learned,
        "cpu_ms_per_video": effort.cpu_s / jobs * 1e3,
        "polls_per_video": tally["polls_per_video"],
        "late_mean_s": late["mean"] * scale,
        "late_p95_s": late["p95"] * scale,
        "disturbed": effort.disturbed,
    }


def soak(contender: Contender, *, minutes: float, per_s: float, render_s: float) -> list[Row]:
    """Jobs come and go at a steady rate: memory of worker and server, sampled while they do."""
    course = Course(first_s=5.0, interval_s=5.0)
    samples: list[Row] = []
    with stage(contender, course) as on:
        on.upstream.set(render_s=render_s, spread=0.2, interval_s=5.0)
        began, watch = time.monotonic(), Watch(on.pids)
        ends_at, lump = began + minutes * 60, max(1, round(per_s * 5))
        while time.monotonic() < ends_at:
            again_at = time.monotonic() + lump / per_s
            with giving(contender, on.course, lump, OTHER_CORE) as child:
                child.wait()
            time.sleep(max(0.0, again_at - time.monotonic()))
            tally, effort = on.upstream.tally(), watch.read()
            samples.append(
                {
                    "at_s": time.monotonic() - began,
                    "in_flight": tally["submits"] - tally["fetches"],
                    "rss_bytes": effort.rss_bytes,
                    "redis_bytes": memory_of(on.course.redis_url),
                }
            )
    return samples


def first_poll(contender: Contender) -> Row:
    """From a worker's start to its first poll, with one job that waits to be bought."""
    course = Course(first_s=0.0, interval_s=1.0)
    with stage(contender, course, workers=0) as on:
        on.upstream.set(render_s=1e9)
        with giving(contender, on.course, 1, OTHER_CORE) as child:
            child.wait()
        with worker(contender, on.course, WORKER_CORE):
            began = time.monotonic()  # not before: who the contender is, and its command, was asked first
            until(lambda: on.upstream.tally()["polls"], "the first poll", step_s=0.005)
            return {"start_s": time.monotonic() - began}
