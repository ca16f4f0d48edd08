"""The state of the whole fleet by the ledger, for metrics: constant cost, whatever the number of jobs.

It is read in three round trips, from the sizes and first entries of sets. At most `MOST_RECEIVERS` are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.admission import Admission, Ready
from jobs.breakers import Breaker, OpenBreaker, breaker_of, name_of
from jobs.job import ACCOUNT
from jobs.keyspace import PREFIX
from jobs.queues import QUEUES, delivery_queue
from jobs.scripts import Scripts, asks_redis
from jobs.states import State

MOST_RECEIVERS: Final = 100
"""Each address that a request names is a receiver; of more than these, the backlog is a lower bound."""

OTHERS: Final = "others"
"""The receivers of single tenants, and addresses of requests, together."""

DELIVERIES: Final = "deliver"
"""All receivers' queues together."""


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
        first = self._scripts.redis.pipeline(transaction=False)
        first.time()
        first.hgetall(f"{PREFIX}receivers:all")
        first.srandmember(f"{PREFIX}delivering", MOST_RECEIVERS)
        first.zrange(f"{PREFIX}index:{State.IN_DOUBT}", 0, 0)
        time, named, delivering, doubts = first.execute()
        now, receivers = self._scripts.time_of(time), sorted({*named, *delivering})
        replies = iter(self._second(now, receivers, next(iter(doubts), ""), seen_within_s))
        return _fleet(replies, now, receivers, named, Admission(self._scripts).ready())

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
        return pipe.execute()


def _fleet(
    replies: Iterator[Any], now: float, receivers: Sequence[str], named: Mapping[str, str], admission: Ready
) -> Fleet:
    """Read the replies, in the order in which they were asked for."""
    jobs = {state: next(replies) for state in State}
    paused = next(replies)
    breakers = {breaker: breaker_of(next(replies), now=now) for breaker in Breaker}
    overdue_s = {queue: _overdue_s(next(replies), now) for queue in QUEUES}
    overdue_s[State.QUEUED] = max(overdue_s[State.QUEUED], admission.idle_s)
    intent_at, workers, set_back_at, memory = (next(replies) for _ in range(4))
    backlogs, late_s = dict.fromkeys([*named, OTHERS], Backlog()), 0.0
    for receiver in receivers:
        waiting, first, failing_since = (next(replies) for _ in range(3))
        backlog = Backlog(waiting, max(now - float(failing_since), 0.0) if failing_since else 0.0)
        backlogs[receiver if receiver in named else OTHERS] += backlog
        late_s = max(late_s, _overdue_s(first, now))
    return Fleet(
        jobs=jobs,
        admission=admission,
        is_paused=bool(paused),
        breakers={breaker: found for breaker, found in breakers.items() if found},
        overdue_s={**overdue_s, DELIVERIES: late_s},
        oldest_doubt_s=max(now - float(intent_at), 0.0) if intent_at else 0.0,
        workers=workers,
        receivers=backlogs,
        set_back_at=float(set_back_at or 0.0),
        memory_bytes=int(memory["used_memory"]),
        memory_limit_bytes=int(memory.get("maxmemory") or 0),
    )


def _overdue_s(first: Sequence[tuple[str, float]], now: float) -> float:
    return max(now - first[0][1], 0.0) if first else 0.0
