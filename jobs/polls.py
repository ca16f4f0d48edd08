"""Polls that found nothing new: written down many at a time, each of them due again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.forecast import BUCKETS, BUCKETS_PER_OCTAVE, FIRST_EDGE_S
from jobs.job import Job
from jobs.lessons import LIFE_S
from jobs.scripts import Scripts, asks_redis, to_json
from jobs.states import State
from jobs.wakes import Alarm

_BUCKETS: Final[Mapping[str, float]] = {
    "first_edge_s": FIRST_EDGE_S,
    "buckets_per_octave": BUCKETS_PER_OCTAVE,
    "buckets": BUCKETS,
    "pending_life_ms": int(LIFE_S * 1000),
}
"""How the script counts those that are pending."""


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll that found nothing new: what it saw, and in how many seconds the next one is due.

    `pending`: the upstream said that it is still at it. `evidence`: what an inconclusive reply showed, `evidence_polls`
    times in a row.
    """

    job: Job
    seen: str
    seconds: float
    pending: bool = False
    evidence: str | None = None
    evidence_polls: int = 0


class Polls:
    """Writes poll results down for the worker that polled.

    Raises:
        LedgerUnavailable: Redis could not be asked; the polls are due again when their leases end.
    """

    def __init__(self, scripts: Scripts, *, slot_s: float) -> None:
        self._scripts = scripts
        self._slot_s = slot_s

    @asks_redis
    def again(self, polls: Sequence[Poll]) -> list[Alarm]:
        """Write the polls down in one round trip; returns the alarms that have to be set for the next ones.

        A poll whose job has moved on meanwhile leaves no trace.
        """
        told = [{"seen": poll.seen, "wait_s": round(poll.seconds, 3)} for poll in polls]
        spelling = [
            [
                poll.job.id,
                poll.job.turn,
                poll.seconds,
                to_json(data),
                poll.pending,
                poll.evidence or "",
                poll.evidence_polls,
            ]
            for poll, data in zip(polls, told, strict=True)
        ]
        flat = self._scripts.run("polled", slot_s=self._slot_s, polls=spelling, **_BUCKETS)
        alarms = []
        for poll, data, turn, rings_in in zip(polls, told, flat[::2], flat[1::2], strict=True):
            if turn:
                self._scripts.emit("job.polled", poll.job.id, turn, data)
            if rings_in is not None:
                alarms.append(Alarm(State.RENDERING, poll.job.id, turn, float(rings_in)))
        return alarms
