"""What is known of each kind's latency, as the ledger holds it: our sketch and the upstream's own word.

    rushes:sketch:<kind>      string  {seen, mass {bucket: weight}, at, gap_s}   90 days after the last finished job
    rushes:pending:<kind>     hash    {bucket: how many were last seen pending in it}   90 days after the last poll
    rushes:latency:<model>    string  the upstream's quantiles, in seconds       a day after they were read

A sketch is added to by the edge that finishes a job (`advance.lua`), so each job is counted once. Polls count the
pending ones (`polled.lua`); the edge that a job leaves by takes it out of the count.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import redis

from jobs.forecast import BUCKETS, Latency, Pending, Sketch
from jobs.keyspace import PREFIX
from jobs.scripts import asks_redis

LATENCY_LIFE_S: Final = 86400.0
LONGEST_LATENCY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known of a kind: our own jobs, and the upstream's word where it has been heard."""

    sketch: Sketch
    latency: Latency | None
    pending: Pending = field(default_factory=dict)


class Sketches:
    """Reads what the fleet has learnt.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client

    @asks_redis
    def recall(self, kind: str) -> Experience:
        """What is known of this kind; what cannot be read counts as not known."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.mget(f"{PREFIX}sketch:{kind}", _latency_key(kind))
        pipe.hgetall(f"{PREFIX}pending:{kind}")
        (sketch, latency), pending = pipe.execute()
        return Experience(_sketch(_object(sketch)), _latency(_object(latency)), _pending(pending))

    @asks_redis
    def heard(self, kind: str, latency: Latency) -> None:
        """Keep what the upstream says of the kind's model, for the whole fleet."""
        self._redis.set(_latency_key(kind), json.dumps(asdict(latency)), px=int(LATENCY_LIFE_S * 1000))


def _latency_key(kind: str) -> str:
    return f"{PREFIX}latency:{kind.partition(':')[0]}"


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sketch(record: Mapping[str, Any]) -> Sketch:
    try:
        mass = {int(bucket): float(held) for bucket, held in record["mass"].items()}
        seen = int(record["seen"])
        at, gap_s = record.get("at"), float(record.get("gap_s", 0.0))
        at = None if at is None else float(at)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Sketch()
    sane = {bucket: held for bucket, held in mass.items() if 0 <= bucket < BUCKETS and held > 0}
    return Sketch(sane, seen, at, gap_s)


def _pending(counts: Mapping[str, str]) -> Pending:
    try:
        return {int(bucket): int(count) for bucket, count in counts.items()}
    except ValueError:
        return {}


def _latency(record: Mapping[str, Any]) -> Latency | None:
    try:
        latency = Latency(**{name: float(record[name]) for name in Latency.__dataclass_fields__})
    except (KeyError, TypeError, ValueError):
        return None
    quantiles = [latency.p50_s, latency.p75_s, latency.p90_s, latency.p99_s]
    sane = quantiles == sorted(quantiles) and quantiles[0] > 0 and quantiles[-1] < LONGEST_LATENCY_S
    return latency if sane else None
