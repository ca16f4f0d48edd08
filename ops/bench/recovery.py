"""Trials of bursts and of killed workers: how soon everything is done."""

import time
from collections.abc import Callable
from typing import Final

import redis

from jobs.keyspace import PREFIX
from ops.bench.contender import RunConfig
from ops.bench.processes import Contender, until, worker
from ops.bench.trials import WORKER_CORE, Row, Trial, running_trial

WITHIN_S: Final = 180.0


def burst(contender: Contender, *, jobs: int, render_s: float, interval_s: float) -> Row:
    """Measure how long after its last poll a burst of jobs, all done at about the same time, is stored and told."""
    with running_trial(contender, RunConfig(first_s=interval_s, interval_s=interval_s)) as trial:
        trial.warm_up()
        trial.upstream.set(render_s=render_s, interval_s=interval_s)
        with trial.submitted(jobs):
            _until(trial, "finished", jobs)
            polled_at = time.monotonic()
            _until(trial, "fetches", jobs)
            stored_s = time.monotonic() - polled_at
            until(lambda: not _deliveries(trial.config.redis_url), "the deliveries", within_s=WITHIN_S)
            return {"jobs": jobs, "stored_s": stored_s, "told_s": time.monotonic() - polled_at}


def killed(contender: Contender, *, jobs: int, render_s: float, interval_s: float) -> Row:
    """Kill the only worker with -9 when the videos are about done, start another, and measure until all are stored."""
    with running_trial(contender, RunConfig(first_s=interval_s, interval_s=interval_s), workers=0) as trial:
        trial.upstream.set(render_s=render_s, interval_s=interval_s)
        with worker(contender, trial.config, WORKER_CORE, log="killed.log") as first, trial.submitted(jobs):
            _until(trial, "submits", jobs)
            _until(trial, "finished", 1)
            first.kill()
        killed_at, before = time.monotonic(), trial.upstream.counters()
        with worker(contender, trial.config, WORKER_CORE):
            row: Row = {"jobs": jobs, "stored_before": before["fetches"]}
            if before["finished"] < jobs:  # else one batch found all of a few, and no poll is due any more
                row["first_poll_s"] = _until(trial, "polls", before["polls"] + 1) - killed_at
            return row | {
                "half_s": _until(trial, "fetches", (jobs + before["fetches"]) // 2) - killed_at,
                "all_s": _until(trial, "fetches", jobs) - killed_at,
            }


def _until(trial: Trial, counter: str, count: int) -> float:
    """Wait until a counter of the upstream has reached `count`; return the time."""
    reached: Callable[[], bool] = lambda: trial.upstream.counters()[counter] >= count  # noqa: E731 (for its type)
    until(reached, f"{count} {counter}", within_s=WITHIN_S)
    return time.monotonic()


def _deliveries(url: str) -> int:
    """Count the deliveries that wait in Redis."""
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        return sum(int(client.zcard(key)) for key in client.scan_iter(f"{PREFIX}due:deliver:*"))
