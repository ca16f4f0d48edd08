"""Errands: what an ended job still needs (its hooks told, its late video fetched), each with a turn of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.artifacts import Artifact
from jobs.job import Charged, Stored, Video
from jobs.keyspace import PREFIX
from jobs.media import Media, differences
from jobs.reminders import Errand
from jobs.row import media_field, plain
from jobs.scripts import Scripts, asks_redis, spelt

FIRST_ERRAND: Final = 1
"""The turn of an errand that has just been started for the first time."""


def with_video(*, describe: bool) -> dict[Errand, float]:
    """What a job that has its video needs: its hooks told, and with `describe` what stands beside the video."""
    return {Errand.ANNOUNCE: 0, **({Errand.DESCRIBE: 0} if describe else {})}


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

    def described(self, job_id: str, turn: int, made: Sequence[Artifact], trouble: str | None) -> int:
        """All that will ever stand beside the video does."""
        return self.settled(
            Errand.DESCRIBE,
            job_id,
            turn,
            "job.described",
            set={"artifacts": ",".join(made)},
            data={"made": list(made), **({"trouble": trouble} if trouble else {})},
        )

    def describe_again(self, job_id: str, turn: int, message: str, *, next_in_s: float | None) -> int:
        """The store could not be used: it is tried again in `next_in_s`, or given up."""
        return self.settled(
            Errand.DESCRIBE,
            job_id,
            turn,
            "job.describe_ended" if next_in_s is None else "job.describe_waits",
            next_in_s=next_in_s,
            bump=["describe_failures"],
            data={"message": message},
        )

    def salvaged(
        self,
        job_id: str,
        turn: int,
        video: Video,
        stored: Stored,
        media: Media | None = None,
        *,
        describe: bool = False,
    ) -> int:
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
                "removed_at": "",  # whatever retention removed before: now there is a video
                **media_field(media),
            },
            start=with_video(describe=describe),
            data={"path": stored.path, "size_bytes": stored.size_bytes, **differences(media)},
        )
