"""The invariants after a drill, each with its figures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import redis

from config.settings import Settings
from jobs.events import LogEntry
from jobs.job import Job
from jobs.keyspace import PERMANENT_KEYS
from jobs.ledger import Ledger
from jobs.states import EDGES, State
from producer.service import Service
from worker.sql.engine import make_engine
from worker.sql.reading import Choice, rows

BESIDE_THE_STATE = frozenset(
    {"job.cancel_requested", "job.needs_attention", "job.bought_late", "job.bought_twice"}
    | {
        "delivery.succeeded",
        "delivery.failed",
        "delivery.abandoned",
        "job.fetched_late",
        "job.late_fetch_waits",
        "job.late_fetch_ended",
    }
    | {"job.described", "job.describe_waits", "job.describe_ended", "job.pruned"}
)
"""Events that are no transition of the state machine."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise, whether it was kept, and its figures."""

    promise: str
    kept: bool
    figure: str


def examine(
    service: Service,
    client: "redis.Redis",
    settings: Settings,
    accepted: Sequence[str],
    purchases: Mapping[str, int],
    deliveries: Path,
) -> Iterator[Invariant]:
    """Check every accepted job, every purchase, every file, every job log, every key."""
    of_requests = [job.id for job, _ in service.get_many(accepted)]
    job_logs = {job_id: list(service.events(job_id)) for job_id in of_requests}
    of_receipts = list(_other_jobs(job_logs))
    job_logs |= {job_id: list(service.events(job_id)) for job_id in of_receipts}
    jobs = {job.id: job for job, _ in service.get_many([*of_requests, *of_receipts])}
    yield _ended_once([*accepted, *of_receipts], jobs, job_logs)
    yield _bought_once(jobs, job_logs, purchases)
    yield _no_video_lost(jobs, settings)
    yield _none_stuck(jobs)
    yield _legal_paths(job_logs)
    yield _all_delivered(jobs, deliveries)
    yield _all_in_database(jobs, settings)
    yield _no_key_for_ever(client)


def _ended_once(
    accepted: Sequence[str], jobs: Mapping[str, Job], job_logs: Mapping[str, Sequence[LogEntry]]
) -> Invariant:
    ends = {
        job_id: sum(State(entry.state).is_final and entry.event not in BESIDE_THE_STATE for entry in entries)
        for job_id, entries in job_logs.items()
    }
    right = sum(count == 1 for count in ends.values())
    states = Counter(job.state.value for job in jobs.values())
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return Invariant("every accepted job ended once", right == len(accepted), f"{right} of {len(accepted)} ({counts})")


def _other_jobs(job_logs: Mapping[str, Sequence[LogEntry]]) -> Iterator[str]:
    """Yield the jobs that go on with another purchase of one of these."""
    for entries in job_logs.values():
        yield from (str(entry.data["job_id"]) for entry in entries if entry.event == "job.bought_twice")


def _bought_once(
    jobs: Mapping[str, Job], job_logs: Mapping[str, Sequence[LogEntry]], purchases: Mapping[str, int]
) -> Invariant:
    """Compare the upstream's purchases with the jobs that have a generation.

    The request ids of a job's purchases begin with its own id, also that of a purchase with which another job goes on.
    A job may be bought once, and again each time that somebody decided so.
    """
    per_job = Counter[str]()
    for request_id, count in purchases.items():
        per_job[request_id.rpartition(".")[0]] += count
    decided = {job_id: sum(e.event == "job.resubmitted" for e in entries) for job_id, entries in job_logs.items()}
    twice = [job_id for job_id, count in per_job.items() if count > 1 + decided.get(job_id, 0)]
    needed = sum(job.generation_id is not None for job in jobs.values())
    bought = sum(per_job.values())
    figure = f"{bought} bought, {needed} jobs have a generation, {len(twice)} paid twice"
    return Invariant("generations bought == jobs that needed one", bought == needed and not twice, figure)


def _no_video_lost(jobs: Mapping[str, Job], settings: Settings) -> Invariant:
    kept = [job for job in jobs.values() if job.stored is not None]
    completed = sum(job.state is State.COMPLETED for job in kept)
    bought = sum(job.generation_id is not None for job in jobs.values())
    there = sum(
        job.stored is not None and (settings.archive_dir / job.stored.path).stat().st_size == job.stored.size_bytes
        for job in kept
    )
    partials = len(list((settings.archive_dir / ".partial").glob("*")))
    files = sum(1 for _ in settings.archive_dir.glob("*/*/*/*.mp4"))
    figure = (
        f"{there} whole of {bought} bought ({completed} completed, {len(kept) - completed} fetched late), "
        f"{files} files under final names, {partials} partial left"
    )
    return Invariant("no video lost", there == bought == files, figure)


def _none_stuck(jobs: Mapping[str, Job]) -> Invariant:
    open_jobs = [job for job in jobs.values() if not job.is_final]
    figure = ", ".join(f"{job.id} {job.state}" for job in open_jobs[:5]) or "none"
    return Invariant("no job stuck", not open_jobs, f"{len(open_jobs)} unfinished ({figure})")


def _legal_paths(job_logs: Mapping[str, Sequence[LogEntry]]) -> Invariant:
    wrong = [step for entries in job_logs.values() for step in _illegal_steps(entries)]
    steps = sum(len(entries) for entries in job_logs.values())
    return Invariant(
        "job logs are legal paths of the state machine", not wrong, f"{steps} steps, {len(wrong)} illegal {wrong[:3]}"
    )


def _illegal_steps(entries: Sequence[LogEntry]) -> Iterator[str]:
    edges = [entry for entry in entries if entry.event not in BESIDE_THE_STATE]
    for before, after in pairwise(edges):
        if State(after.state) not in EDGES[State(before.state)] or after.turn <= before.turn:
            yield f"{before.state}@{before.turn} -> {after.state}@{after.turn}"


def _all_in_database(jobs: Mapping[str, Job], settings: Settings) -> Invariant:
    engine = make_engine(settings.sql_url, connections=1)
    stored = {row["id"]: row for row in rows(engine, Choice())}
    engine.dispose()
    ended = [job for job in jobs.values() if job.is_final]
    right = sum(
        job.id in stored and stored[job.id]["archive_path"] == (job.stored.path if job.stored else None)
        for job in ended
    )
    return Invariant("every end is a row in the database", right == len(ended), f"{right} of {len(ended)}")


def _all_delivered(jobs: Mapping[str, Job], deliveries: Path) -> Invariant:
    ended = [job for job in jobs.values() if job.is_final]
    files = [deliveries / job.id for job in ended]
    counts = [len(file.read_text().splitlines()) for file in files if file.exists()]
    again = sum(count > 1 for count in counts)
    figure = f"{len(counts)} of {len(ended)}, {again} more than once"
    return Invariant("every end was delivered to the hook", len(counts) == len(ended), figure)


def _no_key_for_ever(client: "redis.Redis") -> Invariant:
    unfinished = Ledger(client).unfinished()
    immortal = [
        key
        for key in cast("Iterator[str]", client.scan_iter(count=1000))
        if client.ttl(key) == -1 and not key.startswith(PERMANENT_KEYS) and key.rpartition(":")[2] not in unfinished
    ]
    return Invariant("no key without a TTL", not immortal, f"{len(immortal)} immortal {immortal[:3]}")
