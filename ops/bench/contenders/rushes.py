"""Rushes: the real worker with all its reliability on, given jobs by the real producer."""

import os
import time
from typing import Final

from config.settings import load, variables
from jobs.job import VideoRequest
from ops.bench.contender import About, Course
from producer.service import make_service

SCALED_FROM_S: Final = 10.0
"""The interval that the settings' defaults go with."""


def environment(course: Course) -> dict[str, str]:
    """A deployment as the README starts it, but for addresses, the pace of looks and no events for a Flower."""
    told = {
        "RUSHES_REDIS__URL": course.redis_url,
        "RUSHES_STATE_DIR": str(course.folder / "state"),
        "RUSHES_UPSTREAM__BASE_URL": course.upstream_url,
        "RUSHES_UPSTREAM__API_KEY": "bench-key",
        "RUSHES_LOOK__FIRST_S": f"{course.first_s:g}",
        "RUSHES_LOOK__INTERVAL_S": f"{course.interval_s:g}",
        "RUSHES_LOOK__PACING": "learned" if course.learned else "fixed",
        **_pacing(SCALED_FROM_S / course.interval_s),
        "RUSHES_WORKER__TASK_EVENTS": "false",
        "RUSHES_LEDGER__RETENTION_S": "60",
    }
    return {name: value for name, value in told.items() if name in variables()}


def _pacing(scale: float) -> dict[str, str]:
    """The defaults of learned looks, as much faster than life as the interval is."""
    names = ("LATENESS_S", "SHORTEST_S", "LONGEST_S", "TYPICAL_S")
    defaults = {name: variables().get(f"RUSHES_LOOK__{name}", (0.0, ""))[0] for name in names}
    return {f"RUSHES_LOOK__{name}": f"{default / scale:g}" for name, default in defaults.items()}


def accept(count: int) -> dict[str, float]:
    """Jobs a second that this process gets accepted: one by one, and many in a call where there is such a call."""
    service, orders = make_service(load(beside_up=False)), [_order(number) for number in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    for order in orders:
        service.submit(order)
    alone = {
        "one_by_one_per_s": count / (time.perf_counter() - began),
        "cpu_us_per_job": (time.process_time() - cpu) / count * 1e6,
    }
    many = getattr(service, "submit_many", None)
    if many is None:
        return alone
    began = time.perf_counter()
    many(orders)
    return {**alone, "in_bulk_per_s": count / (time.perf_counter() - began)}


ABOUT = About(
    title="Rushes",
    packages=("celery", "kombu", "redis", "requests"),
    how="the ledger's due index, Celery countdowns as its alarm clock; leases, journal, durable intent on",
    limit="one core of Python",
    worker=lambda _course: (
        *("-m", "celery", "-A", "worker.app", "worker", "-n", f"bench-{os.urandom(3).hex()}@%h"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ),
    environment=environment,
)


def give(count: int) -> None:
    """Through the producer, one by one, as a backend would."""
    service = make_service(load(beside_up=False))
    for number in range(count):
        service.submit(_order(number))


def _order(number: int) -> VideoRequest:
    return VideoRequest("google/veo3", f"take {number}", {"duration": 8})
