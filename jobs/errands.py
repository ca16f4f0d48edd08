"""Errands: what an ended job still needs (its hooks told, its late video fetched), each with a turn of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.job import Charged, Stored, Video
from jobs.keyspace import PREFIX
from jobs.reminders import Errand
from jobs.row import plain
from jobs.scripts import Scripts, asks_redis, spelt

FIRST_ERRAND: Final = 1
"""The turn of an errand that has just been started for the first time."""


class Errands:
    """Takes and settles rounds of errands; a doubled message finds its round taken.

    Raises:
        StaleTurn: somebody else took this round.
        UnknownJob: there is no such row.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def count(self) -> int:
        """How many errands ended jobs still need."""
        return sum(self._scripts.redis.zcard(f"{PREFIX}errand:{errand}") for errand in Errand)

    @asks_redis
    def begun(self, errand: Errand, job_id: str, turn: int, *, lease_s: float) -> int:
        """Take one round of an errand."""
        return int(self._scripts.run("errand", id=job_id, errand=errand, errand_turn=turn, lease_s=lease_s))

    @asks_redis
    def settled(
        self,
        errand: Errand,
        job_id: str,
        turn: int,
        event: str,
        *,
        next_in_s: float | None = None,
        set: Mapping[str, str] | None = None,  # noqa: A002 (the script's word)
        bump: Sequence[str] = (),
        start: Mapping[Errand, float] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Settle a round: end the errand, or plan its next round in `next_in_s`."""
        told = {**(data or {}), **({} if next_in_s is None else {"wait_s": round(next_in_s, 3)})}
        new_turn = self._scripts.run(
            "errand",
            id=job_id,
            errand=errand,
            errand_turn=turn,
            next_in=next_in_s,
            set=dict(set or {}),
            bump=list(bump),
            start=dict(start or {}),
            event=event,
            data=spelt(told),
        )
        self._scripts.tell(event, job_id, int(new_turn), told)
        return int(new_turn)

    def announced(self, job_id: str, turn: int, receivers: Sequence[str]) -> int:
        """The job's end is in the outbox of every receiver."""
        return self.settled(Errand.ANNOUNCE, job_id, turn, "job.announced", data={"receivers": list(receivers)})

    def salvaged(self, job_id: str, turn: int, video: Video, stored: Stored) -> int:
        """The late video is ours: the row says so, and the hooks are told once more."""
        return self.settled(
            Errand.SALVAGE,
            job_id,
            turn,
            "job.salvaged",
            set={
                "video": plain(video),
                "stored": plain(stored),
                "charged": Charged.YES,
            },
            start={Errand.ANNOUNCE: 0},
            data={"path": stored.path, "size_bytes": stored.size_bytes},
        )
