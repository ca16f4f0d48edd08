"""The doors before the upstream: one for each kind of request, for the whole fleet."""

from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from jobs.job import Hold
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis


class Gate(StrEnum):
    """The doors before the upstream: one for each kind of request."""

    SUBMIT = "submit"
    POLL = "poll"


@dataclass(frozen=True, slots=True)
class Shut:
    """A door is shut, for this long, for this reason."""

    wait_s: float
    hold: Hold
    message: str


@dataclass(frozen=True, slots=True)
class GateTerms:
    """How a door shuts: after `after` refusals in a row, first for `first_s` seconds, doubling up to `longest_s`."""

    first_s: float
    longest_s: float
    after: int


class Gates:
    """Doors that what concerns everybody shuts for everybody, and that one probe opens again."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def ask(self, gate: Gate, *, probe_s: float, again_s: float) -> Shut | None:
        """None if a request may go, else how long to wait.

        Of those who come when the time is up, one is the probe, given up after `probe_s`; the others ask anew after
        `again_s` at most.
        """
        wait_ms, *why = self._scripts.run("gate", gate=gate, verb="ask", probe_s=probe_s, again_s=again_s)
        return Shut(wait_ms / 1000, _hold(why[0]), why[1]) if wait_ms else None

    @asks_redis
    def passed(self, gate: Gate) -> None:
        """A request went through: the door stands open for all."""
        if self._scripts.run("gate", gate=gate, verb="passed")[0]:
            self._scripts.tell("queue.resumed", "-", 0, {"gate": gate})

    @asks_redis
    def refused(
        self, gate: Gate, hold: Hold, message: str, *, terms: GateTerms, wait_s: float | None = None, times: int = 1
    ) -> None:
        """Requests were refused for a reason that concerns all: after `terms.after` in a row the door shuts."""
        shut = self._scripts.run(
            "gate",
            gate=gate,
            verb="refused",
            hold=hold,
            message=message,
            first_s=terms.first_s,
            longest_s=terms.longest_s,
            after=terms.after,
            wait_s=wait_s,
            times=times,
        )
        if shut[0]:
            self._scripts.tell("queue.held", "-", 0, {"gate": gate, "hold": hold, "message": message})

    @asks_redis
    def shut(self) -> dict[Gate, Shut]:
        """The doors that are shut now, and why."""
        now, found = self._scripts.now(), {}
        for gate in Gate:
            row = cast("dict[str, str]", self._scripts.redis.hgetall(f"{PREFIX}gate:{gate}"))
            if "open_at" in row:
                wait_s = max(float(row["open_at"]) - now, 0.0)
                found[gate] = Shut(wait_s, _hold(row["hold"]), row["message"])
        return found


def _hold(word: str) -> Hold:
    """Why a door is shut; a reason that only a newer version knows keeps it as shut as any."""
    return Hold(word) if word in set(Hold) else Hold.UNAVAILABLE
