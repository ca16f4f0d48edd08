"""Estimates when a job's video will be done, from the same durations that the workers schedule polls by."""

import redis

from jobs.durations import DurationStore
from jobs.job import Job
from jobs.schedule import Durations, Eta
from jobs.states import State


class Etas:
    """Estimates ETAs; reads each kind's durations once in a few seconds, so that a long list costs a few reads."""

    def __init__(self, client: "redis.Redis", *, typical_s: float, lateness_s: float) -> None:
        self._durations: DurationStore[Durations] = DurationStore(client, lambda read: read, typical_s=typical_s)
        self._lateness_s = lateness_s

    def eta(self, job: Job, *, now: float) -> Eta | None:
        """Estimate the seconds until a poll finds the job's video done; None for a job that is not rendering."""
        if not _has_eta(job) or job.began_at is None:
            return None
        pending_at = job.began_at if job.pending_at is None else job.pending_at
        return self._durations.of(job, now=now).eta(
            max(now - job.began_at, 0.0),
            pending_at_s=max(pending_at - job.began_at, 0.0),
            lateness_s=self._lateness_s,
            next_poll_s=max((job.due_at or now) - now, 0.0),
        )

    def is_at_hand(self, job: Job, *, now: float) -> bool:
        """Whether the ETA comes from the cache, without a read from Redis."""
        return not _has_eta(job) or self._durations.is_at_hand(job, now=now)


def _has_eta(job: Job) -> bool:
    return job.state is State.RENDERING and job.began_at is not None and job.rendered_at is None
