"""Rushes: the real worker and producer, with all reliability features on."""

import os
import time
from typing import Final

from config.settings import load, variables
from jobs.job import Terms, VideoRequest
from ops.bench.contender import About, RunConfig
from ops.stack.recipe import ALLOCATOR
from producer.service import make_service

SCALED_FROM_S: Final = 10.0
"""The poll interval for which the settings' defaults are made."""


def environment(config: RunConfig) -> dict[str, str]:
    """Return the README's settings, but for addresses, polls, Flower's events, database and descriptions."""
    wanted = {
        "RUSHES_REDIS__URL": config.redis_url,
        "RUSHES_STATE_DIR": str(config.folder / "state"),
        "RUSHES_UPSTREAM__BASE_URL": config.upstream_url,
        "RUSHES_UPSTREAM__API_KEY": "bench-key",
        "RUSHES_LIMITS__IN_FLIGHT": "0",
        "RUSHES_POLL__FIRST_S": f"{config.first_s:g}",
        "RUSHES_POLL__INTERVAL_S": f"{config.interval_s:g}",
        "RUSHES_POLL__SCHEDULE": "learned" if config.learned else "fixed",
        **_schedule(SCALED_FROM_S / config.interval_s),
        "RUSHES_WORKER__TASK_EVENTS": "false",
        "RUSHES_SQL__ENABLED": "false",
        "RUSHES_DESCRIBE__PROBE": "false",  # no other contender inspects the videos
        "RUSHES_DESCRIBE__MANIFEST": "false",
        "RUSHES_DESCRIBE__PREVIEWS": "false",
        "RUSHES_LEDGER__RETENTION_S": "60",
    }
    return {**ALLOCATOR, **{name: value for name, value in wanted.items() if name in variables()}}


def _schedule(scale: float) -> dict[str, str]:
    """Scale the defaults of polls like the interval."""
    lateness_s = variables()["RUSHES_POLL__LATENESS_S"][0]
    return {"RUSHES_TIME_SCALE": f"{max(scale, 1):g}", "RUSHES_POLL__LATENESS_S": f"{lateness_s / scale:g}"}


ABOUT = About(
    title="Rushes",
    packages=("celery", "kombu", "redis", "pycurl"),
    how="the ledger's due index, woken by Celery countdowns; leases, job log and durable intent on",
    limit="one core of Python",
    worker=lambda _config: (
        *("-m", "celery", "-A", "worker.app", "worker", "-n", f"bench-{os.urandom(3).hex()}@%h"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    environment=environment,
)


def accept(count: int) -> dict[str, float]:
    """Measure accepted jobs per second: one by one, and in bulk."""
    service, requests = make_service(load(beside_up=False)), [_request(number) for number in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    for request in requests:
        service.submit(request)
    one_by_one_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    service.submit_many([(request, Terms()) for request in requests])
    return {
        "one_by_one_per_s": count / one_by_one_s,
        "cpu_us_per_job": cpu_s / count * 1e6,
        "in_bulk_per_s": count / (time.perf_counter() - began),
    }


def submit(count: int) -> None:
    """Submit jobs through the producer one by one."""
    service = make_service(load(beside_up=False))
    for number in range(count):
        service.submit(_request(number))


def _request(number: int) -> VideoRequest:
    return VideoRequest("google/veo3", f"take {number}", {"duration": 8})
