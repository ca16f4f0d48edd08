"""Looks are shared: whoever wakes takes every generation whose look is due, and writes all of them back at once.

The due index is the diary, Celery's countdown the alarm clock. An alarm stands for a slot of time, not for a job: a job
whose next look falls into a slot whose alarm is set needs none of its own, so that in a crowd messages grow with time
and not with jobs. What is taken is on lease by its due time: if the taker dies, it is due again, and whoever wakes next
takes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from jobs.job import Job
from jobs.keyspace import PREFIX
from jobs.row import job_from
from jobs.scripts import Scripts, asks_redis, spelt
from jobs.states import State

EARLY_S: Final = 0.02
"""An alarm that rings this much too soon takes its looks all the same."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A reminder to send: the job that it names, and in how many seconds it must ring."""

    job_id: str
    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The looks that whoever woke has to make. `more` is due as well: another reminder lets others help."""

    at: float
    jobs: Sequence[Job]
    more: Alarm | None


@dataclass(frozen=True, slots=True)
class Look:
    """One look that found nothing new: what it saw, and in how many seconds the next one is due."""

    job: Job
    seen: str
    seconds: float


class Looks:
    """The looks of the whole fleet.

    Raises:
        LedgerUnavailable: Redis could not be asked; what was taken is due again when its lease ends.
    """

    def __init__(self, scripts: Scripts, *, slot_s: float) -> None:
        self._scripts = scripts
        self._slot_s = slot_s

    @asks_redis
    def take(self, *, limit: int, lease_s: float, per_s: float | None = None) -> Taken:
        """Take up to `limit` looks that are due by now, for `lease_s`; the fleet takes at most `per_s` a second."""
        at, rows, *more = self._scripts.run("looks", limit=limit, lease_s=lease_s, per_s=per_s, early_s=EARLY_S)
        jobs = [job_from(dict(zip(row[::2], row[1::2], strict=True))) for row in rows]
        return Taken(float(at), jobs, next((Alarm(id_, int(turn), float(wait_s)) for id_, turn, wait_s in more), None))

    @asks_redis
    def again(self, looks: Sequence[Look]) -> list[Alarm]:
        """Write down looks that found nothing new, in one round trip; returns the alarms that have to be set.

        A look whose job has moved on meanwhile leaves no trace.
        """
        told = [{"seen": look.seen, "wait_s": round(look.seconds, 3)} for look in looks]
        spelling = [
            [look.job.id, look.job.turn, look.seconds, spelt(data)] for look, data in zip(looks, told, strict=True)
        ]
        flat = self._scripts.run("looked", slot_s=self._slot_s, looks=spelling)
        alarms = []
        for look, data, turn, rings_in in zip(looks, told, flat[::2], flat[1::2], strict=True):
            if turn:
                self._scripts.tell("job.looked", look.job.id, turn, data)
            if rings_in is not None:
                alarms.append(Alarm(look.job.id, turn, float(rings_in)))
        return alarms

    @asks_redis
    def hold(self, jobs: Iterable[Job], *, lease_s: float) -> None:
        """Keep looks that are still under way from being taken by others for `lease_s` more."""
        until = self._scripts.now() + lease_s
        names = {job.id: until for job in jobs}
        if names:
            self._scripts.redis.zadd(f"{PREFIX}due:{State.RENDERING}", names, xx=True)

    @asks_redis
    def overdue(self, *, grace_s: float) -> Alarm | None:
        """A look that nobody has taken for a grace after it was due: its alarm was lost, and others with it."""
        latest = self._scripts.now() - grace_s
        due = f"{PREFIX}due:{State.RENDERING}"
        found = cast("list[str]", self._scripts.redis.zrangebyscore(due, "-inf", latest, start=0, num=1))
        if not found:
            return None
        self._scripts.redis.delete(f"{PREFIX}alarms")
        turn = cast("str | None", self._scripts.redis.hget(f"{PREFIX}job:{found[0]}", "turn"))
        return Alarm(found[0], int(turn or 0), 0.0)
