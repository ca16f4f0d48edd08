"""The pause of an upstream account: no purchase begins until it ends, and what has begun goes on.

    rushes:account:<account>   hash   `paused`: by whom, why and since when, as JSON   permanent

A purchase's intent is refused while `paused` is there, so that none comes after the pause was written.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, cast

from jobs.job import ACCOUNT
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis, to_json, wake_ups_of
from jobs.states import State

LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Pause:
    """Buying is paused: by whom, why, and since when (seconds since the epoch)."""

    by: str
    reason: str
    at: float


class Pauses:
    """Pauses and resumes buying.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def pause(self, *, by: str, reason: str) -> Pause:
        """Begin no purchase from now on, in the whole fleet; return the pause, which replaces an earlier one."""
        pause = Pause(by[:LONGEST_TEXT], reason[:LONGEST_TEXT], self._scripts.now())
        self._scripts.run("pause", queue=State.QUEUED, paused=to_json(asdict(pause)))
        return pause

    @asks_redis
    def resume(self) -> Pause | None:
        """Go on buying; return the pause that is over, or None if there was none."""
        text, wake_ups = self._scripts.run("pause", queue=State.QUEUED, paused=None)
        self._scripts.wake(wake_ups_of(wake_ups))
        return _pause(text)

    @asks_redis
    def current(self) -> Pause | None:
        """Return the pause, if buying is paused."""
        return _pause(cast("str | None", self._scripts.redis.hget(f"{PREFIX}account:{ACCOUNT}", "paused")))


def _pause(text: str | None) -> Pause | None:
    """Read a pause; one that only a newer version can read is a pause all the same."""
    if not text:
        return None
    try:
        found = json.loads(text)
        return Pause(str(found["by"]), str(found["reason"]), float(found["at"]))
    except (ValueError, KeyError, TypeError):
        return Pause("a newer version", "a reason that this version cannot read", 0.0)
