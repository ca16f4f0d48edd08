"""The state of the whole fleet by the ledger, for metrics: constant cost, whatever the number of jobs.

It is read in three round trips, from the sizes and first entries of sets. At most `MOST_RECEIVERS` are looked at.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import redis

from jobs.admission import Admission, Ready
from jobs.breakers import Breaker, OpenBreaker, breaker_of, name_of
from jobs.errors import UnreadableRow
from jobs.job import ACCOUNT
from jobs.keyspace import PREFIX
from jobs.queues import QUEUES, delivery_queue
from jobs.scripts import Scripts, asks_redis, refusal_of
from jobs.states import State

MOST_RECEIVERS: Final = 100
"""Each address that a request names is a receiver; of more than these, the backlog is a lower bound."""

OTHERS: Final = "others"
"""The receivers of single tenants, and addresses of requests, together."""

DELIVERIES: Final = "deliver"
"""All receivers' queues together."""

_NOTHING_READY: Final = Ready(0, 0.0, 0, None, None)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a receiver still has to get, and for how many seconds it has been failing."""

    waiting: int = 0
    failing_s: float = 0.0

    def __add__(self, other: "Backlog") -> "Backlog":
        """Sum what waits; the one that has been failing for longer counts."""
        return Backlog(self.waiting + other.waiting, max(self.failing_s, other.failing_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The state of the whole fleet.

    `admission`: what is ready to be bought. `overdue_s`: how late the first item of each queue is.
    `oldest_doubt_s`: since when the purchase of the job in doubt that was accepted first may have happened.
    `set_back_at`: when Redis's clock was last set back, 0: not lately. `memory_limit_bytes`: 0 is none.
    `unreadable`: how many parts could not be read, as somebody else wrote their keys; they are 0 or empty here.
    """

    jobs: Mapping[State, int]
    admission: Ready
    is_paused: bool
    breakers: Mapping[Breaker, OpenBreaker]
    overdue_s: Mapping[str, float]
    oldest_doubt_s: float
    workers: int
    receivers: Mapping[str, Backlog]
    set_back_at: float
    memory_bytes: int
    memory_limit_bytes: int
    unreadable: int


class _Replies:
    """The replies of a pipeline, read one by one; what cannot be read is counted, and stands for nothing.

    Raises:
        LedgerUnavailable: Redis refused the command; a made-up 0 would silence alarms.
    """

    def __init__(self, replies: Sequence[Any]) -> None:
        self._replies = iter(replies)
        self.unreadable = 0

    def read(self, as_: Callable[[Any], T], default: T) -> T:
        """Return the next reply, read by `as_`; `default` if there is none, or an unreadable one."""
        reply = next(self._replies)
        if reply is None:
            return default
        try:
            if isinstance(reply, redis.RedisError):
                raise refusal_of(reply)
            return as_(reply)
        except (UnreadableRow, ValueError, KeyError):
            self.unreadable += 1
            return default


class FleetReader:
    """Reads the state of the fleet.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def read(self, *, seen_within_s: float) -> Fleet:
        """Read it; a worker counts if it was seen within these seconds."""
        pipe = self._scripts.redis.pipeline(transaction=False)
        pipe.time()
        pipe.hgetall(f"{PREFIX}receivers:all")
        pipe.srandmember(f"{PREFIX}delivering", MOST_RECEIVERS)
        pipe.zrange(f"{PREFIX}index:{State.IN_DOUBT}", 0, 0)
        first = _Replies(pipe.execute(raise_on_error=False))
        now: float = first.read(self._scripts.time_of, 0.0)
        named: dict[str, str] = first.read(dict, {})
        delivering: set[str] = first.read(set, set())
        doubts: list[str] = first.read(list, [])
        receivers = sorted({*named, *delivering})
        replies = _Replies(self._second(now, receivers, next(iter(doubts), ""), seen_within_s))
        replies.unreadable = first.unreadable
        admission = _NOTHING_READY
        with contextlib.suppress(UnreadableRow):
            admission = Admission(self._scripts).ready()
        replies.unreadable += admission is _NOTHING_READY
        return _fleet(replies, now, receivers, named, admission)

    def _second(self, now: float, receivers: Sequence[str], doubt: str, seen_within_s: float) -> list[Any]:
        pipe = self._scripts.redis.pipeline(transaction=False)
        for state in State:
            pipe.zcard(f"{PREFIX}index:{state}")
        pipe.hget(f"{PREFIX}account:{ACCOUNT}", "paused")
        for breaker in Breaker:
            pipe.hgetall(f"{PREFIX}breaker:{name_of(breaker)}")
        for queue in QUEUES:
            pipe.zrange(f"{PREFIX}due:{queue}", 0, 0, withscores=True)
        pipe.hget(f"{PREFIX}job:{doubt}", "intent_at")
        pipe.zcount(f"{PREFIX}workers", now - seen_within_s, "+inf")
        pipe.hget(f"{PREFIX}clock", "set_back_at")
        pipe.info("memory")
        for receiver in receivers:
            pipe.zcard(f"{PREFIX}due:{delivery_queue(receiver)}")
            pipe.zrange(f"{PREFIX}due:{delivery_queue(receiver)}", 0, 0, withscores=True)
            pipe.hget(f"{PREFIX}health:{receiver}", "failing_since")
        return pipe.execute(raise_on_error=False)


def _fleet(
    replies: _Replies, now: float, receivers: Sequence[str], named: Mapping[str, str], admission: Ready
) -> Fleet:
    """Read the replies, in the order in which they were asked for."""

    def since(moment: str) -> float:
        return max(now - float(moment), 0.0)

    def overdue_s(first: Sequence[tuple[str, float]]) -> float:
        return max(now - first[0][1], 0.0) if first else 0.0

    jobs = {state: replies.read(int, 0) for state in State}
    is_paused = replies.read(bool, default=False)
    breakers = {breaker: replies.read(lambda row: breaker_of(row, now=now), None) for breaker in Breaker}
    late_s = {queue: replies.read(overdue_s, 0.0) for queue in QUEUES}
    late_s[State.QUEUED] = max(late_s[State.QUEUED], admission.idle_s)
    oldest_doubt_s, workers = replies.read(since, 0.0), replies.read(int, 0)
    set_back_at = replies.read(float, 0.0)
    memory: dict[str, Any] = replies.read(dict, {})
    backlogs, late_s[DELIVERIES] = dict.fromkeys([*named, OTHERS], Backlog()), 0.0
    for receiver in receivers:
        waiting, overdue = replies.read(int, 0), replies.read(overdue_s, 0.0)
        backlogs[receiver if receiver in named else OTHERS] += Backlog(waiting, replies.read(since, 0.0))
        late_s[DELIVERIES] = max(late_s[DELIVERIES], overdue)
    return Fleet(
        jobs=jobs,
        admission=admission,
        is_paused=is_paused,
        breakers={breaker: found for breaker, found in breakers.items() if found},
        overdue_s=late_s,
        oldest_doubt_s=oldest_doubt_s,
        workers=workers,
        receivers=backlogs,
        set_back_at=set_back_at,
        memory_bytes=int(memory.get("used_memory") or 0),
        memory_limit_bytes=int(memory.get("maxmemory") or 0),
        unreadable=replies.unreadable,
    )
