"""The cost and completeness of delivery: many jobs with one worker, archive, database and webhook receiver.

    python -m ops.bench.volume --jobs 2000

The same jobs run twice: without receivers, and with the database of results and a webhook endpoint. The difference is
the cost of delivery. The endpoint answers every fiftieth request with 500, so that there are duplicates.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer

from config.settings import Settings, load
from jobs.job import Job, Terms, VideoRequest
from jobs.states import State
from ops.bench.endpoint import Endpoint
from ops.chaos.deployment import Deployment
from ops.stack.recipe import HOST, free_port
from producer.receivers import make_receivers
from producer.service import make_service
from producer.webhooks import make_webhooks
from worker.sql.engine import make_engine
from worker.sql.reading import Choice, rows

SETTLES_WITHIN_S: Final = 600.0
STEP_S: Final = 0.25
KEY: Final = "a key that only this benchmark uses"


@dataclass
class OneWorker(Deployment):
    """The drill's deployment with one worker and without faults."""

    delivered: bool = True
    with_faults: bool = False

    def environment(self) -> dict[str, str]:
        """Return the drill's settings with quick retries, so that the run ends soon."""
        return {
            **super().environment(),
            "RUSHES_HOOKS__CALL": "",
            "RUSHES_SQL__ENABLED": str(self.delivered).lower(),
            "RUSHES_WEBHOOKS__KEYS": KEY,
            "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true",
            "RUSHES_WEBHOOKS__RETRY_S": "1,1,1,1,1,1",
            "RUSHES_POLL__SCHEDULE": "fixed",  # learned ones assume real latencies, and the sandbox is much faster
            "RUSHES_POLL__DEADLINE_S": "1000",
            "RUSHES_RECONCILE__QUIET_S": "3600",
            "RUSHES_WORKER__THREADS": "16",
            "RUSHES_LOG__LEVEL": "WARNING",
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its duration, the worker's CPU, and what did not arrive."""

    jobs: int
    wall_s: float
    cpu_s: float
    broken: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        """Format as a line."""
        rate, cpu_ms = self.jobs / self.wall_s, 1000 * self.cpu_s / self.jobs
        return f"{rate:7.1f} videos/s  {cpu_ms:6.2f} ms worker CPU per video  {self.note}"


def volume(jobs: Annotated[int, typer.Option(min=1, help="How many jobs.")] = 2000) -> None:
    """Run both, print the costs; exit 1 if anything did not arrive."""
    bare = _run(jobs, delivered=False)
    _say(f"no receivers      {bare}")
    delivered = _run(jobs, delivered=True)
    _say(f"database, webhook {delivered}")
    _say(f"delivery costs {1000 * (delivered.cpu_s - bare.cpu_s) / jobs:.2f} ms worker CPU per video")
    for broken in (*bare.broken, *delivered.broken):
        _say(f"BROKEN  {broken}")
    raise typer.Exit(int(bool(bare.broken or delivered.broken)))


def _run(jobs: int, *, delivered: bool) -> Run:
    folder = Path(tempfile.mkdtemp(prefix="rushes-volume-"))
    deployment = OneWorker(folder, 1, random.Random(1), log=_say, delivered=delivered)  # noqa: S311 (unused: no faults)
    try:
        with deployment.open(), _endpoint(folder, delivered=delivered) as endpoint:
            return _measured(deployment, endpoint, jobs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(deployment: OneWorker, endpoint: Endpoint | None, jobs: int) -> Run:
    settings = load(beside_up=False)
    service, receivers = make_service(settings), make_receivers(settings)
    worker = psutil.Process(deployment.workers[0].pid)
    before, began = _cpu_s(worker), time.monotonic()
    requests = [(VideoRequest("google/veo3", f"take {n}", {"duration": 4}), Terms()) for n in range(jobs)]
    ids = [answer.job_id for answer in service.submit_many(requests) if not isinstance(answer, Exception)]
    while time.monotonic() - began < SETTLES_WITHIN_S:
        ended = service.counts()[State.COMPLETED] == jobs
        if ended and not service.follow_ups() and not receivers.waiting():
            break
        time.sleep(STEP_S)
    wall_s, cpu_s = time.monotonic() - began, _cpu_s(worker) - before
    broken = [*_stored(settings, service.get_many(ids)), *(_undelivered(settings, endpoint, ids) if endpoint else ())]
    return Run(jobs, wall_s, cpu_s, tuple(broken), endpoint.note() if endpoint else "")


def _stored(settings: Settings, found: list[tuple[Job, VideoRequest]]) -> Iterator[str]:
    missing = [job.id for job, _ in found if not (job.stored and (settings.archive_dir / job.stored.path).is_file())]
    if missing:
        yield f"{len(missing)} of {len(found)} jobs have no video in the archive"


def _undelivered(settings: Settings, endpoint: Endpoint, ids: list[str]) -> Iterator[str]:
    engine = make_engine(settings.sql_url, connections=1)
    in_database = {row["id"] for row in rows(engine, Choice())}
    engine.dispose()
    if in_database != set(ids):
        yield f"{len(set(ids) - in_database)} jobs have no row in the database"
    messages: dict[str, set[str]] = defaultdict(set)
    for job_id, message_id in endpoint.received():
        messages[job_id].add(message_id)
    if set(messages) != set(ids):
        yield f"{len(set(ids) - set(messages))} jobs were never delivered to the endpoint"
    several = sum(len(ids_of_job) > 1 for ids_of_job in messages.values())
    if several:
        yield f"{several} jobs were delivered under more than one webhook-id"
    if endpoint.forged():
        yield f"{endpoint.forged()} requests could not be verified"


@contextmanager
def _endpoint(folder: Path, *, delivered: bool) -> Iterator[Endpoint | None]:
    if not delivered:
        yield None
        return
    webhooks, port = make_webhooks(load(beside_up=False)), free_port()
    added = webhooks.add(f"http://{HOST}:{port}/hook")
    with Endpoint.started(folder, port, webhooks.secrets(added.id).current) as endpoint:
        yield endpoint


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(volume)
