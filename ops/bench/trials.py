"""The trials: each starts new servers and workers, submits jobs, and measures workers and upstream."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ops.bench import meter
from ops.bench.contender import RunConfig
from ops.bench.processes import Contender, Upstream, memory_of, server, submitting_jobs, until, worker

WORKER_CORE: Final = 0
OTHER_CORE: Final = 1
FAR_SLOTS: Final = 1024
"""Concurrent jobs of contenders with a far upstream: Rushes' default."""

WARM_JOBS: Final = 30
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the workers used in a period."""

    took_s: float
    cpu_s: float
    rss_bytes: int
    disturbed: float
    """Share of the worker's core that other processes used; above a few per cent it distorts rates and lateness."""


class UsageMeter:
    """Measures from its creation to each reading."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began, self._busy_s, self._cpu_s = time.monotonic(), meter.busy_s(WORKER_CORE), self._used()[0]

    def read(self) -> Usage:
        """Return the usage so far."""
        cpu_s, rss = self._used()
        cpu_s, took_s = cpu_s - self._cpu_s, time.monotonic() - self._began
        others_s = meter.busy_s(WORKER_CORE) - self._busy_s - cpu_s
        return Usage(took_s, cpu_s, rss, max(others_s / took_s, 0.0))

    def _used(self) -> tuple[float, int]:
        readings = [meter.read(pid) for pid in self._pids]
        return sum(one.cpu_s for one in readings), sum(one.rss_bytes for one in readings)


@dataclass(frozen=True, slots=True)
class Trial:
    """A running trial."""

    contender: Contender
    config: RunConfig
    upstream: Upstream
    pids: list[int]

    def fetched(self) -> int:
        """Count the videos fetched since the counters were reset."""
        self.check()
        fetches: int = self.upstream.counters()["fetches"]
        return fetches

    @contextmanager
    def submitted(self, jobs: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Submit jobs from a producer on the other core; yields its process."""
        with submitting_jobs(self.contender, self.config, jobs, OTHER_CORE) as child:
            yield child

    def check(self) -> None:
        """Fail at once if a worker has ended.

        Raises:
            RuntimeError: with the end of its log.
        """
        for number, pid in enumerate(self.pids):
            if not meter.is_alive(pid):
                log = (self.config.folder / f"worker-{number}.log").read_text(errors="replace")
                raise RuntimeError(f"a worker of {self.contender.name} ended: {log[-300:]}")

    def warm_up(self, jobs: int = WARM_JOBS) -> None:
        """Run a few short jobs, so that code is loaded and connections are open."""
        self.upstream.set(polls=2, interval_s=self.config.interval_s)
        with self.submitted(jobs):
            until(lambda: self.fetched() >= jobs, f"the warm-up of {self.contender.name}", step_s=0.1)


@contextmanager
def running_trial(contender: Contender, config: RunConfig, *, workers: int = 1) -> Iterator[Trial]:
    """Start a trial: the servers on one core, each worker on another."""
    with tempfile.TemporaryDirectory(prefix="rushes-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        url = stack.enter_context(server(folder, OTHER_CORE))
        upstream = stack.enter_context(Upstream.started(folder, OTHER_CORE))
        config = replace(config, redis_url=url, upstream_url=upstream.url, folder=folder)
        pids = [
            stack.enter_context(worker(contender, config, WORKER_CORE + number, log=f"worker-{number}.log")).pid
            for number in range(workers)
        ]
        yield Trial(contender, config, upstream, pids)


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
    """Measure CPU per request of whole jobs (buy, poll `polls` times, store), from a warm worker to the last video.

    The load exceeds what a core can do for most contenders, so that idle time does not count; a contender that has not
    finished in time is measured by what it did.
    """
    config = RunConfig(first_s=interval_s, interval_s=interval_s)
    if latency_s:
        config = replace(config, slots=FAR_SLOTS)
    with running_trial(contender, config, workers=workers) as trial:
        trial.warm_up()
        trial.upstream.set(polls=polls, interval_s=interval_s, latency_s=latency_s)
        usage_meter, give_up_at = UsageMeter(trial.pids), time.monotonic() + cap_s
        with trial.submitted(jobs):
            while (counters := trial.upstream.counters())["fetches"] < jobs and time.monotonic() < give_up_at:
                trial.check()
                time.sleep(0.1)
        usage = usage_meter.read()
    requests = counters["submits"] + counters["polls"]
    return {
        "jobs": jobs,
        "finished": counters["fetches"],
        "took_s": usage.took_s,
        "requests": requests,
        "requests_per_s": requests / usage.took_s,
        "cpu_us_per_request": usage.cpu_s / max(requests, 1) * 1e6,
        "cpu_share": usage.cpu_s / usage.took_s,
        "disturbed": usage.disturbed if workers == 1 else None,
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
    """Measure CPU, lateness and memory with `jobs` jobs that never finish, polled at a fixed interval."""
    config = RunConfig(first_s=interval_s, interval_s=interval_s)
    with running_trial(contender, config) as trial:
        trial.upstream.set(polls=0, render_s=1e9, interval_s=interval_s, latency_s=latency_s, hangs=hangs)
        with trial.submitted(jobs):
            give_up_at = time.monotonic() + fill_s
            while (bought := trial.upstream.counters()["submits"]) < jobs and time.monotonic() < give_up_at:
                trial.check()
                time.sleep(0.2)
        time.sleep(interval_s + 1)
        trial.upstream.reset_counters()
        usage_meter = UsageMeter(trial.pids)
        time.sleep(window_s)
        trial.check()
        counters, usage = trial.upstream.counters(), usage_meter.read()
        redis_bytes = memory_of(trial.config.redis_url)
    due = jobs * usage.took_s / (interval_s + latency_s)
    late = counters["poll_lateness_s"] or {}
    return {
        "jobs": jobs,
        "bought": bought,
        "latency_s": latency_s,
        "cpu_share": usage.cpu_s / usage.took_s,
        "cpu_us_per_poll": usage.cpu_s / counters["polls"] * 1e6 if counters["polls"] else None,
        "due_done": min(counters["polls"] / due, 1.0),
        "late_p50_s": late.get("p50"),
        "late_p99_s": late.get("p99"),
        "rss_bytes": usage.rss_bytes,
        "redis_bytes": redis_bytes,
        "disturbed": usage.disturbed,
    }


def paced(contender: Contender, *, jobs: int, learned: bool, scale: float, cap_s: float) -> Row:
    """Measure CPU and lateness per video, with scaled lognormal latencies around 120 s.

    The same number of jobs runs first, unmeasured, for contenders that learn how long a generation takes.
    """
    config = RunConfig(first_s=10 / scale, interval_s=10 / scale, learned=int(learned))
    terms = {"render_s": 120 / scale, "spread": 0.3, "interval_s": 10 / scale}
    with running_trial(contender, config) as trial:
        trial.upstream.set(**terms)
        with trial.submitted(jobs):
            until(lambda: trial.fetched() >= jobs, "the first videos", within_s=cap_s, step_s=0.2)
        trial.upstream.set(**terms, seed=2)
        usage_meter = UsageMeter(trial.pids)
        with trial.submitted(jobs):
            until(lambda: trial.fetched() >= jobs, "the videos", within_s=cap_s, step_s=0.2)
        usage, counters = usage_meter.read(), trial.upstream.counters()
    late = counters["video_lateness_s"]
    return {
        "jobs": jobs,
        "scale": scale,
        "learned": learned,
        "cpu_ms_per_video": usage.cpu_s / jobs * 1e3,
        "polls_per_video": counters["polls_per_video"],
        "late_mean_s": late["mean"] * scale,
        "late_p95_s": late["p95"] * scale,
        "disturbed": usage.disturbed,
    }


def steady(contender: Contender, *, jobs: int, render_s: float, interval_s: float, window_s: float) -> Row:
    """Measure CPU and lateness per video while jobs arrive one by one, so that about `jobs` are in flight."""
    config = RunConfig(first_s=interval_s, interval_s=interval_s, learned=1)
    with running_trial(contender, config) as trial:
        trial.upstream.set(render_s=render_s, spread=0.2, interval_s=interval_s)
        arrivals = _arrivals(trial, jobs / render_s)
        _run_for(arrivals, 1.5 * render_s)
        trial.upstream.reset_counters()
        usage_meter = UsageMeter(trial.pids)
        _run_for(arrivals, window_s)
        counters, usage = trial.upstream.counters(), usage_meter.read()
    late = counters["video_lateness_s"]
    return {
        "jobs": jobs,
        "videos": counters["fetches"],
        "cpu_ms_per_video": usage.cpu_s / counters["fetches"] * 1e3,
        "polls_per_video": counters["polls_per_video"],
        "late_mean_s": late["mean"],
        "cpu_share": usage.cpu_s / usage.took_s,
        "disturbed": usage.disturbed,
    }


def _arrivals(trial: Trial, per_s: float) -> Iterator[None]:
    """Submit jobs at a steady rate, in a batch for each step: one job, or the jobs of five seconds."""
    batch = max(1, round(per_s * 5))
    while True:
        again_at = time.monotonic() + batch / per_s
        with trial.submitted(batch) as child:
            child.wait()
        trial.check()
        time.sleep(max(0.0, again_at - time.monotonic()))
        yield


def _run_for(steps: Iterator[None], seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        next(steps)


def soak(contender: Contender, *, minutes: float, per_s: float, render_s: float) -> list[Row]:
    """Sample the memory of worker and server while jobs come and go at a steady rate."""
    config = RunConfig(first_s=5.0, interval_s=5.0)
    samples: list[Row] = []
    with running_trial(contender, config) as trial:
        trial.upstream.set(render_s=render_s, spread=0.2, interval_s=5.0)
        began, usage_meter = time.monotonic(), UsageMeter(trial.pids)
        for _ in _arrivals(trial, per_s):
            if time.monotonic() > began + minutes * 60:
                break
            counters, usage = trial.upstream.counters(), usage_meter.read()
            samples.append(
                {
                    "at_s": time.monotonic() - began,
                    "in_flight": counters["submits"] - counters["fetches"],
                    "rss_bytes": usage.rss_bytes,
                    "redis_bytes": memory_of(trial.config.redis_url),
                }
            )
    return samples


def first_poll(contender: Contender) -> Row:
    """Measure the time from a worker's start to its first poll, with one queued job."""
    config = RunConfig(first_s=0.0, interval_s=1.0)
    with running_trial(contender, config, workers=0) as trial:
        trial.upstream.set(render_s=1e9)
        with submitting_jobs(contender, trial.config, 1, OTHER_CORE) as child:
            child.wait()
        with worker(contender, trial.config, WORKER_CORE):
            began = time.monotonic()  # only now: `worker` first runs `about` to get the command
            until(lambda: trial.upstream.counters()["polls"], "the first poll", step_s=0.005)
            return {"start_s": time.monotonic() - began}
