"""What is overdue: taken in bounded batches, so that a lost reminder is sent again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis
from jobs.states import State


@dataclass(frozen=True, slots=True)
class Overdue:
    """A job that nothing has happened to by its due time, with the turn that its reminder needs."""

    job_id: str
    state: State
    turn: int


@dataclass(frozen=True, slots=True)
class Claim:
    """How overdue jobs are taken: how late they must be, how many at once, and for how long they are left alone."""

    grace_s: float
    limit: int
    lease_s: float
    longest_lease_s: float


class Claims:
    """Takes what is overdue; the claim moves its due time, so that two who ask never take the same job."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def overdue(self, state: State, claim: Claim) -> list[Overdue]:
        """Unfinished jobs in this state that nothing has happened to for a grace after they were due."""
        flat = self._scripts.run(
            "claim",
            state=state,
            grace_s=claim.grace_s,
            limit=claim.limit,
            lease_s=claim.lease_s,
            longest_lease_s=claim.longest_lease_s,
        )
        rows = [flat[start : start + 3] for start in range(0, len(flat), 3)]
        found = list(self._readable(rows))
        for job in found:
            self._scripts.emit("job.rescued", job.job_id, job.turn, {"state": job.state, "index": f"due:{state}"})
        return found

    def _readable(self, rows: Iterable[Sequence[str]]) -> Iterator[Overdue]:
        """Those that this version knows; the others are left to a newer one."""
        for job_id, held, turn in rows:
            try:
                yield Overdue(job_id, State(held), int(turn))
            except ValueError as error:
                self._scripts.unreadable(job_id, error)

    @asks_redis
    def unfinished(self) -> set[str]:
        """Every job that the due index knows: all that have not ended."""
        pipe = self._scripts.redis.pipeline(transaction=False)
        for state in State:
            pipe.zrange(f"{PREFIX}due:{state}", 0, -1)
        return {job_id for ids in pipe.execute() for job_id in ids}
