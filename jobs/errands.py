"""Errands: what an ended job still needs (its hooks told, its late video fetched), each with a turn of its own.

They are taken as jobs are (`jobs/wakes.py`), and settled here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.artifacts import Artifact
from jobs.errors import JobError, LedgerUnavailable
from jobs.job import Charged, Job, Stored, Video
from jobs.keyspace import PREFIX
from jobs.media import Media, differences
from jobs.reminders import Errand
from jobs.row import media_field, plain
from jobs.scripts import Scripts, asks_redis, to_json
from jobs.wakes import Alarm, alarms_of


def with_video(*, describe: bool) -> dict[Errand, float]:
    """What a job that has its video needs: its hooks told, and with `describe` what stands beside the video."""
    return {Errand.ANNOUNCE: 0, **({Errand.DESCRIBE: 0} if describe else {})}


def turn_of(job: Job, errand: Errand) -> int:
    """The turn of a job's errand."""
    turns = {
        Errand.ANNOUNCE: job.announce_turn,
        Errand.LATE_FETCH: job.late_fetch_turn,
        Errand.DESCRIBE: job.describe_turn,
    }
    return turns[errand]


@dataclass(frozen=True, slots=True)
class Settled:
    """How a round of an errand went: what is written of it, and in how many seconds the next round is due, if any."""

    event: str
    data: Mapping[str, Any]
    next_in_s: float | None = None
    set: Mapping[str, str] = field(default_factory=dict)
    bump: Sequence[str] = ()
    start: Mapping[Errand, float] = field(default_factory=dict)


class Errands:
    """Settles rounds of errands; a worker that lost its round meanwhile is refused.

    What settles one job's round returns the alarms to set.

    Raises:
        StaleTurn: somebody else settled this round.
        UnknownJob: there is no such row.
    """

    def __init__(self, scripts: Scripts, *, slot_s: float) -> None:
        self._scripts = scripts
        self._slot_s = slot_s

    @asks_redis
    def count(self) -> int:
        """How many errands ended jobs still need."""
        return sum(self._scripts.redis.zcard(f"{PREFIX}errand:{errand}") for errand in Errand)

    @asks_redis
    def begun(self, errand: Errand, job: Job, *, lease_s: float) -> Job:
        """Begin what takes long; the job as returned speaks for this round until `lease_s` is over."""
        turn, _ = self._scripts.run(
            "errand", id=job.id, errand=errand, errand_turn=turn_of(job, errand), lease_s=lease_s
        )
        begun: dict[str, Any] = {f"{errand}_turn": int(turn)}
        return replace(job, **begun)

    @asks_redis
    def announced(self, jobs: Sequence[tuple[Job, Sequence[str]]]) -> None:
        """The ends of these jobs are in the outboxes of their receivers: written down in one round trip.

        A job that somebody else announced meanwhile is left alone.
        """
        rounds = [(job, Settled("job.announced", {"receivers": list(receivers)})) for job, receivers in jobs]
        answers = self._scripts.run_many("errand", [self._arguments(Errand.ANNOUNCE, job, how) for job, how in rounds])
        for (job, how), answer in zip(rounds, answers, strict=True):
            if isinstance(answer, LedgerUnavailable):
                raise answer
            if not isinstance(answer, JobError):
                self._scripts.emit(how.event, job.id, int(answer[0]), how.data)

    def described(self, job: Job, made: Sequence[Artifact], trouble: str | None) -> list[Alarm]:
        """All that will ever stand beside the video does."""
        data = {"made": list(made), **({"trouble": trouble} if trouble else {})}
        return self._settled(Errand.DESCRIBE, job, Settled("job.described", data, set={"artifacts": ",".join(made)}))

    def describe_again(self, job: Job, message: str, *, next_in_s: float | None) -> list[Alarm]:
        """The store could not be used: it is tried again in `next_in_s`, or given up."""
        event = "job.describe_ended" if next_in_s is None else "job.describe_waits"
        how = Settled(event, {"message": message}, next_in_s, bump=["describe_failures"])
        return self._settled(Errand.DESCRIBE, job, how)

    def late_fetch_waits(self, job: Job, seconds: float, seen: str) -> list[Alarm]:
        """The late video is not there yet: it is looked for again in `seconds`."""
        return self._settled(Errand.LATE_FETCH, job, Settled("job.late_fetch_waits", {"seen": seen}, seconds))

    def late_fetch_ended(self, job: Job, charged: Charged, seen: str) -> list[Alarm]:
        """The late video will not come."""
        how = Settled("job.late_fetch_ended", {"seen": seen}, set={"charged": charged})
        return self._settled(Errand.LATE_FETCH, job, how)

    def fetched_late(
        self, job: Job, video: Video, stored: Stored, media: Media | None = None, *, describe: bool = False
    ) -> list[Alarm]:
        """The late video is ours: the row says so, and the hooks are told once more."""
        written = {
            "video": plain(video),
            "stored": plain(stored),
            "charged": Charged.YES,
            "removed_at": "",  # whatever retention removed before: now there is a video
            **media_field(media),
        }
        data = {"path": stored.path, "size_bytes": stored.size_bytes, **differences(media)}
        how = Settled("job.fetched_late", data, set=written, start=with_video(describe=describe))
        return self._settled(Errand.LATE_FETCH, job, how)

    @asks_redis
    def _settled(self, errand: Errand, job: Job, how: Settled) -> list[Alarm]:
        turn, alarms = self._scripts.run("errand", **self._arguments(errand, job, how))
        self._scripts.emit(how.event, job.id, int(turn), _told(how))
        return alarms_of(job.id, alarms)

    def _arguments(self, errand: Errand, job: Job, how: Settled) -> dict[str, Any]:
        return {
            "id": job.id,
            "errand": errand,
            "errand_turn": turn_of(job, errand),
            "next_in": how.next_in_s,
            "set": dict(how.set),
            "bump": list(how.bump),
            "start": dict(how.start),
            "slot_s": self._slot_s,
            "event": how.event,
            "data": to_json(_told(how)),
        }


def _told(how: Settled) -> dict[str, Any]:
    wait = {} if how.next_in_s is None else {"wait_s": round(how.next_in_s, 3)}
    return {**how.data, **wait}
