"""Estimates when a job's video will be done, from the same durations that the workers schedule polls by."""

from typing import Final

from jobs.forecast import Eta, Forecast, Latency
from jobs.job import Job
from jobs.lessons import kind
from jobs.sketches import Sketches
from jobs.states import State

FRESH_S: Final = 10.0
"""Seconds for which a forecast is reused before the durations are read again."""


class Etas:
    """Estimates ETAs; caches the forecast of each kind for a few seconds, so that a long list costs a few reads."""

    def __init__(self, sketches: Sketches, *, typical_s: float) -> None:
        self._sketches = sketches
        self._typical = Latency.typical(typical_s)
        self._kept: dict[str, tuple[float, Forecast]] = {}

    def eta(self, job: Job, *, now: float) -> Eta | None:
        """Estimate the seconds until a poll finds the job's video done; None for a job that is not rendering."""
        if not _has_eta(job) or job.began_at is None:
            return None
        pending_at = job.began_at if job.pending_at is None else job.pending_at
        return self._forecast(kind(job), now).eta(
            max(now - job.began_at, 0.0),
            pending_at_s=max(pending_at - job.began_at, 0.0),
            next_poll_s=max((job.due_at or now) - now, 0.0),
        )

    def is_at_hand(self, job: Job, *, now: float) -> bool:
        """Whether the ETA comes from the cache, without a read from Redis."""
        return not _has_eta(job) or self._fresh(kind(job), now) is not None

    def _forecast(self, name: str, now: float) -> Forecast:
        forecast = self._fresh(name, now)
        if forecast is None:
            found = self._sketches.recall(name)
            forecast = Forecast(found.sketch, found.latency or self._typical, found.pending)
            self._kept[name] = (now, forecast)
        return forecast

    def _fresh(self, name: str, now: float) -> Forecast | None:
        read_at, forecast = self._kept.get(name, (0.0, None))
        return forecast if 0 <= now - read_at < FRESH_S else None


def _has_eta(job: Job) -> bool:
    return job.state is State.RENDERING and job.began_at is not None and job.rendered_at is None
