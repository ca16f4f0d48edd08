"""The ledger: every job's row in Redis, changed only by small scripts that guard state and turn.

`jobs/keyspace.py` draws the keys. The job log and the breakers have modules of their own.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import redis
import redis.asyncio
from ulid import ULID

from jobs.admission import Admission
from jobs.breakers import Breakers
from jobs.clock import WORKER_MEMORY_S, FleetClock
from jobs.errors import JobError, LedgerUnavailable
from jobs.events import Event, Subscriber
from jobs.fleet import FleetReader
from jobs.idempotency import key_name
from jobs.job import USUAL_TERMS, Charged, Hold, Job, Priority, Terms, VideoRequest
from jobs.job_log import JobLog
from jobs.keyspace import PREFIX
from jobs.limits import Limits
from jobs.moves.move import Move
from jobs.pauses import Pauses
from jobs.reader import JobReader
from jobs.row import VERSION, fingerprint_of, request_text, to_fields
from jobs.scripts import (
    Retention,
    Scripts,
    SendWakeUp,
    TimeRoundTrip,
    WakeUp,
    asks_redis,
    awaits_redis,
    refusal_of,
    to_json,
    wake_ups_of,
)
from jobs.states import FollowUp, State, Status
from jobs.step import Step, step_of
from jobs.work_items import Item, WorkItems

if TYPE_CHECKING:
    from jobs.facts import Accepted

LATENESS_MEMORY_S: Final = 60
"""So long a worker that polls nothing is shown with its last lateness."""

_REPEATED: Final = (
    *("model", "kind", "account", "tenant", "priority", "family", "deadline_s"),
    *("reuse_digest", "webhook_receiver", "traceparent"),
)
"""The fields that a retry copies from its job."""


@dataclass(frozen=True, slots=True)
class Durability:
    """Where an intent must be before money is spent: on Redis's disk within `wait_s`, and on `replicas` replicas."""

    wait_s: float = 3.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to a request: the job's id, and whether it existed already."""

    job_id: str
    replayed: bool
    job: Job | None = None
    """The job as accepted, if known without reading it."""


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker process, the version of Rushes that it runs, and when it last gave a sign of life."""

    name: str
    version: str
    seen_at: float
    late_s: float | None = None
    """By how much its polls were late between its last two signs of life, at most; None: it polled nothing lately."""


def new_job_id() -> str:
    """Make a job id; ids sort by their time of creation."""
    return f"job_{str(ULID()).lower()}"


def accepted_at(job_id: str) -> float:
    """Return when a job was accepted, in epoch seconds: its id begins with the time.

    Raises:
        ValueError: `new_job_id` did not make this id.
    """
    return float(ULID.from_str(job_id.removeprefix("job_").upper()).timestamp)


class Ledger(JobReader):
    """Accepts and moves jobs, and reads them; each move guards turn and state.

    Raises:
        StaleTurn: the caller's job is out of date; another process moved it.
        WrongState: the job is not in a state from which this move starts.
        UnknownJob: there is no such row.
        LedgerUnavailable: Redis could not be used; whether the write happened is not known.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        retention: Retention | None = None,
        durability: Durability | None = None,
        clock: Callable[[], float] | None = None,
        subscribers: Sequence[Subscriber] = (),
        on_loop: "redis.asyncio.Redis | None" = None,
        send_wake_up: SendWakeUp | None = None,
        round_trip: TimeRoundTrip = nullcontext,
    ) -> None:
        """Use `client` (which decodes replies to text); `clock` stands in for Redis's own only in tests.

        `on_loop` is the event loop's client, for the methods `…_async`; `send_wake_up` sends the wake-ups that follow;
        `round_trip` times each script.
        """
        self._retention = retention or Retention()
        self._durability = durability
        super().__init__(
            Scripts(
                client,
                retention=self._retention,
                clock=clock,
                subscribers=subscribers,
                on_loop=on_loop,
                send_wake_up=send_wake_up,
                round_trip=round_trip,
            )
        )
        self.job_log = JobLog(self._scripts)
        self.limits = Limits(self._scripts)
        self.clock = FleetClock(self._scripts)
        self.breakers = Breakers(self._scripts)
        self.items = WorkItems(self._scripts)
        self.pauses = Pauses(self._scripts)
        self.admission = Admission(self._scripts)
        self.fleet = FleetReader(self._scripts)

    # -- accepting jobs ------------------------------------------------------------------------------

    @asks_redis
    def accept(self, request: VideoRequest, terms: Terms = USUAL_TERMS) -> Acceptance:
        """Put a job into the ledger; an idempotency key used for the same request before returns its first job.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        accepted, wake_ups = self._accepted(
            request, terms, self._scripts.run("accept", **self._arguments(request, terms))
        )
        self._scripts.wake(wake_ups)
        return accepted

    @awaits_redis
    async def accept_async(self, request: VideoRequest, terms: Terms = USUAL_TERMS) -> Acceptance:
        """Put a job into the ledger, from the event loop.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        answer = await self._scripts.run_async("accept", **self._arguments(request, terms))
        accepted, wake_ups = self._accepted(request, terms, answer)
        if wake_ups:
            with suppress(RuntimeError):  # no thread to be had: the rescuer sends them
                await asyncio.to_thread(self._scripts.wake, wake_ups)
        return accepted

    @asks_redis
    def accept_many(self, requests: Sequence[tuple[VideoRequest, Terms]]) -> list[Acceptance | JobError]:
        """Put many jobs into the ledger in one round trip; a refused request has its error in its place."""
        answers = self._scripts.run_many("accept", [self._arguments(*one) for one in requests])
        accepted: list[Acceptance | JobError] = []
        for one, answer in zip(requests, answers, strict=True):
            if isinstance(answer, JobError):
                accepted.append(answer)
                continue
            acceptance, wake_ups = self._accepted(*one, answer)
            self._scripts.wake(wake_ups)
            accepted.append(acceptance)
        return accepted

    def _arguments(self, request: VideoRequest, terms: Terms) -> dict[str, Any]:
        key = terms.idempotency_key
        return {
            "id": terms.job_id or new_job_id(),
            "row": to_fields(self._terms_of(request, terms)),
            "request": request_text(request),
            "due_in": terms.due_in_s,
            "queue_ttl_s": self._queue_ttl_s(terms),
            "key_name": key_name(key, terms.tenant) if key else None,
            "idempotency_life_s": terms.idempotency_life_s or self._retention.idempotency_s,
            "fingerprint": fingerprint_of(request) if key else None,
            "data": to_json(_accepted_data(request.model, terms.account)),
        }

    def _terms_of(self, request: VideoRequest, terms: Terms) -> dict[str, Any]:
        """Return the row's fields that come from the request and its terms."""
        return {
            "version": VERSION,
            "model": request.model,
            "kind": terms.kind or request.model,
            "account": terms.account,
            "deadline_s": terms.deadline_s or self._retention.deadline_s,
            "family": terms.family,
            **({} if terms.priority is Priority.NORMAL else {"priority": terms.priority}),
            **({} if terms.tenant is None else {"tenant": terms.tenant}),
            **({} if terms.reuse_digest is None else {"reuse_digest": terms.reuse_digest}),
            **({} if terms.webhook_receiver is None else {"webhook_receiver": terms.webhook_receiver}),
            **({} if terms.traceparent is None else {"traceparent": terms.traceparent}),
        }

    def _queue_ttl_s(self, terms: Terms) -> float:
        """Return how long the job may wait for its purchase; one that may not begin yet waits from then on."""
        return terms.queue_ttl_s or terms.due_in_s + self._retention.queue_ttl_s

    def _accepted(self, request: VideoRequest, terms: Terms, answer: Sequence[Any]) -> tuple[Acceptance, list[WakeUp]]:
        how, job_id, *rest = answer
        if how == "replayed":
            return Acceptance(job_id, replayed=True), []
        now, wake_ups = rest
        job = self._as_accepted(job_id, request, terms, float(now))
        self._scripts.emit(Event("job.accepted", job_id, 1, _accepted_data(request.model, terms.account), job))
        return Acceptance(job_id, replayed=False, job=job), wake_ups_of(wake_ups)

    def _as_accepted(self, job_id: str, request: VideoRequest, terms: Terms, now: float) -> Job:
        return Job(
            id=job_id,
            state=State.QUEUED,
            turn=1,
            accepted_at=now,
            deadline_at=now + self._queue_ttl_s(terms),
            due_at=now + terms.due_in_s,
            **self._terms_of(request, terms),
        )

    @asks_redis
    def worker_seen(self, name: str, version: str, *, late_s: float | None = None) -> None:
        """Record a worker's sign of life, and by how much its polls were late since the last one.

        Its name is another one after each start, so its version never changes.
        """
        self._scripts.run(
            "seen",
            worker=f"{name} {version}",
            memory_s=WORKER_MEMORY_S,
            late_key=f"{PREFIX}late:{name}",
            late_s=late_s,
            late_memory_s=LATENESS_MEMORY_S,
        )

    @asks_redis
    def workers(self, *, within_s: float) -> list[str]:
        """List the workers that were seen within the last `within_s` seconds."""
        return [worker.name for worker in self.workers_seen(within_s=within_s)]

    @asks_redis
    def workers_seen(self, *, within_s: float, most: int = 1000) -> list[SeenWorker]:
        """List at most `most` of these workers with their versions, the last one seen first."""
        found = cast(
            "list[tuple[str, float]]",
            self._redis.zrange(
                f"{PREFIX}workers",
                "+inf",
                self.now() - within_s,
                desc=True,
                byscore=True,
                offset=0,
                num=most,
                withscores=True,
            ),
        )
        parted = [(member.partition(" "), seen_at) for member, seen_at in found]
        late = iter(self._redis.mget([f"{PREFIX}late:{name}" for (name, _, _), _ in parted]) if parted else ())
        return [
            SeenWorker(name, version, seen_at, None if (late_s := next(late)) is None else float(late_s))
            for (name, _, version), seen_at in parted
        ]

    # -- moving jobs -----------------------------------------------------------------------------------------------

    def move(self, subject: Job | Item, move: Move) -> int:
        """Apply one move and return the job's turn, or raise why it was refused."""
        (turn,) = self.apply([(subject, move)])
        if isinstance(turn, JobError):
            raise turn
        return turn

    @asks_redis
    def apply(self, moves: Sequence[tuple[Job | Item, Move]]) -> list[int | JobError]:
        """Apply many moves in one round trip, each by itself; return the jobs' turns.

        A refused move has its error in its place.
        """
        drawn = [step_of(subject, move) for subject, move in moves]
        steps = [step for step in drawn if isinstance(step, Step)]
        texts = [step.text for step in steps]
        answers = iter(self._applied(steps, self._scripts.run("apply", *texts)) if steps else ())
        return [next(answers) if isinstance(step, Step) else step for step in drawn]

    @asks_redis
    def apply_durably(self, job: Job, move: Move) -> tuple[int, bool]:
        """Apply a move; return the job's turn, and whether the move is on Redis's disk and on enough replicas.

        A server that cannot say passes.
        """
        if self._durability is None:
            return self.move(job, move), True
        step = Step.of(job, move)
        promised = ("WAITAOF", 1, self._durability.replicas, int(self._durability.wait_s * 1000))
        answer, promise = self._scripts.run_and(promised, "apply", step.text)
        (turn,) = self._applied([step], answer)
        if isinstance(turn, JobError):
            raise turn
        if isinstance(promise, redis.RedisError):
            if _is_outage(promise) or _can_promise(self._redis):
                raise promise
            return turn, True  # an older server, or one without an append-only file: `doctor` warns
        local, replicas = promise
        return turn, bool(local >= 1 and replicas >= self._durability.replicas)

    def intend(self, job: Job, move: Move) -> Job:
        """Write the intent to buy; the returned job may be bought once, until the lease ends.

        Raises:
            LedgerUnavailable: the intent may not survive a crash of Redis: nothing may be bought by it.
        """
        from jobs.moves.purchase import held  # noqa: PLC0415 (and its facts, which a producer does not need)

        turn, is_durable = self.apply_durably(job, move)
        job = job.model_copy(update={"state": State.SUBMITTING, "turn": turn, **move.set})
        if not is_durable:
            message = "Redis did not confirm in time that the intent is on disk"
            self.move(job, held(job, Hold.NOT_DURABLE, message, wait_s=move.lease_s or 0.0))
            raise LedgerUnavailable(message)
        return job

    def _applied(self, steps: Sequence[Step], answer: Any) -> list[int | JobError]:
        answers, wake_ups = answer
        found = [self._answer(step, one) for step, one in zip(steps, answers, strict=True)]
        self._scripts.wake(wake_ups_of(wake_ups))
        return found

    def _answer(self, step: Step, answer: Any) -> int | JobError:
        if isinstance(answer, str):
            return refusal_of(redis.ResponseError(answer))
        written, turn = answer
        if written and step.move.event is not None:
            self._scripts.emit(Event(step.move.event, step.job_id, turn, step.move.data, step.job, step.move.set))
        return int(turn)

    @asks_redis
    def follow_ups(self) -> int:
        """Count the follow-ups that ended jobs still need, deliveries not among them."""
        pipe = self._redis.pipeline(transaction=False)
        for follow_up in FollowUp:
            pipe.zcard(f"{PREFIX}due:{follow_up}")
        return sum(pipe.execute())

    # -- ended jobs ------------------------------------------------------------------------------------------------

    @asks_redis
    def retry(self, job: Job, *, job_id: str, go_on: bool, input_name: str | None = None) -> Acceptance:
        """Retry an ended job as a new one, which goes on with its generation or buys another, and takes its input.

        An ended job is retried once: a second call returns the first retry.
        """
        kept = {name: getattr(job, name) for name in _REPEATED}
        bought = {
            "generation_id": job.generation_id,
            "charged": Charged.YES,
            "cost_usd": 0,
            "submitted_at": job.submitted_at,
            "pending_at": job.submitted_at,  # its time until now says nothing about latency
        }
        values = {"version": VERSION, **kept, **(bought if go_on else {})}
        data = _accepted_data(job.model, job.account) | {"retry_of": job.id}
        data |= {"generation_id": job.generation_id} if go_on else {}
        state = State.RENDERING if go_on else State.QUEUED
        how, found_id, *wake_ups = self._scripts.run(
            "retry",
            id=job_id,
            of=job.id,
            row=to_fields({name: value for name, value in values.items() if value is not None}),
            state=state,
            due_in=0,
            deadline_in=job.deadline_s if go_on else self._retention.queue_ttl_s,
            data=to_json(data),
            ended_as=job.state,
            input=input_name,
        )
        if how == "replayed":
            return Acceptance(found_id, replayed=True)
        self._scripts.emit(Event("job.accepted", job_id, 1, data))
        self._scripts.wake(wake_ups_of(wake_ups[0]))
        return Acceptance(job_id, replayed=False)

    @asks_redis
    def bought_twice(self, job: Job, receipt: "Accepted", *, job_id: str) -> None:
        """Keep another purchase of a job as a new job, which goes on with it; once per generation."""
        kept = {name: getattr(job, name) for name in _REPEATED}
        bought = {
            "generation_id": receipt.generation_id,
            "charged": Charged.YES,
            "cost_usd": receipt.cost_usd,
            "submitted_at": job.intent_at or job.accepted_at,
            "pending_at": job.intent_at or job.accepted_at,  # its time until now says nothing about latency
        }
        values = {"version": VERSION, **kept, **bought}
        accepted = _accepted_data(job.model, job.account) | {"retry_of": job.id, "generation_id": receipt.generation_id}
        data = {"generation_id": receipt.generation_id, "job_id": job_id, "cost_usd": receipt.cost_usd}
        how, _, *rest = self._scripts.run(
            "bought_twice",
            id=job_id,
            of=job.id,
            generation_id=receipt.generation_id,
            row=to_fields({name: value for name, value in values.items() if value is not None}),
            request=request_text(VideoRequest(job.model)),
            deadline_in=job.deadline_s,
            accepted=to_json(accepted),
            data=to_json(data),
        )
        if how == "accepted":
            turn, wake_ups = rest
            self._scripts.emit(Event("job.bought_twice", job.id, turn, data, job))
            self._scripts.emit(Event("job.accepted", job_id, 1, accepted, changes=values))
            self._scripts.wake(wake_ups_of(wake_ups))

    @asks_redis
    def prune(self, job_id: str, ended: Status, *, why: str, size_bytes: int) -> None:
        """Record that an ended job's files leave the archive: in its row and log, or (the row is gone) in the stream.

        Raises:
            WrongState: the job is under way.
        """
        data = {"why": why, "size_bytes": size_bytes}
        turn, is_new, wake_ups = self._scripts.run("removed", id=job_id, ended=ended, data=to_json(data))
        self._scripts.wake(wake_ups_of(wake_ups))
        if is_new:
            self._scripts.emit(Event("job.pruned", job_id, int(turn), data))

    @asks_redis
    def erase(self, job: Job) -> None:
        """Erase an ended job's request, log and follow-ups; its row keeps the cost."""
        if self._scripts.run("erase", id=job.id):
            self._scripts.emit(Event("job.erased", job.id, job.turn, {}, job))

    @asks_redis
    def check_writable(self) -> None:
        """Write a key that lives for a second: a full Redis, or a replica, refuses it as it would a job."""
        self._redis.set(f"{PREFIX}writable", "1", px=1000)


def _accepted_data(model: str, account: str) -> dict[str, Any]:
    return {"model": model, "account": account}


def _is_outage(error: redis.RedisError) -> bool:
    """Whether the error says nothing about the server's abilities; a forbidden command may still be known."""
    return not isinstance(error, redis.ResponseError) or isinstance(error, redis.exceptions.NoPermissionError)


def _can_promise(connection: "redis.Redis") -> bool:
    """Whether the server knows WAITAOF (Redis 7.2) and keeps an append-only file."""
    try:
        known = connection.execute_command("COMMAND DOCS", "WAITAOF")  # type: ignore[no-untyped-call]  # as above
    except redis.ResponseError:
        return False  # older than 7.0
    return bool(known and connection.info("persistence")["aof_enabled"])
