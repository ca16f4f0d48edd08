"""Pauses of buying: of an upstream account, or of a tenant or model there. What has begun goes on.

    rushes:account:<account>   hash   `paused`, `paused:tenant:T`, `paused:model:M`: by whom, why, since when, as JSON

A purchase's intent is refused under a pause, so that none comes after the pause was written.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, cast

from jobs.job import ACCOUNT
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis, to_json, wake_ups_of

LONGEST_TEXT: Final = 300
_AT_ONCE: Final = 1000
"""Jobs of a paused model that one call makes ready again."""

_FIELD: Final = "paused"


@dataclass(frozen=True, slots=True)
class Pause:
    """Buying is paused: by whom, why, since when (seconds since the epoch), and of what.

    `what`: "tenant:T" or "model:M"; None: of everything.
    """

    by: str
    reason: str
    at: float
    what: str | None = None


def what_of(*, tenant: str | None = None, model: str | None = None) -> str | None:
    """Name what is paused, at most one of them; None: everything.

    Raises:
        ValueError: both are named.
    """
    if tenant is not None and model is not None:
        raise ValueError("pause a tenant or a model, not both at once")
    if tenant is not None:
        return f"tenant:{tenant}"
    return None if model is None else f"model:{model}"


class Pauses:
    """Pauses and resumes buying.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def pause(self, *, by: str, reason: str, what: str | None = None) -> Pause:
        """Begin no such purchase from now on, in the whole fleet; return the pause, which replaces an earlier one."""
        pause = Pause(by[:LONGEST_TEXT], reason[:LONGEST_TEXT], self._scripts.now(), what)
        self._run(what, to_json({name: value for name, value in asdict(pause).items() if name != "what"}))
        return pause

    @asks_redis
    def resume(self, *, what: str | None = None) -> Pause | None:
        """Go on buying; return the pause that is over, or None if there was none."""
        before, has_more = self._run(what, None)
        while has_more:
            _, has_more = self._run(what, None)
        return _pause(before, what)

    def _run(self, what: str | None, pause: str | None) -> tuple[str, bool]:
        before, wake_ups, has_more = self._scripts.run("pause", account=ACCOUNT, what=what, pause=pause, limit=_AT_ONCE)
        self._scripts.wake(wake_ups_of(wake_ups))
        return before, bool(has_more)

    @asks_redis
    def current(self) -> Mapping[str | None, Pause]:
        """Return the pauses, by what they are of; None: everything."""
        row = cast("dict[str, str]", self._scripts.redis.hgetall(f"{PREFIX}account:{ACCOUNT}"))
        fields = {name: text for name, text in row.items() if name.partition(":")[0] == _FIELD}
        by_what = {name.partition(":")[2] or None: text for name, text in fields.items()}
        return {what: pause for what, text in by_what.items() if (pause := _pause(text, what))}


def _pause(text: str | None, what: str | None) -> Pause | None:
    """Read a pause; one that only a newer version can read is a pause all the same."""
    if not text:
        return None
    try:
        found = json.loads(text)
        return Pause(str(found["by"]), str(found["reason"]), float(found["at"]), what)
    except (ValueError, KeyError, TypeError):
        return Pause("a newer version", "a reason that this version cannot read", 0.0, what)
