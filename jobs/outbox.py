"""The outboxes: the deliveries that each receiver still has to get, each with a turn and a due time.

    rushes:outbox:<receiver>          zset    ended job -> when its delivery is due, or its lease ends   the retention
    rushes:outboxes                   zset    receiver -> when a worker must next read its outbox        the retention
    rushes:delivery:<receiver>:<id>   hash    turn, tries, events to deliver and those delivered         the retention
    rushes:slots:<receiver>           zset    job under delivery -> when that lease ends                twice a lease
    rushes:health:<receiver>          hash    its average latency, since when it fails                   the retention
    rushes:deliveries:<receiver>      stream  the outcome of each delivery, capped                       the log's life

A receiver gets the ends of jobs: it is a hook by its import path, the database, or a webhook endpoint. Each has its
own outbox, slots and circuit breaker (`jobs/breakers.py`), so that a slow or broken one delays no other.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, cast

import redis

from jobs.breakers import BreakerTerms
from jobs.delivery import Delivery, DeliveryLine, Settlement
from jobs.events import Subscriber
from jobs.keyspace import PREFIX
from jobs.scripts import Retention, Scripts, asks_redis, to_json

DATABASE: Final = "sql"
"""The name of the built-in receiver that writes the database of results."""

LONG_S: Final = 0.25
"""Seconds a delivery may take before new ones get a further slot; below it, the busy slot comes to them soon enough."""

LOG_ENTRIES: Final = 200
"""About how many lines a receiver's log keeps."""

LOG_LIFE_S: Final = 7 * 86400
"""How long a receiver's log is kept after its last line."""


BREAKER: Final = BreakerTerms(first_s=5.0, longest_s=600.0, after=5)
"""When the circuit breaker of a receiver opens."""


@dataclass(frozen=True, slots=True)
class ReceiverTerms:
    """How a receiver may be called.

    At most `width` deliveries at once in the whole fleet, one until it is known to take less than `slow_s` on average,
    each on a lease of `lease_s`. The circuit breaker counts only different deliveries that fail in a row.
    """

    width: int
    lease_s: float
    slow_s: float = 2.0
    breaker: BreakerTerms = BREAKER


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
    """The deliveries that each receiver still has to get.

    Raises:
        StaleTurn: another slot has claimed the delivery meanwhile.
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        retention: Retention | None = None,
        clock: Callable[[], float] | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        """Use `client` (which decodes replies to text); `clock` stands in for Redis's own only in tests."""
        self._scripts = Scripts(client, retention=retention or Retention(), clock=clock, subscribers=subscribers)

    @asks_redis
    def put(self, job_id: str, wanted: Mapping[str, Sequence[str]], *, again: bool = False) -> list[str]:
        """Queue each receiver's events once (`again`: also those delivered before); return whom to wake."""
        events = {receiver: list(names) for receiver, names in wanted.items() if names}
        if not events:
            return []
        return list(self._scripts.run("outbox_put", id=job_id, wanted=events, again=again or None, long_s=LONG_S))

    @asks_redis
    def take(self, receiver: str, terms: ReceiverTerms, *, worker: str = "") -> Delivery | None:
        """Claim the delivery that has been due the longest, on a lease; None if there is none, or no slot for it."""
        found = self._scripts.run(
            "outbox_take",
            receiver=receiver,
            worker=worker,
            lease_s=terms.lease_s,
            width=terms.width,
            slow_s=terms.slow_s,
        )
        if not found:
            return None
        job_id, turn, event, tries, more = found
        return Delivery(receiver, job_id, event, int(turn), int(tries), bool(more))

    @asks_redis
    def settle(self, delivery: Delivery, terms: ReceiverTerms, how: Settlement) -> float:
        """Write a delivery's outcome; return for how many seconds the receiver has been failing."""
        line = how.line
        event = "delivery.succeeded" if line.delivered else "delivery.abandoned" if how.over else "delivery.failed"
        wait = {} if how.over else {"wait_s": round(how.next_in_s, 3)}
        trouble = {} if line.delivered else {"message": line.message, **wait}
        data = {"receiver": delivery.receiver, "of": delivery.event, "try": delivery.tries + 1, **trouble}
        failing_s = self._scripts.run(
            "outbox_settle",
            receiver=delivery.receiver,
            id=delivery.job_id,
            turn=delivery.turn,
            over=how.over,
            delivered=line.delivered,
            blameless=how.blameless,
            next_in=how.next_in_s,
            took_s=line.took_s,
            line=to_json(asdict(line)),
            log_cap=LOG_ENTRIES,
            log_life_s=LOG_LIFE_S,
            first_s=terms.breaker.first_s,
            longest_s=terms.breaker.longest_s,
            after=terms.breaker.after,
            event=event,
            data=to_json(data),
        )
        self._scripts.emit(event, delivery.job_id, delivery.turn, data)
        return float(failing_s)

    @asks_redis
    def void(self, alive: Collection[str], *, after_s: float) -> int:
        """Free the slots of workers that are not among `alive`; return how many."""
        return int(self._scripts.run("outbox_void", alive=list(alive), after_s=after_s))

    @asks_redis
    def due(self, *, limit: int, lease_s: float) -> list[str]:
        """Claim receivers with due deliveries; none is returned again within `lease_s`."""
        return list(self._scripts.run("outboxes", limit=limit, lease_s=lease_s))

    @asks_redis
    def waiting(self) -> dict[str, int]:
        """Count the deliveries that each receiver still has to get."""
        client = self._scripts.redis
        receivers = cast("list[str]", client.zrange(f"{PREFIX}outboxes", 0, -1))
        pipe = client.pipeline(transaction=False)
        for receiver in receivers:
            pipe.zcard(f"{PREFIX}outbox:{receiver}")
        return dict(zip(receivers, pipe.execute(), strict=True))

    @asks_redis
    def status(self, receiver: str) -> ReceiverStatus:
        """Return a receiver's status."""
        pipe = self._scripts.redis.pipeline(transaction=False)
        pipe.zcard(f"{PREFIX}outbox:{receiver}")
        pipe.zcount(f"{PREFIX}slots:{receiver}", self._scripts.now(), "+inf")
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
        kinds = ("outbox", "slots", "health", "breaker:receiver")
        self._scripts.redis.delete(*(f"{PREFIX}{kind}:{receiver}" for kind in kinds))
        self._scripts.redis.zrem(f"{PREFIX}outboxes", receiver)


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, ValueError):
        return None


def _lines(line_id: str, raw: Mapping[str, str]) -> Iterator[DeliveryLine]:
    """Yield the line of a log, unless only a newer version can read it."""
    with suppress(KeyError, ValueError, TypeError):
        yield DeliveryLine(**{**json.loads(raw["line"]), "at": float(raw["at"]), "id": line_id})
