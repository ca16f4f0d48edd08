"""A drill's faults, drawn at random from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """One kind of fault."""

    KILL_WORKER = "kill -9 a worker"
    TERM_WORKER = "SIGTERM a worker"
    KILL_ALL = "kill -9 every worker"
    FREEZE_WORKER = "freeze a worker until it counts as dead"
    RESTART_REDIS = "restart Redis"
    KILL_REDIS = "kill -9 Redis"
    CUT_CONNECTIONS = "cut every connection to Redis"
    STALL_REDIS = "stall Redis"
    FLUSH_BROKER = "flush every broker key"
    THROTTLE = "upstream throttles"
    DROP_REPLIES = "upstream drops replies after acceptance"
    SICK_UPSTREAM = "upstream answers 524"
    BREAK_DOWNLOADS = "CDN truncates"


WEIGHTS: dict[Fault, int] = {
    Fault.KILL_WORKER: 6,
    Fault.TERM_WORKER: 3,
    Fault.KILL_ALL: 1,
    Fault.FREEZE_WORKER: 1,
    Fault.RESTART_REDIS: 2,
    Fault.KILL_REDIS: 1,
    Fault.CUT_CONNECTIONS: 2,
    Fault.STALL_REDIS: 1,
    Fault.FLUSH_BROKER: 1,
    Fault.THROTTLE: 2,
    Fault.DROP_REPLIES: 3,
    Fault.SICK_UPSTREAM: 2,
    Fault.BREAK_DOWNLOADS: 2,
}


@dataclass(frozen=True, slots=True)
class ScheduledFault:
    """A fault, and the pause before it in seconds."""

    after_s: float
    fault: Fault


def schedule(seed: int, *, mean_gap_s: float) -> Iterator[ScheduledFault]:
    """Yield faults for ever, the same for the same seed; each kind comes once before any is drawn at random."""
    rng = random.Random(seed)  # noqa: S311 (a drill must be repeatable)
    first = list(Fault)
    rng.shuffle(first)
    for fault in first:
        yield ScheduledFault(rng.uniform(0.3, 1.7) * mean_gap_s, fault)
    while True:
        (fault,) = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        yield ScheduledFault(rng.uniform(0.3, 1.7) * mean_gap_s, fault)
