"""The ledger: what is true of every job, in Redis, changed only by small scripts that guard state and turn.

    rushes:job:<id>           hash    the row                              lives until the end + retention
    rushes:request:<id>       string  what was ordered, as JSON            with the row
    rushes:journal:<id>       stream  every edge and look, capped          with the row
    rushes:due                zset    unfinished job -> when something should have happened      permanent
    rushes:announcing         zset    ended job -> when its result hooks are told                permanent
    rushes:retired            zset    ended job -> when its index entries go                     permanent
    rushes:index:<state>|all  zset    job ids in order of acceptance (score 0, ids sort by time) permanent
    rushes:workers            zset    worker -> when it was last seen      a day after the last worker
    rushes:idempotency:<key>  string  job id and fingerprint               idempotency life
    rushes:celery:*           Celery's queues and bindings                 Celery's own

Nobody else writes these keys.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final, ParamSpec, TypeVar, cast

import redis
from redis.commands.core import Script
from ulid import ULID

from jobs.errors import IdempotencyConflict, JobError, LedgerUnavailable, StaleTurn, UnknownJob, WrongState
from jobs.events import Event, JournalEntry, Subscriber
from jobs.job import Charged, Family, Hold, Job, Stored, Video, VideoRequest
from jobs.lifecycle import GiveUp
from jobs.row import VERSION, job_from, plain, request_from, request_text
from jobs.states import EDGES, State

PREFIX: Final = "rushes:"
PERMANENT_KEYS: Final = ("rushes:due", "rushes:announcing", "rushes:retired", "rushes:index:", "rushes:celery:")
"""The keys, or beginnings of keys, that may live for ever; each holds a bounded entry per job within its life."""

WORKER_MEMORY_S: Final = 86400
"""How long a worker that is gone is remembered."""

FIRST_ANNOUNCEMENT: Final = 1
"""The announce turn of a job that has just ended."""

_REFUSALS: Final[Mapping[str, type[JobError]]] = {
    "UNKNOWN_JOB": UnknownJob,
    "STALE_TURN": StaleTurn,
    "WRONG_STATE": WrongState,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflict,
}

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lives:
    """How long things stay in the ledger, in seconds, and how long a journal may grow, in entries."""

    retention_s: float = 7 * 86400
    queue_ttl_s: float = 86400
    idempotency_s: float = 86400
    journal_entries: int = 1000


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to an order: the job's id, and whether it was there already."""

    job_id: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Overdue:
    """A job that nothing has happened to by its due time, with the turns its reminders need."""

    job_id: str
    state: State
    turn: int
    announce_turn: int


@dataclass(frozen=True, slots=True)
class Claim:
    """How overdue jobs are taken: how late they must be, how many at once, and for how long they are left alone."""

    grace_s: float
    limit: int
    lease_s: float
    longest_lease_s: float


def new_job_id() -> str:
    """Mint an id; ids sort by the time they were minted."""
    return f"job_{str(ULID()).lower()}"


def _asks_redis(method: Callable[P, R]) -> Callable[P, R]:
    """Map Redis's errors to ours: the scripts' refusals by their first word, all else to LedgerUnavailable."""

    @functools.wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except redis.RedisError as error:
            word, _, rest = str(error).partition(" ")
            refusal = _REFUSALS.get(word)
            if refusal is not None:
                raise refusal(rest) from None
            raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error

    return asked


class Ledger:
    """Every job's truth. Each writing method moves a job along one edge and returns its new turn.

    Raises:
        StaleTurn: the caller's job is out of date; somebody else moved it on.
        WrongState: the job is not where this edge starts.
        UnknownJob: there is no such row.
        LedgerUnavailable: Redis could not be asked; whether the write happened is not known.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        lives: Lives | None = None,
        clock: Callable[[], float] | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        """Use `client` (which decodes replies to text); `clock` stands in for Redis's own only in tests."""
        self._redis = client
        self._lives = lives or Lives()
        self._clock = clock
        self._subscribers = tuple(subscribers)
        self._accept = self._script("accept")
        self._advance = self._script("advance")
        self._note = self._script("note")
        self._claim = self._script("claim")
        self._announce = self._script("announce")

    # -- taking orders and answering questions ------------------------------------------------------------------

    @_asks_redis
    def accept(
        self,
        request: VideoRequest,
        *,
        job_id: str,
        deadline_s: float,
        due_in_s: float,
        family: Family = Family.UNIVERSAL,
        idempotency_key: str | None = None,
        idempotency_life_s: float | None = None,
    ) -> Acceptance:
        """Put a job into the ledger; the same key with the same request answers with the first job.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        text = request_text(request)
        how, held_id = self._run(
            self._accept,
            id=job_id,
            row={"version": str(VERSION), "model": request.model, "deadline_s": str(deadline_s), "family": family},
            request=text,
            due_in=due_in_s,
            queue_ttl_s=self._lives.queue_ttl_s,
            idempotency_key=idempotency_key,
            idempotency_life_s=idempotency_life_s or self._lives.idempotency_s,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            data=_data({"model": request.model}),
        )
        if how == "replayed":
            return Acceptance(held_id, replayed=True)
        self._tell("job.accepted", job_id, 1, {"model": request.model})
        return Acceptance(job_id, replayed=False)

    @_asks_redis
    def get(self, job_id: str) -> Job:
        """The job as it stands."""
        row = cast("dict[str, str]", self._redis.hgetall(f"{PREFIX}job:{job_id}"))
        if not row:
            raise UnknownJob(job_id)
        return job_from(row)

    @_asks_redis
    def get_many(self, job_ids: Sequence[str]) -> list[tuple[Job, VideoRequest]]:
        """The jobs as they stand, with their orders, in one round trip; those that are gone are left out."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hgetall(f"{PREFIX}job:{job_id}")
            pipe.get(f"{PREFIX}request:{job_id}")
        replies = pipe.execute()
        return [
            (job_from(row), request_from(text))
            for row, text in zip(replies[::2], replies[1::2], strict=True)
            if row and text
        ]

    def held(self, job_id: str, turn: int) -> Job:
        """The job, if this message is its latest reminder."""
        job = self.get(job_id)
        if job.turn != turn:
            raise StaleTurn(f"job is at {job.turn}, the message says {turn}")
        return job

    @_asks_redis
    def request(self, job_id: str) -> VideoRequest:
        """What was ordered."""
        text = cast("str | None", self._redis.get(f"{PREFIX}request:{job_id}"))
        if text is None:
            raise UnknownJob(job_id)
        return request_from(text)

    @_asks_redis
    def page(
        self, *, states: Sequence[State] = (), limit: int = 20, after: str | None = None, newest_first: bool = True
    ) -> list[str]:
        """Up to `limit` job ids in order of acceptance, those of `states` only (none: all), beginning after `after`."""
        pipe = self._redis.pipeline(transaction=False)
        for name in [state.value for state in states] or ["all"]:
            key = f"{PREFIX}index:{name}"
            edge = f"({after}" if after else None
            if newest_first:
                pipe.zrevrangebylex(key, edge or "+", "-", 0, limit)
            else:
                pipe.zrangebylex(key, edge or "-", "+", 0, limit)
        merged = [job_id for ids in pipe.execute() for job_id in ids]
        return sorted(set(merged), reverse=newest_first)[:limit]

    @_asks_redis
    def counts(self) -> dict[State, int]:
        """How many jobs stand in each state, ended ones for as long as they are kept."""
        pipe = self._redis.pipeline(transaction=False)
        for state in State:
            pipe.zcard(f"{PREFIX}index:{state.value}")
        return dict(zip(State, pipe.execute(), strict=True))

    @_asks_redis
    def journal(self, job_id: str) -> list[JournalEntry]:
        """What has happened to the job, oldest first."""
        return [_entry(*raw) for raw in cast("Any", self._redis.xrange(f"{PREFIX}journal:{job_id}"))]

    @_asks_redis
    def follow(self, cursors: Mapping[str, str], *, block_s: float) -> Iterator[tuple[str, JournalEntry]]:
        """What happened after each job's cursor; waits up to `block_s` for the first news."""
        streams = {f"{PREFIX}journal:{job_id}": after for job_id, after in cursors.items()}
        reply = cast("Any", self._redis.xread(cast("Any", streams), count=500, block=max(1, int(block_s * 1000))))
        news = reply.items() if isinstance(reply, dict) else reply
        return iter([(_id_of(key), _entry(*raw)) for key, entries in news for raw in _flat(entries)])

    @_asks_redis
    def now(self) -> float:
        """The time by the fleet's one clock, in seconds since the epoch."""
        if self._clock:
            return self._clock()
        seconds, micros = self._redis.time()
        return seconds + micros / 1e6

    @_asks_redis
    def worker_seen(self, name: str) -> None:
        """A worker says that it is alive."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(f"{PREFIX}workers", {name: self.now()})
        pipe.zremrangebyscore(f"{PREFIX}workers", "-inf", self.now() - WORKER_MEMORY_S)
        pipe.expire(f"{PREFIX}workers", WORKER_MEMORY_S)
        pipe.execute()

    @_asks_redis
    def workers(self, *, within_s: float) -> list[str]:
        """The workers that were seen within the last `within_s` seconds."""
        return [str(name) for name in self._redis.zrangebyscore(f"{PREFIX}workers", self.now() - within_s, "+inf")]

    # -- the edges -------------------------------------------------------------------------------------------------

    def held_in_queue(self, job: Job, seconds: float, hold: Hold, message: str) -> int:
        """Nothing was bought: the job waits in the queue."""
        return self._move(
            job,
            State.QUEUED,
            "job.held",
            by_purchase=job.state is State.SUBMITTING,
            due_in=seconds,
            set={"hold": hold, "message": message},
            unset=["request_id"],
            bump=["holds"],
            data={"hold": hold, "wait_s": seconds, "message": message},
        )

    def submitting(self, job: Job, *, lease_s: float) -> Job:
        """Write the intent to buy; the job as returned speaks for this one purchase until `lease_s` is over."""
        attempt = job.attempt + 1
        request_id = f"{job.id}.{attempt}"
        turn = self._move(
            job,
            State.SUBMITTING,
            "job.submitting",
            due_in=lease_s,
            set={"attempt": str(attempt), "request_id": request_id},
            unset=["hold"],
            data={"attempt": attempt, "request_id": request_id},
        )
        return replace(job, state=State.SUBMITTING, turn=turn, attempt=attempt, request_id=request_id)

    def submitted(self, job: Job, generation_id: str, *, cost_usd: float | None, first_look_s: float) -> int:
        """Keep the receipt; it is taken for as long as the job speaks of this purchase, however late it comes."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._move(
            job,
            State.RENDERING,
            "job.submitted",
            origins=(State.SUBMITTING, State.UNCONFIRMED),
            by_purchase=True,
            due_in=first_look_s,
            deadline_in=job.deadline_s,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            stamps=["submitted_at"],
            unset=["hold", "message"],
            data={"generation_id": generation_id, **({"cost_usd": cost_usd} if cost_usd is not None else {})},
        )

    def unconfirmed(self, job: Job, message: str, *, ask_in_s: float) -> int:
        """Whether the purchase happened is not known; it is asked about in `ask_in_s`."""
        return self._move(
            job,
            State.UNCONFIRMED,
            "job.unconfirmed",
            by_purchase=True,
            due_in=ask_in_s,
            set={"charged": Charged.UNKNOWN, "message": message},
            data={"message": message},
        )

    def look_again(self, job: Job, seconds: float, *, seen: str) -> int:
        """Not done yet: the next look is due in `seconds`."""
        return self._move(
            job,
            State.RENDERING,
            "job.looked",
            due_in=seconds,
            bump=["looks"],
            data={"seen": seen, "wait_s": round(seconds, 3)},
        )

    def rendered(self, job: Job, video: Video) -> int:
        """Done: where the video is, and what is known of it, is written before a byte is fetched."""
        return self._move(
            job,
            State.STORING,
            "job.rendered",
            due_in=0,
            set={"video": plain(video)},
            stamps=[] if job.rendered_at else ["rendered_at"],
            bump=["looks"],
            data={"url": video.url},
        )

    def storing(self, job: Job, *, lease_s: float) -> Job:
        """Take the download, so that a doubled message does not fetch beside it until `lease_s` is over."""
        turn = self._move(job, State.STORING, "job.storing", due_in=lease_s)
        return replace(job, turn=turn)

    def store_again(self, job: Job, seconds: float, message: str) -> int:
        """The download failed: the next try is due in `seconds`."""
        return self._move(
            job,
            State.STORING,
            "job.store_failed",
            due_in=seconds,
            set={"message": message},
            bump=["downloads"],
            data={"message": message, "wait_s": seconds},
        )

    def url_gone(self, job: Job, seconds: float, message: str) -> int:
        """The URL serves no video any more: a look in `seconds` asks for a fresh one."""
        return self._move(
            job,
            State.RENDERING,
            "job.store_failed",
            due_in=seconds,
            set={"message": message},
            bump=["downloads"],
            data={"message": message, "wait_s": seconds},
        )

    def completed(self, job: Job, stored: Stored) -> int:
        """The bytes are ours: the job ends with its video. Returns the turn of its first announcement."""
        self._move(
            job,
            State.COMPLETED,
            "job.completed",
            set={"stored": plain(stored), "charged": Charged.YES},
            unset=["message"],
            data={"path": stored.path, "size_bytes": stored.size_bytes, "sha256": stored.sha256},
        )
        return FIRST_ANNOUNCEMENT

    def gave_up(self, job: Job, end: GiveUp) -> int:
        """The job ends without its video. Returns the turn of its first announcement."""
        self._move(
            job,
            end.state,
            f"job.{end.state}",
            by_purchase=job.state is State.SUBMITTING,
            set={"reason": end.reason, "message": end.message, "charged": end.charged},
            unset=["hold"],
            data={"reason": end.reason, "message": end.message, "charged": end.charged},
        )
        return FIRST_ANNOUNCEMENT

    @_asks_redis
    def cancel_requested(self, job: Job) -> int:
        """Note the wish to cancel without taking the turn from the worker that is buying."""
        turn = cast(
            "int",
            self._run(
                self._note,
                id=job.id,
                **{"from": [State.SUBMITTING, State.UNCONFIRMED]},
                field="cancel_requested_at",
                event="job.cancel_requested",
                data="{}",
            ),
        )
        self._tell("job.cancel_requested", job.id, turn, {})
        return turn

    # -- what is overdue, and who is told of the end -----------------------------------------------------------

    def overdue(self, claim: Claim) -> list[Overdue]:
        """Claim jobs that nothing has happened to for a grace after they were due."""
        return self._claimed("due", claim)

    def unannounced(self, claim: Claim) -> list[Overdue]:
        """Claim ended jobs whose result hooks should have been told by now."""
        return self._claimed("announcing", claim)

    @_asks_redis
    def announcing(self, job_id: str, announce_turn: int, *, lease_s: float) -> int:
        """Take one round of telling the result hooks; a doubled message finds it taken."""
        taken = self._run(self._announce, id=job_id, announce_turn=announce_turn, lease_s=lease_s)
        return cast("int", taken)

    @_asks_redis
    def announced(
        self, job_id: str, announce_turn: int, *, told: Sequence[str], event: str, data: Mapping[str, Any], again: bool
    ) -> int:
        """Settle a round: who has been told so far, and, if `again`, when the rest is told (`data["wait_s"]`)."""
        turn = self._run(
            self._announce,
            id=job_id,
            announce_turn=announce_turn,
            announced=",".join(told),
            next_in=data["wait_s"] if again else None,
            event=event,
            data=_data(data),
        )
        self._tell(event, job_id, cast("int", turn), data)
        return cast("int", turn)

    # -- how a script is asked -----------------------------------------------------------------------------------

    @_asks_redis
    def _claimed(self, index: str, claim: Claim) -> list[Overdue]:
        flat = self._run(
            self._claim,
            index=index,
            grace_s=claim.grace_s,
            limit=claim.limit,
            lease_s=claim.lease_s,
            longest_lease_s=claim.longest_lease_s,
        )
        rows = [flat[start : start + 4] for start in range(0, len(flat), 4)]
        found = [Overdue(job_id, State(state), int(turn), int(told)) for job_id, state, turn, told in rows]
        for job in found:
            self._tell("job.rescued", job.job_id, job.turn, {"state": job.state, "index": index})
        return found

    @_asks_redis
    def _move(
        self,
        job: Job,
        to: State,
        event: str,
        *,
        origins: Sequence[State] = (),
        by_purchase: bool = False,
        data: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> int:
        starts = tuple(origins) or (job.state,)
        for origin in starts:
            if to not in EDGES[origin]:
                raise WrongState(f"no edge leads from {origin} to {to}")
        guard = {"request_id": job.request_id} if by_purchase else {"turn": job.turn}
        turn, _ = self._run(
            self._advance,
            id=job.id,
            to=to,
            event=event,
            data=_data(data or {}),
            final=to.is_final or None,
            **{"from": starts, "set": {}, "unset": [], "bump": [], "stamps": []} | guard | changes,
        )
        self._tell(event, job.id, turn, data or {})
        return int(turn)

    def _script(self, verb: str) -> Script:
        folder = resources.files("jobs") / "lua"
        text = (folder / "prelude.lua").read_text() + (folder / f"{verb}.lua").read_text()
        return self._redis.register_script(text)

    def _run(self, script: Script, **named: Any) -> Any:
        arguments = {
            "prefix": PREFIX,
            "retention_s": self._lives.retention_s,
            "journal_cap": self._lives.journal_entries,
            "now": self._clock() if self._clock else None,
            **named,
        }
        present = {name: value for name, value in arguments.items() if value is not None}
        return script(keys=[], args=[json.dumps(present, separators=(",", ":"))])

    def _tell(self, name: str, job_id: str, turn: int, data: Mapping[str, Any]) -> None:
        event = Event(name, job_id, turn, data)
        for subscriber in self._subscribers:
            subscriber(event)


def _data(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _id_of(key: str) -> str:
    return key.removeprefix(f"{PREFIX}journal:")


def _flat(entries: Any) -> Any:
    """RESP3 wraps a stream's entries in one more list than RESP2."""
    return entries[0] if entries and entries[0] and isinstance(entries[0][0], list | tuple) else entries


def _entry(entry_id: str, fields: Mapping[str, str]) -> JournalEntry:
    return JournalEntry(
        entry_id,
        fields["event"],
        float(fields["at"]),
        fields["state"],
        int(fields["turn"]),
        json.loads(fields["data"]),
    )
