"""Work is shared: a task that wakes takes all due items of its kind, each on a lease, whichever job its message named.

The due index is the diary, Celery's countdown the alarm clock. An alarm stands for a slot of time, not for a job: a job
that falls due in a slot whose alarm is set needs none of its own, so that in a crowd messages grow with time and not
with jobs. Taking moves a due time by the lease: if the taker dies, the item is due again for the next task.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import redis

from jobs.errors import UnreadableRow
from jobs.job import Job
from jobs.keyspace import PREFIX
from jobs.reminders import WORKS, Work
from jobs.row import job_from
from jobs.scripts import Scripts, asks_redis
from jobs.states import FollowUp

LEASE_S: Final = 10.0
"""Seconds that others leave a taken item alone; work that takes longer is held, or has a lease of its own."""

EARLY_S: Final = 0.02
"""An alarm that rings this much too soon takes its work all the same."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A reminder to send: of which work, the job that it names, and in how many seconds it must ring."""

    work: Work
    job_id: str
    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The jobs that a task has taken. More is due if `left`; `more` is a reminder that lets others help."""

    at: float
    jobs: Sequence[Job]
    left: bool
    more: Alarm | None


class Wakes:
    """What is due in each state, and of each follow-up, for the whole fleet.

    Raises:
        LedgerUnavailable: Redis could not be asked; what was taken is due again when its lease ends.
    """

    def __init__(self, scripts: Scripts, *, slot_s: float) -> None:
        self._scripts = scripts
        self._slot_s = slot_s

    @asks_redis
    def take(
        self, work: Work, *, limit: int, woke: bool = True, lease_s: float = LEASE_S, per_s: float | None = None
    ) -> Taken:
        """Take up to `limit` jobs that are due by now, for `lease_s`; the fleet takes at most `per_s` a second.

        A task that `woke` answers the alarms that have rung; one that only goes on taking does not.
        """
        at, rows, left, *more = self._scripts.run(
            "take",
            work=work,
            turn_field=_turn_field(work),
            woke=woke or None,
            limit=limit,
            lease_s=lease_s,
            per_s=per_s,
            early_s=EARLY_S,
        )
        jobs = list(self._readable(dict(zip(row[::2], row[1::2], strict=True)) for row in rows))
        others = (Alarm(work, id_, turn, float(wait_s)) for id_, turn, wait_s in more)
        return Taken(float(at), jobs, bool(left), next(others, None))

    def _readable(self, rows: Iterable[Mapping[str, str]]) -> Iterator[Job]:
        """The jobs of these rows; one that cannot be read is left to a newer version, and holds up no other."""
        for row in rows:
            try:
                yield job_from(row)
            except UnreadableRow as error:
                self._scripts.unreadable(row.get("id", "-"), error)

    @asks_redis
    def renew(self, work: Work, jobs: Iterable[Job], *, lease_s: float = LEASE_S) -> None:
        """Keep what is still under way from being taken by others for `lease_s` more."""
        until = self._scripts.now() + lease_s
        names = {job.id: until for job in jobs}
        if names:
            self._scripts.redis.zadd(f"{PREFIX}due:{work}", names, xx=True)

    @asks_redis
    def overdue(self, work: Work, *, grace_s: float) -> Alarm | None:
        """A job that nobody has taken for a grace after it was due: its alarm was lost, and perhaps others with it."""
        latest = self._scripts.now() - grace_s
        found = cast("list[str]", self._scripts.redis.zrangebyscore(f"{PREFIX}due:{work}", "-inf", latest, 0, 1))
        if not found:
            return None
        self._scripts.redis.delete(f"{PREFIX}alarms:{work}", f"{PREFIX}call:{work}")
        return Alarm(work, found[0], self._turn(found[0], work), 0.0)

    def _turn(self, job_id: str, work: Work) -> int:
        """The turn that a reminder tells; it serves all that is due, whatever the row that it names holds."""
        try:
            return int(cast("str | None", self._scripts.redis.hget(f"{PREFIX}job:{job_id}", _turn_field(work))) or 0)
        except (ValueError, redis.ResponseError):
            return 0


def alarms_of(job_id: str, told: Iterable[tuple[str, int, str]]) -> list[Alarm]:
    """The alarms that a script wants set for a job: of which work, its turn, the seconds until it rings."""
    return [Alarm(WORKS[name], job_id, int(turn), float(seconds)) for name, turn, seconds in told]


def _turn_field(work: Work) -> str:
    return f"{work}_turn" if isinstance(work, FollowUp) else "turn"
