"""The outboxes: who is told of which events, the deliveries that each receiver still has to get, and its health.

    rushes:receivers:all|tenant:<t>     hash    receiver -> the events that it gets, with commas           permanent
    rushes:receivers:seen               zset    a receiver of the settings -> when a worker last named it  permanent
    rushes:due:deliver:<receiver>       zset    job -> when its delivery is due, or its lease ends         permanent
    rushes:item:deliver:<receiver>:<id> hash    turn, tries, the events to deliver, a line each            the retention
    rushes:delivering                   set     receivers with deliveries                                  permanent
    rushes:slots:<receiver>             zset    who makes its deliveries -> when that lease ends           twice a lease
    rushes:health:<receiver>            hash    its average latency, since when it fails                   the retention
    rushes:deliveries:<receiver>        stream  the outcome of each delivery, capped                       its own life

A receiver is a hook by its import path, the database, or a webhook endpoint; each has its own circuit breaker too
(`jobs/breakers.py`). The script that writes an event puts it into the outboxes (`mail` in `jobs/lua/prelude.lua`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, cast

from jobs.breakers import BreakerTerms
from jobs.delivery import DeliveryLine
from jobs.keyspace import PREFIX
from jobs.queues import delivery_queue, list_of
from jobs.scripts import Scripts, asks_redis, to_json, wake_ups_of

LOG_ENTRIES: Final = 200
"""About how many lines a receiver's log keeps."""

LOG_LIFE_S: Final = 7 * 86400
"""How long a receiver's log is kept after its last line."""


BREAKER: Final = BreakerTerms(first_s=5.0, longest_s=600.0, after=5)
"""When the circuit breaker of a receiver opens."""


@dataclass(frozen=True, slots=True)
class ReceiverTerms:
    """How a receiver may be called.

    At most `width` deliveries at once in the whole fleet, one until it is known to take less than `slow_s` on average;
    each takes at most `longest_s`. The circuit breaker counts only different deliveries that fail in a row.
    """

    width: int
    longest_s: float
    slow_s: float = 2.0
    breaker: BreakerTerms = BREAKER


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver, for the receiver's log and health."""

    line: DeliveryLine
    blameless: bool = False


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """A receiver's backlog, and whether its circuit breaker is open."""

    waiting: int
    under_way: int
    failures: int
    failing_since: float | None
    open_until: float | None
    took_s: float | None


class Outbox:
    """The receivers, and the deliveries that each still has to get.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def register(self, events: Mapping[str, Iterable[str]]) -> None:
        """Subscribe receivers of the settings to events; those that no worker has named for long are dropped."""
        client, now = self._scripts.redis, self._scripts.now()
        seen, everybody = f"{PREFIX}receivers:seen", f"{PREFIX}receivers:all"
        gone = cast("list[str]", client.zrangebyscore(seen, "-inf", now - self._scripts.retention.retention_s))
        pipe = client.pipeline(transaction=True)
        for name in gone:
            pipe.hdel(everybody, name)
            pipe.zrem(seen, name)
        for name, wanted in events.items():
            pipe.hset(everybody, name, ",".join(wanted))
            pipe.zadd(seen, {name: now})
        pipe.execute()

    @asks_redis
    def subscribers(self, tenant: str | None) -> int:
        """Count the receivers of all jobs, or of a tenant's; disabled endpoints don't count."""
        return self._scripts.redis.hlen(f"{PREFIX}receivers:{list_of(tenant)}")

    @asks_redis
    def mail(self, job_id: str, wanted: Mapping[str, Sequence[str]], *, at: float | None = None) -> None:
        """Queue each receiver's events at once, also those delivered before; they happened at this time, or now."""
        at = self._scripts.now() if at is None else at
        lines = {name: [f"{event} 0 {at:.3f}" for event in events] for name, events in wanted.items() if events}
        if lines:
            self._scripts.wake(wake_ups_of(self._scripts.run("mail", id=job_id, wanted=lines)))

    @asks_redis
    def report(self, receiver: str, slot: str, attempts: Sequence[Attempt], terms: ReceiverTerms) -> float:
        """Record a batch of attempts and free the slot; return for how many seconds the receiver has been failing."""
        outcomes = [
            {
                "id": attempt.line.job_id,
                "delivered": attempt.line.delivered,
                "blameless": attempt.blameless,
                "took_s": attempt.line.took_s,
                "line": to_json(asdict(attempt.line)),
            }
            for attempt in attempts
        ]
        failing_s, wake_ups = self._scripts.run(
            "receiver",
            receiver=receiver,
            slot=slot,
            outcomes=outcomes,
            log_cap=LOG_ENTRIES,
            log_life_s=LOG_LIFE_S,
            first_s=terms.breaker.first_s,
            longest_s=terms.breaker.longest_s,
            after=terms.breaker.after,
        )
        self._scripts.wake(wake_ups_of(wake_ups))
        return float(failing_s)

    @asks_redis
    def waiting(self) -> dict[str, int]:
        """Count the deliveries that each receiver still has to get."""
        client = self._scripts.redis
        receivers = sorted(cast("set[str]", client.smembers(f"{PREFIX}delivering")))
        pipe = client.pipeline(transaction=False)
        for receiver in receivers:
            pipe.zcard(f"{PREFIX}due:{delivery_queue(receiver)}")
        return {name: count for name, count in zip(receivers, pipe.execute(), strict=True) if count}

    @asks_redis
    def status(self, receiver: str) -> ReceiverStatus:
        """Return a receiver's status."""
        pipe = self._scripts.redis.pipeline(transaction=False)
        pipe.zcard(f"{PREFIX}due:{delivery_queue(receiver)}")
        pipe.zcount(f"{PREFIX}slots:{receiver}", f"({self._scripts.now()}", "+inf")
        pipe.hgetall(f"{PREFIX}health:{receiver}")
        pipe.hgetall(f"{PREFIX}breaker:receiver:{receiver}")
        waiting, under_way, health, breaker = pipe.execute()
        return ReceiverStatus(
            waiting,
            under_way,
            int(_seconds(breaker, "failures") or 0),
            _seconds(health, "failing_since"),
            _seconds(breaker, "half_open_at"),
            _seconds(health, "took_s"),
        )

    @asks_redis
    def log(self, receiver: str, *, limit: int = LOG_ENTRIES) -> list[DeliveryLine]:
        """Read a receiver's log, newest first."""
        key = f"{PREFIX}deliveries:{receiver}"
        entries = cast("list[tuple[str, dict[str, str]]]", self._scripts.redis.xrevrange(key, count=limit))
        return [line for line_id, raw in entries for line in _lines(line_id, raw)]

    @asks_redis
    def now(self) -> float:
        """The time by the fleet's one clock."""
        return self._scripts.now()

    @asks_redis
    def forget(self, receiver: str) -> None:
        """Drop the deliveries of a removed receiver; its log stays for its life."""
        client, queue = self._scripts.redis, delivery_queue(receiver)
        waiting = cast("list[str]", client.zrange(f"{PREFIX}due:{queue}", 0, -1))
        items = [f"{PREFIX}item:{queue}:{job_id}" for job_id in waiting]
        kinds = (f"due:{queue}", f"slots:{receiver}", f"health:{receiver}", f"breaker:receiver:{receiver}")
        client.delete(*items, *(f"{PREFIX}{kind}" for kind in kinds))
        client.srem(f"{PREFIX}delivering", receiver)
        client.hdel(f"{PREFIX}wakes", queue)


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, ValueError):
        return None


def _lines(line_id: str, raw: Mapping[str, str]) -> Iterator[DeliveryLine]:
    """Yield the line of a log, unless only a newer version can read it."""
    with suppress(KeyError, ValueError, TypeError):
        yield DeliveryLine(**{**json.loads(raw["line"]), "at": float(raw["at"]), "id": line_id})
