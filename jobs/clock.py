"""The fleet's one clock is Redis's; this module repairs due times after it is set back.

    rushes:clock    hash    the latest time that was seen; by how much, and when, the clock was set back      a week

When the clock is set back by an hour, due times and leases come an hour too late, and short-lived keys live longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from jobs.breakers import Breaker, name_of
from jobs.events import Event
from jobs.job import ACCOUNT
from jobs.keyspace import PREFIX
from jobs.queues import QUEUES
from jobs.scripts import Scripts, asks_redis
from jobs.states import State

TOLERANCE_S: Final = 5.0
"""A smaller step back, or lag of a promoted replica, is ignored."""

LIFE_S: Final = 7 * 86400.0
"""How long the latest time is remembered."""

WORKER_MEMORY_S: Final = 86400
"""A dead worker is remembered for this many seconds."""

MOST: Final = 1000
"""One check pulls at most this many due times forward."""


@dataclass(frozen=True, slots=True)
class LongestWaits:
    """How far off a due time can be, in seconds, by queue; `of_all` is the bound of all others."""

    by_queue: Mapping[str, float]
    of_all: float


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """The clock's state: seconds behind its latest time, and when it was last set back by how much."""

    behind_s: float
    set_back_s: float | None
    set_back_at: float | None


class FleetClock:
    """Repairs due times when the clock is set back.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def check(self, longest: LongestWaits) -> int:
        """Pull forward due times that are further off than any wait, and return how many; forget old workers."""
        indexes = [[f"due:{queue}", longest.by_queue.get(queue, longest.of_all), _is_lease(queue)] for queue in QUEUES]
        back, pulled = self._scripts.run(
            "clock",
            tolerance_s=TOLERANCE_S,
            life_ms=int(LIFE_S * 1000),
            indexes=indexes,
            longest_s=longest.of_all,
            breakers=[name_of(breaker) for breaker in Breaker],
            account=ACCOUNT,
            most=MOST,
            worker_memory_s=WORKER_MEMORY_S,
        )
        set_back_s = float(back)
        if set_back_s:
            self._forget_rates()
        if set_back_s or pulled:
            data = {"count": pulled, "set_back_s": round(set_back_s, 1)}
            self._scripts.emit(Event("due.pulled_forward", "-", 0, data))
        return int(pulled)

    def _forget_rates(self) -> None:
        """Delete rate limits: Redis expires keys by the same clock, so one of ten seconds would last for that hour."""
        for key in self._scripts.redis.scan_iter(f"{PREFIX}rate:*", count=1000):
            self._scripts.redis.delete(key)

    @asks_redis
    def status(self) -> ClockStatus:
        """Return the clock's state."""
        stored = cast("dict[str, str]", self._scripts.redis.hgetall(f"{PREFIX}clock"))
        behind_s = max(float(stored.get("seen", 0)) - self._scripts.now(), 0.0)
        by, at = (float(stored[name]) if name in stored else None for name in ("set_back_s", "set_back_at"))
        return ClockStatus(behind_s if behind_s > TOLERANCE_S else 0.0, by, at)


def _is_lease(queue: str) -> int:
    """Whether due times of this queue are leases: due when the buyer counts as dead."""
    return int(queue == State.SUBMITTING)
