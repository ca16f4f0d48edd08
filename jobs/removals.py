"""Removals: what retention deletes from the archive is written to the job's row, its log and the event stream."""

from jobs.scripts import Scripts, asks_redis, to_json
from jobs.states import Status


class Removals:
    """Tells that an ended job's files leave the archive."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def record(self, job_id: str, ended: Status, *, why: str, size_bytes: int) -> None:
        """Say it in row, job log and feed; in the event stream alone where the row is gone, of a job that `ended` so.

        Raises:
            WrongState: the job is under way.
        """
        data = {"why": why, "size_bytes": size_bytes}
        turn, is_news = self._scripts.run("removed", id=job_id, ended=ended, data=to_json(data))
        if is_news:
            self._scripts.emit("job.pruned", job_id, int(turn), data)
