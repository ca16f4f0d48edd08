"""Stores and reads how long the generations of each kind took.

    rushes:durations:<kind>   list   the newest intervals: last pending poll, found (s), found at    90 days

The `apply` script that moves a found job adds its interval, so each job counts once.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import redis

from jobs.errors import JobError
from jobs.job import Job
from jobs.keyspace import PREFIX
from jobs.schedule import KEPT, Age, Durations, Interval, kind
from jobs.scripts import asks_redis
from jobs.states import State

LIFE_S: Final = 90 * 86400.0
"""The durations of a kind that is not used for this many seconds are forgotten."""

FRESH_S: Final = 10.0
"""Seconds until durations are read again."""

SAMPLE: Final = 256
"""Of pending jobs this many are read, each standing for its share of all."""

MOST_KINDS: Final = 1000
"""A process that runs for months must not collect kinds."""

T = TypeVar("T")
_Ages = dict[str, list[Age]]


class DurationStore(Generic[T]):
    """Makes something of the durations of each kind, and keeps it until they are to be read again."""

    def __init__(self, client: "redis.Redis", make: Callable[[Durations], T], *, typical_s: float) -> None:
        """Assume `typical_s` where nothing is known."""
        self._redis = client
        self._make = make
        self._typical_s = typical_s
        self._made: dict[str, tuple[float, T]] = {}
        self._ages: tuple[float, _Ages] | None = None

    def of(self, job: Job, *, now: float) -> T:
        """Return what is made of the durations of the job's kind; while Redis is away, what was made before."""
        name, old = kind(job), self._made.get(kind(job))
        if old is None or not _is_fresh(old[0], now):
            if len(self._made) >= MOST_KINDS:
                self._made.clear()
            # Other threads go on with the old one while this one reads.
            self._made[name] = now, old[1] if old else self._make(Durations.of((), (), typical_s=self._typical_s))
            with suppress(JobError):
                self._made[name] = now, self._make(self._read(name, now))
        return self._made[name][1]

    def is_at_hand(self, job: Job, *, now: float) -> bool:
        """Whether `of` needs no read from Redis."""
        old = self._made.get(kind(job))
        return old is not None and _is_fresh(old[0], now)

    @asks_redis
    def _read(self, name: str, now: float) -> Durations:
        intervals = filter(None, map(_interval, self._redis.lrange(f"{PREFIX}durations:{name}", 0, KEPT - 1)))
        if self._ages is None or not _is_fresh(self._ages[0], now):
            self._ages = now, self._sampled()
        return Durations.of(tuple(intervals), self._ages[1].get(name, ()), typical_s=self._typical_s)

    def _sampled(self) -> _Ages:
        """Read the ages of a sample of all pending jobs at their last poll, by kind."""
        key = f"{PREFIX}due:{State.RENDERING}"
        ids = list(map(str, self._redis.zrandmember(key, SAMPLE) or []))
        pipe, found = self._redis.pipeline(transaction=False), _Ages()
        pipe.zcard(key)
        for job_id in ids:
            pipe.hmget(f"{PREFIX}job:{job_id}", "kind", "submitted_at", "pending_at", "rendered_at")
        in_flight, *rows = pipe.execute()
        for name, *times in rows:
            if age := _age(times, jobs=max(in_flight / len(ids), 1.0)):
                found.setdefault(name, []).append(age)
        return found


def to_script(job: Job, took: Interval) -> dict[str, Any]:
    """Return the arguments by which the `apply` script keeps a duration."""
    text = " ".join(f"{number:.3f}" for number in took)
    return {"kind": kind(job), "interval": text, "kept": KEPT, "life_ms": int(LIFE_S * 1000)}


def _is_fresh(read_at: float, now: float) -> bool:
    return 0 <= now - read_at < FRESH_S


def _interval(text: str | bytes) -> Interval | None:
    try:
        pending_s, found_s, found_at = map(float, text.split())
    except ValueError:
        return None
    return Interval(pending_s, found_s, found_at)


def _age(times: Sequence[str | None], *, jobs: float) -> Age | None:
    """Return the age, unless no poll saw the job pending, or its video was found already."""
    submitted_at, pending_at, rendered_at = (float(time) if time else 0.0 for time in times)
    pending_s = pending_at - submitted_at
    return Age(submitted_at, pending_s, jobs) if submitted_at and pending_s > 0 and not rendered_at else None
