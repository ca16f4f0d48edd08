"""Reading jobs: their rows, requests and indexes. What only a newer version can read is left to it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from jobs.errors import UnknownJob, UnreadableRow
from jobs.idempotency import key_name
from jobs.job import Job, VideoRequest
from jobs.keyspace import PREFIX
from jobs.queues import JOB_QUEUES, QUEUES
from jobs.row import job_from, request_from
from jobs.scripts import Scripts, asks_redis, awaits_redis, refusal_of
from jobs.states import State

_BOUGHT: Final = (State.SUBMITTING, State.IN_DOUBT, State.RENDERING, State.STORING, State.COMPLETED)
"""The states of jobs that were bought, or may have been."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """A queue: its items, how many of them are due, and for how many seconds the oldest of those has been."""

    items: int
    due: int
    overdue_s: float


class JobReader:
    """Reads jobs.

    Raises:
        UnknownJob: there is no such row.
        UnreadableRow: only a newer version can read it.
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    @asks_redis
    def holder(self, idempotency_key: str, *, tenant: str | None = None) -> str | None:
        """Return the job of a tenant's idempotency key, if it is remembered."""
        held = self._redis.get(f"{PREFIX}idempotency:{key_name(idempotency_key, tenant)}")
        return cast("str", held).partition(" ")[0] if held else None

    @asks_redis
    def get(self, job_id: str) -> Job:
        """Read the job."""
        row: object
        try:
            row = self._redis.hgetall(f"{PREFIX}job:{job_id}")
        except redis.ResponseError as error:
            row = error
        job, _ = self._whole(job_id, row, None)
        return job

    @asks_redis
    def whole(self, job_id: str) -> tuple[Job, VideoRequest | None]:
        """Read the job, with its request unless that is gone, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        _ask_whole(pipe, job_id)
        return self._whole(job_id, *pipe.execute(raise_on_error=False))

    @awaits_redis
    async def whole_async(self, job_id: str) -> tuple[Job, VideoRequest | None, float]:
        """Read the same from the event loop, with the time by the fleet's clock."""
        pipe = self._scripts.on_loop.pipeline(transaction=False)
        _ask_whole(pipe, job_id)
        pipe.time()
        row, text, time = await pipe.execute(raise_on_error=False)
        return *self._whole(job_id, row, text), self._scripts.time_of(time)

    @asks_redis
    def get_many(self, job_ids: Sequence[str]) -> list[tuple[Job, VideoRequest]]:
        """Read the jobs with their requests in one round trip.

        Jobs that are gone, or that only a newer version can read, are left out.
        """
        found = ((job, request) for _, job, request in self._each_of(job_ids) if job is not None)
        return [(job, request) for job, request in found if request is not None]

    @asks_redis
    def listed(
        self, job_ids: Sequence[str], *, fits: Callable[[Job], bool] = lambda _: True
    ) -> list[tuple[Job, VideoRequest]]:
        """Read the jobs whose rows fit, in two round trips.

        Jobs that are gone, or that only a newer version can read, are left out.
        """
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hgetall(f"{PREFIX}job:{job_id}")
        read = self._each(job_ids, ((row, None) for row in pipe.execute(raise_on_error=False)))
        return self.with_requests([job for _, job, _ in read if job is not None and fits(job)])

    @asks_redis
    def states(self, job_ids: Sequence[str]) -> dict[str, State | None]:
        """Read the state of each job that has a row; None if only a newer version can read it."""
        return {job_id: job.state if job else None for job_id, job, _ in self._each_of(job_ids)}

    def _each_of(self, job_ids: Sequence[str]) -> Iterator[tuple[str, Job | None, VideoRequest | None]]:
        """Yield each job that has a row, with its request, if there is one; neither if the row cannot be read."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            _ask_whole(pipe, job_id)
        replies = pipe.execute(raise_on_error=False)
        return self._each(job_ids, zip(replies[::2], replies[1::2], strict=True))

    def _each(
        self, job_ids: Sequence[str], replies: Iterable[tuple[Any, Any]]
    ) -> Iterator[tuple[str, Job | None, VideoRequest | None]]:
        """Parse rows and requests."""
        for job_id, (row, text) in zip(job_ids, replies, strict=True):
            try:
                yield job_id, *self._whole(job_id, row, text)
            except UnknownJob:
                continue
            except UnreadableRow:
                yield job_id, None, None

    def _whole(self, job_id: str, row: Any, text: Any) -> tuple[Job, VideoRequest | None]:
        """Parse the job and its request from Redis's replies."""
        try:
            for answer in (row, text):
                if isinstance(answer, redis.RedisError):
                    raise refusal_of(answer)
            if not row:
                raise UnknownJob(job_id)
            return job_from(row), request_from(text) if text else None
        except UnreadableRow as error:
            self._scripts.unreadable(job_id, error)
            raise UnreadableRow(f"{job_id} is left to a newer version: {error}") from error

    @asks_redis
    def with_requests(self, jobs: Sequence[Job]) -> list[tuple[Job, VideoRequest]]:
        """Read these jobs' requests in one round trip; jobs whose requests are gone are left out.

        So are jobs whose requests only a newer version can read.
        """
        if not jobs:
            return []
        texts = cast("list[str | None]", self._redis.mget([f"{PREFIX}request:{job.id}" for job in jobs]))
        return [pair for job, text in zip(jobs, texts, strict=True) if text for pair in self._readable(job, text)]

    def _readable(self, job: Job, text: str) -> Iterator[tuple[Job, VideoRequest]]:
        try:
            yield job, request_from(text)
        except UnreadableRow as error:
            self._scripts.unreadable(job.id, error)

    @asks_redis
    def purchases(self, *, tenant: str | None = None, limit: int) -> list[tuple[float, VideoRequest]]:
        """Read what the newest purchases among up to `limit` jobs cost in dollars, in one round trip.

        Those that only a newer version can read are left out.
        """
        found: list[tuple[float, VideoRequest]] = []
        for cost_usd, text in self._scripts.run("purchases", states=_BOUGHT, tenant=tenant, limit=limit):
            with suppress(UnreadableRow, ValueError):
                found.append((float(cost_usd), request_from(text)))
        return found

    @asks_redis
    def request(self, job_id: str) -> VideoRequest:
        """Read the request."""
        text = cast("str | None", self._redis.get(f"{PREFIX}request:{job_id}"))
        if text is None:
            raise UnknownJob(job_id)
        return request_from(text)

    @asks_redis
    def page(
        self,
        *,
        states: Sequence[State] = (),
        tenant: str | None = None,
        limit: int = 20,
        after: str | None = None,
        newest_first: bool = True,
    ) -> list[str]:
        """List up to `limit` job ids in order of acceptance, beginning after `after`.

        Either a tenant's, in any state; or those in `states` (none: all).
        """
        indexes = [state.value for state in states] or ["all"]
        pipe = self._redis.pipeline(transaction=False)
        for name in [f"tenant:{tenant}"] if tenant is not None else indexes:
            key = f"{PREFIX}index:{name}"
            edge = f"({after}" if after else None
            if newest_first:
                pipe.zrevrangebylex(key, edge or "+", "-", 0, limit)
            else:
                pipe.zrangebylex(key, edge or "-", "+", 0, limit)
        merged = [job_id for ids in pipe.execute() for job_id in ids]
        return sorted(set(merged), reverse=newest_first)[:limit]

    @asks_redis
    def counts(self, *, tenant: str | None = None) -> dict[State, int]:
        """Count the jobs in each state, or a tenant's; ended ones for as long as they are kept."""
        if tenant is not None:
            counts = self._redis.hmget(f"{PREFIX}index:tallies", [f"{state} {tenant}" for state in State])
            return {
                state: int(count or 0) for state, count in zip(State, cast("list[str | None]", counts), strict=True)
            }
        pipe = self._redis.pipeline(transaction=False)
        for state in State:
            pipe.zcard(f"{PREFIX}index:{state.value}")
        return dict(zip(State, pipe.execute(), strict=True))

    @asks_redis
    def tallies(self) -> dict[str | None, dict[State, int]]:
        """Count each tenant's jobs in each state in which it has any; None: the jobs without a tenant."""
        found: dict[str | None, dict[State, int]] = {}
        for name, count in cast("dict[str, str]", self._redis.hgetall(f"{PREFIX}index:tallies")).items():
            state, _, tenant = name.partition(" ")
            if state in set(State):  # another is a newer version's
                found.setdefault(tenant or None, {})[State(state)] = int(count)
        return found

    @asks_redis
    def backlogs(self) -> dict[str, Backlog]:
        """Read how much waits in each queue, and since when; queues without items are left out."""
        now, pipe = self._scripts.now(), self._redis.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.zcard(f"{PREFIX}due:{queue}")
            pipe.zcount(f"{PREFIX}due:{queue}", "-inf", now)
            pipe.zrange(f"{PREFIX}due:{queue}", 0, 0, withscores=True)
        replies = pipe.execute()
        return {
            queue: Backlog(items, due, max(now - first[0][1], 0.0))
            for queue, items, due, first in zip(QUEUES, replies[::3], replies[1::3], replies[2::3], strict=True)
            if first
        }

    @asks_redis
    def unfinished(self) -> set[str]:
        """List the jobs that stand in the queue of a state: all that have not ended."""
        pipe = self._redis.pipeline(transaction=False)
        for queue in JOB_QUEUES:
            pipe.zrange(f"{PREFIX}due:{queue}", 0, -1)
        return {job_id for ids in pipe.execute() for job_id in ids}

    @asks_redis
    def now(self) -> float:
        """Return the time by the fleet's clock, in seconds since the epoch."""
        return self._scripts.now()


def _ask_whole(pipe: Any, job_id: str) -> None:
    pipe.hgetall(f"{PREFIX}job:{job_id}")
    pipe.get(f"{PREFIX}request:{job_id}")
