"""What a finished job teaches about its kind: between which two polls it finished. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobs.forecast import MEMORY_JOBS, MEMORY_OF_FLIGHT, PACE_JOBS, Forecast
from jobs.job import Job

LIFE_S: Final = 90 * 86400.0
"""A sketch that nobody adds to for this many seconds is forgotten."""

SURE_OF_START: Final = 0.1
"""How much of the time until it was found may lie between the intent to buy and the receipt."""

WIDEST: Final = 2.0
"""Polls that are further apart than this factor of the time passed were not planned so: there was an outage."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Where a finished job's time goes in the sketch of its kind: shares by bucket, which sum to one."""

    kind: str
    shares: Mapping[int, float]
    took_s: float
    memory_jobs: float = MEMORY_JOBS
    memory_of_flight: float = MEMORY_OF_FLIGHT
    pace_jobs: float = PACE_JOBS
    life_s: float = LIFE_S


def lesson(job: Job, forecast: Forecast, *, now: float) -> Lesson | None:
    """What is learnt of a job that is found done now, or None if it would blur what is known.

    Nothing is learnt twice of one job (its URL had gone), nothing of one whose beginning is not known (it was found in
    the upstream's log, its receipt lay in a spool), and nothing across an outage of ours.
    """
    finished = _between(job, now)
    return Lesson(kind(job), forecast.lesson(*finished), took_s=finished[1]) if finished else None


def kind(job: Job) -> str:
    """The kind of a job: what its latency depends on."""
    return job.kind or job.model


def _between(job: Job, now: float) -> tuple[float, float] | None:
    """Seconds from the submission to the last poll that saw it pending, and to this one."""
    if job.rendered_at is not None or job.submitted_at is None:
        return None
    done_s = now - job.submitted_at
    unsure_s = job.submitted_at - (job.intent_at or job.submitted_at)
    if done_s <= 0 or not 0 <= unsure_s <= SURE_OF_START * done_s:
        return None
    if job.pending_at is None:
        late_s = now - (job.due_at or now)
        return (0.0, done_s) if job.polls == 0 and late_s <= SURE_OF_START * done_s else None
    pending_s = max(job.pending_at - job.submitted_at, 0.0)
    return (pending_s, done_s) if pending_s < done_s <= WIDEST * pending_s else None
