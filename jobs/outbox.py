"""The outboxes: which receiver is still to be told of which ended job, each delivery with a turn and a due time.

    rushes:outbox:<receiver>          zset    ended job -> when its delivery is due, or its lease ends   the retention
    rushes:outboxes                   zset    receiver -> when somebody must next look into its outbox   the retention
    rushes:delivery:<receiver>:<id>   hash    turn, tries, events to be told and those that were         the retention
    rushes:slots:<receiver>           zset    job that it is being told of -> when that lease ends       twice a lease
    rushes:health:<receiver>          hash    how it fares: how long it takes, since when it fails       the retention
    rushes:deliveries:<receiver>      stream  how each delivery went, capped                             the log's life

A receiver is told of ended jobs: it is a hook by its import path, the database, or a webhook endpoint. Each has an
outbox, slots and a circuit breaker (`jobs/breakers.py`) of its own, so that one that is slow or broken holds up no
other.
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
"""The name of the built-in receiver that is the database of results."""

LONG_S: Final = 0.25
"""A receiver that takes longer is given another slot for what comes meanwhile; a quick one's slot comes round to it."""

LOG_ENTRIES: Final = 200
"""About how many lines a receiver's log keeps."""

LOG_LIFE_S: Final = 7 * 86400
"""How long a receiver's log is kept after its last line."""


BREAKER: Final = BreakerTerms(first_s=5.0, longest_s=600.0, after=5)
"""When the circuit breaker of a receiver opens."""


@dataclass(frozen=True, slots=True)
class ReceiverTerms:
    """How a receiver may be called.

    `width` deliveries at once for the whole fleet, one while it is not known to take less than `slow_s` on average,
    each taken on a lease of `lease_s`. The circuit breaker counts only different deliveries that fail in a row.
    """

    width: int
    lease_s: float
    slow_s: float = 2.0
    breaker: BreakerTerms = BREAKER


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """How a receiver stands: its backlog, and whether it is held back for failing."""

    waiting: int
    under_way: int
    failures: int
    failing_since: float | None
    held_until: float | None
    took_s: float | None


class Outbox:
    """Who is still to be told of what.

    Raises:
        StaleTurn: the delivery was taken by somebody else meanwhile.
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
        """Have each receiver told its events once (`again`: also those it was told before); returns whom to wake."""
        events = {receiver: list(names) for receiver, names in wanted.items() if names}
        if not events:
            return []
        return list(self._scripts.run("outbox_put", id=job_id, wanted=events, again=again or None, long_s=LONG_S))

    @asks_redis
    def take(self, receiver: str, terms: ReceiverTerms, *, worker: str = "") -> Delivery | None:
        """The delivery that has been due the longest, now on lease; None if there is none, or no slot for it."""
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
        """Write how a delivery went; returns for how many seconds the receiver has been failing."""
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
        """Free the slots of workers that are not among `alive`; returns how many."""
        return int(self._scripts.run("outbox_void", alive=list(alive), after_s=after_s))

    @asks_redis
    def due(self, *, limit: int, lease_s: float) -> list[str]:
        """Receivers whose outboxes somebody must look into now; the same is not named again within `lease_s`."""
        return list(self._scripts.run("outboxes", limit=limit, lease_s=lease_s))

    @asks_redis
    def waiting(self) -> dict[str, int]:
        """How many deliveries each receiver still has to expect."""
        client = self._scripts.redis
        receivers = cast("list[str]", client.zrange(f"{PREFIX}outboxes", 0, -1))
        pipe = client.pipeline(transaction=False)
        for receiver in receivers:
            pipe.zcard(f"{PREFIX}outbox:{receiver}")
        return dict(zip(receivers, pipe.execute(), strict=True))

    @asks_redis
    def status(self, receiver: str) -> ReceiverStatus:
        """How a receiver stands."""
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
        """How the latest deliveries went, newest first."""
        key = f"{PREFIX}deliveries:{receiver}"
        entries = cast("list[tuple[str, dict[str, str]]]", self._scripts.redis.xrevrange(key, count=limit))
        return [line for line_id, raw in entries for line in _lines(line_id, raw)]

    @asks_redis
    def now(self) -> float:
        """The time by the fleet's one clock."""
        return self._scripts.now()

    @asks_redis
    def forget(self, receiver: str) -> None:
        """Drop what a receiver that is gone was still to be told; its log stays for its life."""
        kinds = ("outbox", "slots", "health", "breaker:receiver")
        self._scripts.redis.delete(*(f"{PREFIX}{kind}:{receiver}" for kind in kinds))
        self._scripts.redis.zrem(f"{PREFIX}outboxes", receiver)


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, ValueError):
        return None


def _lines(line_id: str, raw: Mapping[str, str]) -> Iterator[DeliveryLine]:
    """The line of a log, unless it is one that only a newer version can read."""
    with suppress(KeyError, ValueError, TypeError):
        yield DeliveryLine(**{**json.loads(raw["line"]), "at": float(raw["at"]), "id": line_id})
