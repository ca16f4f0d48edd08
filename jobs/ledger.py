"""The ledger: what is true of every job, in Redis, changed only by small scripts that guard state and turn.

    rushes:job:<id>           hash    the row                              lives until the end + retention
    rushes:request:<id>       string  what was ordered, as JSON            with the row
    rushes:journal:<id>       stream  every edge and look, capped          with the row
    rushes:due                zset    unfinished job -> when something should have happened      permanent
    rushes:errand:<errand>    zset    ended job -> when its errand is due                        permanent
    rushes:gate:<gate>        hash    a door before the upstream that was shut, and why          while it matters
    rushes:alone:<what>       string  somebody does this at the moment                           seconds
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
from enum import StrEnum
from importlib import resources
from typing import Any, Final, ParamSpec, TypeVar, cast

import redis
from redis.commands.core import Script
from ulid import ULID

from jobs.errors import IdempotencyConflict, JobError, LedgerUnavailable, StaleTurn, UnknownJob, WrongState
from jobs.events import Event, JournalEntry, Subscriber
from jobs.job import Charged, Family, Hold, Job, Stored, Video, VideoRequest
from jobs.lifecycle import GiveUp
from jobs.reminders import Errand
from jobs.row import VERSION, job_from, plain, request_from, request_text
from jobs.states import EDGES, State

PREFIX: Final = "rushes:"
PERMANENT_KEYS: Final = ("rushes:due", "rushes:errand:", "rushes:retired", "rushes:index:", "rushes:celery:")
"""The keys, or beginnings of keys, that may live for ever; each holds a bounded entry per job within its life."""

WORKER_MEMORY_S: Final = 86400
"""How long a worker that is gone is remembered."""

FIRST_ERRAND: Final = 1
"""The turn of an errand that has just been started for the first time."""

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
class Durability:
    """How an intent to buy must be kept before money is spent: on Redis's disk within `wait_s`, and on `replicas`."""

    wait_s: float = 3.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to an order: the job's id, and whether it was there already."""

    job_id: str
    replayed: bool


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


class Gate(StrEnum):
    """The doors before the upstream: one for each kind of request."""

    SUBMIT = "submit"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Shut:
    """A door is shut, for this long, for this reason."""

    wait_s: float
    hold: Hold
    message: str


@dataclass(frozen=True, slots=True)
class GateTerms:
    """How a door shuts: after so many refusals in a row, first for `first_s`, doubling up to `longest_s`."""

    first_s: float
    longest_s: float
    after: int


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
        durability: Durability | None = None,
        clock: Callable[[], float] | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        """Use `client` (which decodes replies to text); `clock` stands in for Redis's own only in tests."""
        self._redis = client
        self._lives = lives or Lives()
        self._durability = durability
        self._clock = clock
        self._subscribers = tuple(subscribers)
        self._accept = self._script("accept")
        self._advance = self._script("advance")
        self._note = self._script("note")
        self._claim = self._script("claim")
        self._errand = self._script("errand")
        self._gate = self._script("gate")

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
    def errands(self) -> int:
        """How many errands ended jobs still need."""
        return sum(self._redis.zcard(f"{PREFIX}errand:{errand}") for errand in Errand)

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
            origins=_purchase_states(job),
            by_purchase=job.state is State.SUBMITTING,
            due_in=seconds,
            set={"hold": hold, "message": message},
            unset=["request_id", "worker"],
            bump=["holds"],
            data={"hold": hold, "wait_s": seconds, "message": message},
        )

    def submitting(self, job: Job, *, lease_s: float, worker: str = "") -> Job:
        """Write the intent to buy; the job as returned speaks for this one purchase until `lease_s` is over."""
        attempt = job.attempt + 1
        request_id = f"{job.id}.{attempt}"
        with self._redis.client() as connection:  # type: ignore[no-untyped-call]  # the promise is for one connection's writes
            turn = self._move(
                job,
                State.SUBMITTING,
                "job.submitting",
                via=connection,
                due_in=lease_s,
                set={"attempt": str(attempt), "request_id": request_id, "worker": worker},
                stamps=["intent_at"],
                unset=["hold"],
                data={"attempt": attempt, "request_id": request_id},
            )
            durable = self._is_durable(connection)
        job = replace(job, state=State.SUBMITTING, turn=turn, attempt=attempt, request_id=request_id, worker=worker)
        if not durable:
            message = "Redis did not confirm in time that the intent is on disk"
            self.held_in_queue(job, lease_s, Hold.NOT_DURABLE, message)
            raise LedgerUnavailable(message)
        return job

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
            unset=["hold", "message", "worker"],
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

    def asked_again(self, job: Job, seconds: float, message: str) -> int:
        """The upstream's log does not show the purchase yet: it is read again in `seconds`."""
        return self._move(
            job,
            State.UNCONFIRMED,
            "job.asked",
            due_in=seconds,
            bump=["confirms"],
            data={"message": message, "wait_s": round(seconds, 3)},
        )

    def adopted(self, job: Job, generation_id: str, *, cost_usd: float | None, first_look_s: float, by: str) -> int:
        """The generation of a purchase in doubt is known: the job goes on with it."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._move(
            job,
            State.RENDERING,
            "job.adopted",
            origins=(State.UNCONFIRMED,),
            due_in=first_look_s,
            deadline_in=job.deadline_s,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            stamps=["submitted_at"],
            unset=["message", "attention_at"],
            data={"generation_id": generation_id, "by": by},
        )

    def resubmitted(self, job: Job, *, by: str) -> int:
        """It was decided to buy again; whether the first purchase happened stays unknown."""
        return self._move(
            job,
            State.QUEUED,
            "job.resubmitted",
            due_in=0,
            deadline_in=self._lives.queue_ttl_s,
            set={"charged": Charged.NO},
            unset=["request_id", "message", "attention_at", "worker"],
            data={"by": by, "after_attempt": job.attempt},
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

    def storing(self, job: Job, *, lease_s: float, worker: str = "") -> Job:
        """Take the download, so that a doubled message does not fetch beside it until `lease_s` is over."""
        turn = self._move(job, State.STORING, "job.storing", due_in=lease_s, set={"worker": worker})
        return replace(job, turn=turn)

    def store_again(self, job: Job, seconds: float, message: str) -> int:
        """The download failed: the next try is due in `seconds`."""
        return self._not_stored(job, State.STORING, seconds, message)

    def url_gone(self, job: Job, seconds: float, message: str) -> int:
        """The URL serves no video any more: a look in `seconds` asks for a fresh one."""
        return self._not_stored(job, State.RENDERING, seconds, message)

    def _not_stored(self, job: Job, to: State, seconds: float, message: str) -> int:
        return self._move(
            job,
            to,
            "job.store_failed",
            due_in=seconds,
            set={"message": message},
            unset=["worker"],
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
            errands={Errand.ANNOUNCE: 0},
            data={"path": stored.path, "size_bytes": stored.size_bytes, "sha256": stored.sha256},
        )
        return FIRST_ERRAND

    def gave_up(self, job: Job, end: GiveUp) -> int:
        """The job ends without its video. Returns the turn of its first announcement."""
        salvage = {} if end.salvage_in_s is None or job.generation_id is None else {Errand.SALVAGE: end.salvage_in_s}
        self._move(
            job,
            end.state,
            f"job.{end.state}",
            origins=_purchase_states(job),
            by_purchase=job.state is State.SUBMITTING,
            errands={Errand.ANNOUNCE: 0, **salvage},
            set={"reason": end.reason, "message": end.message, "charged": end.charged},
            unset=["hold"],
            data={"reason": end.reason, "message": end.message, "charged": end.charged},
        )
        return FIRST_ERRAND

    def cancel_requested(self, job: Job) -> int:
        """Note the wish to cancel without taking the turn from the worker that is buying."""
        return self._noted(
            job, (State.SUBMITTING, State.UNCONFIRMED), "job.cancel_requested", once="cancel_requested_at"
        )

    def needs_attention(self, job: Job) -> int:
        """Say, once, that a person must decide."""
        return self._noted(job, (State.UNCONFIRMED,), "job.needs_attention", once="attention_at")

    def bought_late(self, job: Job, generation_id: str, *, cost_usd: float | None, salvage_in_s: float | None) -> int:
        """A receipt came for a job that had ended: keep what was bought, and fetch it if that is wanted."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._noted(
            job,
            tuple(state for state in State if state.is_final),
            "job.bought_late",
            once="bought_late_at",
            request_id=job.request_id,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            start={} if salvage_in_s is None else {Errand.SALVAGE: salvage_in_s},
            data={"generation_id": generation_id},
        )

    @_asks_redis
    def lease_void(self, job: Job) -> None:
        """Whoever took this job on lease is gone: it is due now, not when the lease ends."""
        self._redis.zadd(f"{PREFIX}due", {job.id: self.now()}, xx=True, lt=True)

    # -- what is overdue, and what ended jobs still need -----------------------------------------------------------

    def overdue(self, claim: Claim) -> list[Overdue]:
        """Claim unfinished jobs that nothing has happened to for a grace after they were due."""
        return self._claimed(None, claim)

    def overdue_errands(self, errand: Errand, claim: Claim) -> list[Overdue]:
        """Claim ended jobs whose errand should have been run by now; `turn` is the errand's."""
        return self._claimed(errand, claim)

    @_asks_redis
    def errand_begun(self, errand: Errand, job_id: str, turn: int, *, lease_s: float) -> int:
        """Take one round of an errand; a doubled message finds it taken."""
        return int(self._run(self._errand, id=job_id, errand=errand, errand_turn=turn, lease_s=lease_s))

    @_asks_redis
    def errand_settled(
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
        new_turn = self._run(
            self._errand,
            id=job_id,
            errand=errand,
            errand_turn=turn,
            next_in=next_in_s,
            set=dict(set or {}),
            bump=list(bump),
            start=dict(start or {}),
            event=event,
            data=_data(told),
        )
        self._tell(event, job_id, int(new_turn), told)
        return int(new_turn)

    def told(self, job_id: str, turn: int, hooks: Sequence[str]) -> int:
        """Every hook has been told."""
        return self.errand_settled(Errand.ANNOUNCE, job_id, turn, "job.announced", set={"announced": ",".join(hooks)})

    def told_in_part(
        self, job_id: str, turn: int, hooks: Sequence[str], failed: Mapping[str, str], *, next_in_s: float | None
    ) -> int:
        """Some hooks raised: they are told again in `next_in_s`, or given up."""
        return self.errand_settled(
            Errand.ANNOUNCE,
            job_id,
            turn,
            "hook.abandoned" if next_in_s is None else "hook.failed",
            next_in_s=next_in_s,
            set={"announced": ",".join(hooks)},
            bump=["announce_failures"],
            data={"failed": dict(failed)},
        )

    def salvaged(self, job_id: str, turn: int, video: Video, stored: Stored) -> int:
        """The late video is ours: the row says so, and the hooks are told once more."""
        return self.errand_settled(
            Errand.SALVAGE,
            job_id,
            turn,
            "job.salvaged",
            set={
                "video": plain(video),
                "stored": plain(stored),
                "charged": Charged.YES,
                "announced": "",
                "announce_failures": "0",
            },
            start={Errand.ANNOUNCE: 0},
            data={"path": stored.path, "size_bytes": stored.size_bytes},
        )

    # -- the doors before the upstream -----------------------------------------------------------------------------

    @_asks_redis
    def ask_gate(self, gate: Gate, *, probe_s: float, again_s: float) -> Shut | None:
        """None if a request may go, else how long to wait.

        Of those who come when the time is up, one is the probe, given up after `probe_s`; the others ask anew after
        `again_s` at most.
        """
        wait_ms, *why = self._run(self._gate, gate=gate, verb="ask", probe_s=probe_s, again_s=again_s)
        return Shut(wait_ms / 1000, Hold(why[0]), why[1]) if wait_ms else None

    @_asks_redis
    def gate_passed(self, gate: Gate) -> None:
        """A request went through: the door stands open for all."""
        if self._run(self._gate, gate=gate, verb="passed")[0]:
            self._tell("queue.resumed", "-", 0, {"gate": gate})

    @_asks_redis
    def gate_refused(
        self, gate: Gate, hold: Hold, message: str, *, terms: GateTerms, wait_s: float | None = None
    ) -> None:
        """A request was refused for a reason that concerns all: after `terms.after` in a row the door shuts."""
        shut = self._run(
            self._gate,
            gate=gate,
            verb="refused",
            hold=hold,
            message=message,
            first_s=terms.first_s,
            longest_s=terms.longest_s,
            after=terms.after,
            wait_s=wait_s,
        )
        if shut[0]:
            self._tell("queue.held", "-", 0, {"gate": gate, "hold": hold, "message": message})

    @_asks_redis
    def shut_gates(self) -> dict[Gate, Shut]:
        """The doors that are shut now, and why."""
        now, found = self.now(), {}
        for gate in Gate:
            row = cast("dict[str, str]", self._redis.hgetall(f"{PREFIX}gate:{gate}"))
            if "open_at" in row:
                wait_s = max(float(row["open_at"]) - now, 0.0)
                found[gate] = Shut(wait_s, Hold(row["hold"]), row["message"])
        return found

    @_asks_redis
    def alone(self, what: str, *, for_s: float) -> bool:
        """Whether the caller may do something that one of the fleet does at a time; true once in `for_s`."""
        return bool(self._redis.set(f"{PREFIX}alone:{what}", "1", nx=True, px=int(for_s * 1000)))

    # -- how a script is asked -----------------------------------------------------------------------------------

    @_asks_redis
    def _claimed(self, errand: Errand | None, claim: Claim) -> list[Overdue]:
        flat = self._run(
            self._claim,
            errand=errand,
            grace_s=claim.grace_s,
            limit=claim.limit,
            lease_s=claim.lease_s,
            longest_lease_s=claim.longest_lease_s,
        )
        rows = [flat[start : start + 3] for start in range(0, len(flat), 3)]
        found = [Overdue(job_id, State(state), int(turn)) for job_id, state, turn in rows]
        for job in found:
            self._tell("job.rescued", job.job_id, job.turn, {"state": job.state, "errand": errand})
        return found

    @_asks_redis
    def _noted(self, job: Job, states: Sequence[State], event: str, *, once: str, **named: Any) -> int:
        data = named.pop("data", {})
        arguments = {"set": {}, "start": {}, **named, "from": list(states)}
        turn, written = self._run(self._note, id=job.id, once=once, event=event, data=_data(data), **arguments)
        if written:
            self._tell(event, job.id, turn, data)
        return int(turn)

    @_asks_redis
    def _move(
        self,
        job: Job,
        to: State,
        event: str,
        *,
        origins: Sequence[State] = (),
        by_purchase: bool = False,
        via: "redis.Redis | None" = None,
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
            via=via,
            id=job.id,
            to=to,
            event=event,
            data=_data(data or {}),
            final=to.is_final or None,
            **{"from": starts, "set": {}, "unset": [], "bump": [], "stamps": [], "errands": {}} | guard | changes,
        )
        self._tell(event, job.id, turn, data or {})
        return int(turn)

    def _is_durable(self, connection: "redis.Redis") -> bool:
        """Whether this connection's writes are on disk, and on the replicas asked for; a server that cannot say passes.

        Without it, a power cut of Redis could forget the intent of a purchase that happened, and buy it again.
        """
        if self._durability is None:
            return True
        try:
            local, replicas = connection.execute_command(  # type: ignore[no-untyped-call]  # redis-py has no waitaof of its own
                "WAITAOF", 1, self._durability.replicas, int(self._durability.wait_s * 1000)
            )
        except redis.ResponseError as error:
            if str(error).partition(" ")[0] != "ERR":  # an unknown command, or no append-only file: `doctor` tells
                raise
            return True
        return bool(local >= 1 and replicas >= self._durability.replicas)

    def _script(self, verb: str) -> Script:
        folder = resources.files("jobs") / "lua"
        text = (folder / "prelude.lua").read_text() + (folder / f"{verb}.lua").read_text()
        return self._redis.register_script(text)

    def _run(self, script: Script, *, via: "redis.Redis | None" = None, **named: Any) -> Any:
        arguments = {
            "prefix": PREFIX,
            "retention_s": self._lives.retention_s,
            "journal_cap": self._lives.journal_entries,
            "now": self._clock() if self._clock else None,
            **named,
        }
        present = {name: value for name, value in arguments.items() if value is not None}
        return script(client=via, keys=[], args=[json.dumps(present, separators=(",", ":"))])

    def _tell(self, name: str, job_id: str, turn: int, data: Mapping[str, Any]) -> None:
        event = Event(name, job_id, turn, data)
        for subscriber in self._subscribers:
            subscriber(event)


def _purchase_states(job: Job) -> tuple[State, ...]:
    """What is learnt of a purchase also counts if the purchase was put in doubt meanwhile."""
    return (State.SUBMITTING, State.UNCONFIRMED) if job.state is State.SUBMITTING else (job.state,)


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
