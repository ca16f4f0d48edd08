"""What a drill does to a deployment, drawn from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Blow(StrEnum):
    """One kind of misfortune."""

    KILL_WORKER = "kill -9 a worker"
    TERM_WORKER = "SIGTERM a worker"
    KILL_ALL = "kill -9 every worker"
    FREEZE_WORKER = "freeze a worker past its signs of life"
    RESTART_REDIS = "restart Redis"
    KILL_REDIS = "kill -9 Redis"
    CUT_CONNECTIONS = "cut every connection to Redis"
    STALL_REDIS = "stall Redis"
    FLUSH_BROKER = "flush every broker key"
    THROTTLE = "upstream throttles"
    DROP_REPLIES = "upstream drops replies after acceptance"
    SICK_UPSTREAM = "upstream answers 524"
    BREAK_DOWNLOADS = "CDN truncates"


WEIGHTS: dict[Blow, int] = {
    Blow.KILL_WORKER: 6,
    Blow.TERM_WORKER: 3,
    Blow.KILL_ALL: 1,
    Blow.FREEZE_WORKER: 1,
    Blow.RESTART_REDIS: 2,
    Blow.KILL_REDIS: 1,
    Blow.CUT_CONNECTIONS: 2,
    Blow.STALL_REDIS: 1,
    Blow.FLUSH_BROKER: 1,
    Blow.THROTTLE: 2,
    Blow.DROP_REPLIES: 3,
    Blow.SICK_UPSTREAM: 2,
    Blow.BREAK_DOWNLOADS: 2,
}


@dataclass(frozen=True, slots=True)
class Strike:
    """A blow, and how long after the one before it."""

    after_s: float
    blow: Blow


def strikes(seed: int, *, mean_gap_s: float) -> Iterator[Strike]:
    """An endless row of blows; the same for the same seed. Each kind comes once before any comes by chance."""
    dice = random.Random(seed)  # noqa: S311 (a drill must be repeatable)
    first = list(Blow)
    dice.shuffle(first)
    for blow in first:
        yield Strike(dice.uniform(0.3, 1.7) * mean_gap_s, blow)
    while True:
        (blow,) = dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        yield Strike(dice.uniform(0.3, 1.7) * mean_gap_s, blow)
