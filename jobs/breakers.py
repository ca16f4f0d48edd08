"""The circuit breakers of upstream accounts: one for each kind of request, shared by the fleet.

    rushes:breaker:<account>:<kind>       hash    failures in a row; half-open when; why; the trial     while it matters
    rushes:breaker:receiver:<receiver>    hash    the same for a receiver of ended jobs                 the retention

Both use the same functions in `jobs/lua/prelude.lua`; the scripts of `jobs/outbox.py` use the receivers'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from jobs.events import Event
from jobs.job import ACCOUNT, Hold
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis, wake_ups_of

_LOOKED_AT: Final = 1000
"""Queued jobs among which one call finds the held ones: those that are due first."""


class Breaker(StrEnum):
    """A kind of request to the upstream; each has its own circuit breaker."""

    SUBMIT = "submit"
    POLL = "poll"


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker is open: no request of its kind may go for `wait_s` seconds, for this reason."""

    wait_s: float
    hold: Hold
    message: str


@dataclass(frozen=True, slots=True)
class BreakerTerms:
    """A breaker opens after `after` refusals in a row, first for `first_s` seconds, doubling up to `longest_s`."""

    first_s: float
    longest_s: float
    after: int


@dataclass(frozen=True, slots=True)
class Tried:
    """What is tried at once: the next request of each kind whose breaker is not closed, and this many held jobs."""

    breakers: Sequence[Breaker]
    jobs: int


class Breakers:
    """The fleet's circuit breakers: a failure that concerns every job opens one, a successful trial closes it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def ask(self, breaker: Breaker, *, trial_s: float, again_s: float) -> OpenBreaker | None:
        """None if a request may go, else how long to wait.

        When the time is up the breaker is half-open: the first caller makes the trial request, which is given up
        after `trial_s` seconds; the others ask again within `again_s`.
        """
        wait_ms, *why = self._scripts.run(
            "breaker", breaker=name_of(breaker), verb="ask", trial_s=trial_s, again_s=again_s
        )
        return OpenBreaker(wait_ms / 1000, _hold(why[0]), why[1]) if wait_ms else None

    @asks_redis
    def passed(self, breaker: Breaker) -> None:
        """A request succeeded: close the breaker for all."""
        closed, _, wake_ups = self._scripts.run("breaker", breaker=name_of(breaker), verb="passed")
        self._scripts.wake(wake_ups_of(wake_ups))
        if closed:
            self._scripts.emit(Event("queue.resumed", "-", 0, {"breaker": breaker}))

    @asks_redis
    def refused(
        self,
        breaker: Breaker,
        hold: Hold,
        message: str,
        *,
        terms: BreakerTerms,
        wait_s: float | None = None,
        times: int = 1,
        sent_at: float | None = None,
    ) -> float:
        """Count refusals that concern every job; after `terms.after` in a row the breaker opens.

        Returns for how many seconds it is open.
        `sent_at`: when a purchase was sent that was throttled; the account learns from it how many may run at once.
        """
        opened, open_ms, _ = self._scripts.run(
            "breaker",
            breaker=name_of(breaker),
            verb="refused",
            hold=hold,
            message=message,
            first_s=terms.first_s,
            longest_s=terms.longest_s,
            after=terms.after,
            wait_s=wait_s,
            times=times,
            sent_at=sent_at,
        )
        if opened:
            self._scripts.emit(Event("queue.held", "-", 0, {"breaker": breaker, "hold": hold, "message": message}))
        return int(open_ms) / 1000

    @asks_redis
    def try_now(self) -> Tried:
        """Try at once what the upstream refused; while a breaker is not closed, one trial of its kind."""
        kinds, jobs, wake_ups = self._scripts.run("try_now", account=ACCOUNT, limit=_LOOKED_AT)
        self._scripts.wake(wake_ups_of(wake_ups))
        return Tried([Breaker(kind) for kind in kinds], jobs)

    @asks_redis
    def currently_open(self) -> dict[Breaker, OpenBreaker]:
        """Return the breakers that are open or half-open now, and why."""
        now, found = self._scripts.now(), {}
        for breaker in Breaker:
            row = cast("dict[str, str]", self._scripts.redis.hgetall(f"{PREFIX}breaker:{name_of(breaker)}"))
            if it := breaker_of(row, now=now):
                found[breaker] = it
        return found


def breaker_of(row: Mapping[str, str], *, now: float) -> OpenBreaker | None:
    """Read a breaker's row; None: it is closed."""
    if "half_open_at" not in row:
        return None
    return OpenBreaker(max(float(row["half_open_at"]) - now, 0.0), _hold(row["hold"]), row["message"])


def name_of(breaker: Breaker) -> str:
    """Return a breaker's name in Redis."""
    return f"{ACCOUNT}:{breaker}"


def _hold(word: str) -> Hold:
    """Read why a breaker is open; a newer version's unknown reason reads as unavailable."""
    return Hold(word) if word in set(Hold) else Hold.UNAVAILABLE
