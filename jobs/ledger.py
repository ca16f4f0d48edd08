"""The ledger: what is true of every job, in Redis, changed only by small scripts that guard state and turn.

`jobs/keyspace.py` draws the keys. Beside the rows stand the job log, the breakers, the errands and the polls, each in a
module of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, cast

import redis
import redis.asyncio
from ulid import ULID

from jobs.breakers import Breakers
from jobs.claims import Claims
from jobs.clock import FleetClock
from jobs.errands import Errands, with_video
from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.events import Subscriber
from jobs.idempotency import key_names
from jobs.job import Charged, Family, Hold, Job, Stored, Video, VideoRequest
from jobs.job_log import JobLog
from jobs.keyspace import PREFIX
from jobs.kinds import kind_of
from jobs.lessons import Lesson
from jobs.lifecycle import GiveUp
from jobs.media import Media, differences
from jobs.polls import Polls
from jobs.reminders import Errand
from jobs.removals import Removals
from jobs.reuse import Reuse
from jobs.row import VERSION, fingerprint_of, job_from, media_field, plain, request_from, request_text
from jobs.scripts import Retention, Scripts, asks_redis, awaits_redis, refusal_of, to_json
from jobs.states import EDGES, State
from jobs.wakes import Alarm, Wakes, alarms_of

WORKER_MEMORY_S: Final = 86400
"""How long a worker that is gone is remembered."""


@dataclass(frozen=True, slots=True)
class Durability:
    """How an intent to buy must be kept before money is spent: on Redis's disk within `wait_s`, and on `replicas`."""

    wait_s: float = 3.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What is put into the ledger as one job, and on which terms."""

    request: VideoRequest
    job_id: str
    deadline_s: float
    due_in_s: float = 0.0
    family: Family = Family.UNIVERSAL
    idempotency_key: str | None = None
    idempotency_life_s: float | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to an order: the job's id, whether it was there already, and the reminder to send, if any."""

    job_id: str
    replayed: bool
    alarm: Alarm | None
    job: Job | None = None
    """The job as it was put there, where that is known without asking."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An edge that was taken: the new turn, whether a cancel had been asked for, and the alarms to set."""

    turn: int
    cancel_asked: bool
    alarms: Sequence[Alarm]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A generation that was found done: its video, what it teaches of how long such a job takes, what was odd."""

    job: Job
    video: Video
    lesson: Lesson | None = None
    note: str | None = None


def new_job_id() -> str:
    """Mint an id; ids sort by the time they were minted."""
    return f"job_{str(ULID()).lower()}"


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
        retention: Retention | None = None,
        durability: Durability | None = None,
        slot_s: float = 0.25,
        clock: Callable[[], float] | None = None,
        subscribers: Sequence[Subscriber] = (),
        on_loop: "redis.asyncio.Redis | None" = None,
    ) -> None:
        """Use `client` (which decodes replies to text); `clock` stands in for Redis's own only in tests.

        `on_loop` is the event loop's client, for what is asked by `…_async`.
        """
        self._slot_s = slot_s
        self._retention = retention or Retention()
        self._durability = durability
        self._scripts = Scripts(
            client, retention=self._retention, clock=clock, subscribers=subscribers, on_loop=on_loop
        )
        self._redis = client
        self.job_log = JobLog(self._scripts)
        self.claims = Claims(self._scripts)
        self.clock = FleetClock(self._scripts)
        self.errands = Errands(self._scripts, slot_s=slot_s)
        self.breakers = Breakers(self._scripts)
        self.removals = Removals(self._scripts)
        self.reuse = Reuse(self._scripts)
        self.wakes = Wakes(self._scripts, slot_s=slot_s)
        self.polls = Polls(self._scripts, slot_s=slot_s)

    # -- taking orders and answering questions ------------------------------------------------------------------

    @asks_redis
    def accept(self, request: VideoRequest, **terms: Any) -> Acceptance:
        """Put a job into the ledger; `terms` are an Order's. The same key with the same request is the first job.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        order = Order(request, **terms)
        return self._accepted(order, self._scripts.run("accept", **self._arguments(order)))

    @awaits_redis
    async def accept_async(self, order: Order) -> Acceptance:
        """Put a job into the ledger, from the event loop.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        return self._accepted(order, await self._scripts.run_async("accept", **self._arguments(order)))

    @asks_redis
    def accept_many(self, orders: Sequence[Order]) -> list[Acceptance | JobError]:
        """Put many jobs into the ledger in one round trip; an order that was refused has its error in its place."""
        answers = self._scripts.run_many("accept", [self._arguments(order) for order in orders])
        return [
            answer if isinstance(answer, JobError) else self._accepted(order, answer)
            for order, answer in zip(orders, answers, strict=True)
        ]

    def _arguments(self, order: Order) -> dict[str, Any]:
        return {
            "id": order.job_id,
            "row": {
                "version": str(VERSION),
                "model": order.request.model,
                "kind": kind_of(order.request),
                "deadline_s": str(order.deadline_s),
                "family": order.family,
                **({} if order.tenant is None else {"tenant": order.tenant}),
            },
            "request": request_text(order.request),
            "due_in": order.due_in_s,
            "queue_ttl_s": self._retention.queue_ttl_s,
            "key_names": key_names(order.idempotency_key, order.tenant) if order.idempotency_key else None,
            "idempotency_life_s": order.idempotency_life_s or self._retention.idempotency_s,
            "fingerprint": fingerprint_of(order.request) if order.idempotency_key else None,
            "slot_s": self._slot_s,
            "data": to_json({"model": order.request.model}),
        }

    def _accepted(self, order: Order, answer: Sequence[str]) -> Acceptance:
        how, job_id, *rest = answer
        if how == "replayed":
            return Acceptance(job_id, replayed=True, alarm=None)
        rings_in, now = rest
        self._scripts.emit("job.accepted", job_id, 1, {"model": order.request.model})
        job = self._as_accepted(order, float(now))
        return Acceptance(job_id, replayed=False, alarm=_alarm(State.QUEUED, job_id, [rings_in]), job=job)

    def _as_accepted(self, order: Order, now: float) -> Job:
        return Job(
            id=order.job_id,
            version=VERSION,
            state=State.QUEUED,
            turn=1,
            model=order.request.model,
            accepted_at=now,
            deadline_at=now + self._retention.queue_ttl_s,
            deadline_s=order.deadline_s,
            due_at=now + order.due_in_s,
            family=order.family,
            tenant=order.tenant,
            kind=kind_of(order.request),
        )

    @asks_redis
    def holder(self, idempotency_key: str, *, tenant: str | None = None) -> str | None:
        """The job that a tenant's idempotency key made, if it is remembered."""
        found = self._scripts.run("key_holder", names=key_names(idempotency_key, tenant), tenant=tenant)
        return cast("str | None", found)

    @asks_redis
    def get(self, job_id: str) -> Job:
        """The job as it stands."""
        row: object
        try:
            row = self._redis.hgetall(f"{PREFIX}job:{job_id}")
        except redis.ResponseError as error:
            row = error
        job, _ = self._whole(job_id, row, None)
        return job

    @asks_redis
    def whole(self, job_id: str) -> tuple[Job, VideoRequest | None]:
        """The job as it stands, with its order unless that is gone, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        _ask_whole(pipe, job_id)
        return self._whole(job_id, *pipe.execute(raise_on_error=False))

    @awaits_redis
    async def whole_async(self, job_id: str) -> tuple[Job, VideoRequest | None, float]:
        """The same, from the event loop, with the time by the fleet's one clock."""
        pipe = self._scripts.on_loop.pipeline(transaction=False)
        _ask_whole(pipe, job_id)
        pipe.time()
        row, text, time = await pipe.execute(raise_on_error=False)
        return *self._whole(job_id, row, text), self._scripts.time_of(time)

    @asks_redis
    def get_many(self, job_ids: Sequence[str]) -> list[tuple[Job, VideoRequest]]:
        """The jobs as they stand, with their orders, in one round trip.

        Those that are gone are left out, and so are those that are left to a newer version.
        """
        found = ((job, request) for _, job, request in self._each_of(job_ids) if job is not None)
        return [(job, request) for job, request in found if request is not None]

    @asks_redis
    def states(self, job_ids: Sequence[str]) -> dict[str, State | None]:
        """The state of each job that has a row; None for one that is left to a newer version."""
        return {job_id: job.state if job else None for job_id, job, _ in self._each_of(job_ids)}

    def _each_of(self, job_ids: Sequence[str]) -> Iterator[tuple[str, Job | None, VideoRequest | None]]:
        """Each job that has a row, with its order, if there is one; neither of one that cannot be read."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            _ask_whole(pipe, job_id)
        replies = pipe.execute(raise_on_error=False)
        for job_id, row, text in zip(job_ids, replies[::2], replies[1::2], strict=True):
            try:
                yield job_id, *self._whole(job_id, row, text)
            except UnknownJob:
                continue
            except UnreadableRow:
                yield job_id, None, None

    def _whole(self, job_id: str, row: Any, text: Any) -> tuple[Job, VideoRequest | None]:
        """The job and its order, as Redis answered for them."""
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
        """These jobs with their orders, in one round trip; those whose orders are gone are left out.

        So is an order that cannot be read: it is left to a newer version, and holds up no other.
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

    def held(self, job_id: str, turn: int) -> Job:
        """The job, if this message is its latest reminder."""
        job = self.get(job_id)
        if job.turn != turn:
            raise StaleTurn(f"job is at {job.turn}, the message says {turn}")
        return job

    @asks_redis
    def request(self, job_id: str) -> VideoRequest:
        """What was ordered."""
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
        """Up to `limit` job ids in order of acceptance, beginning after `after`.

        Those of a tenant, whatever their state; or those of `states` only (none: all).
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
    def counts(self) -> dict[State, int]:
        """How many jobs stand in each state, ended ones for as long as they are kept."""
        pipe = self._redis.pipeline(transaction=False)
        for state in State:
            pipe.zcard(f"{PREFIX}index:{state.value}")
        return dict(zip(State, pipe.execute(), strict=True))

    @asks_redis
    def now(self) -> float:
        """The time by the fleet's one clock, in seconds since the epoch."""
        return self._scripts.now()

    @asks_redis
    def worker_seen(self, name: str) -> None:
        """A worker says that it is alive."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(f"{PREFIX}workers", {name: self.now()})
        pipe.zremrangebyscore(f"{PREFIX}workers", "-inf", self.now() - WORKER_MEMORY_S)
        pipe.expire(f"{PREFIX}workers", WORKER_MEMORY_S)
        pipe.execute()

    @asks_redis
    def workers(self, *, within_s: float) -> list[str]:
        """The workers that were seen within the last `within_s` seconds."""
        return [str(name) for name in self._redis.zrangebyscore(f"{PREFIX}workers", self.now() - within_s, "+inf")]

    # -- the edges -------------------------------------------------------------------------------------------------

    def held_in_queue(self, job: Job, seconds: float, hold: Hold, message: str) -> Moved:
        """Nothing was bought: the job waits in the queue."""
        return self._moved(
            job,
            State.QUEUED,
            "job.held",
            origins=_purchase_states(job),
            by_purchase=job.state is State.SUBMITTING,
            due_in=seconds,
            set={"hold": hold, "message": message, "charged": Charged.NO},
            unset=["request_id", "worker"],
            bump=["holds"],
            slot_s=self._slot_s,
            data={"hold": hold, "wait_s": seconds, "message": message},
        )

    @asks_redis
    def submitting(self, job: Job, *, lease_s: float, worker: str = "", intent: str = "") -> Job:
        """Write the intent to buy; the job as returned speaks for this one purchase until `lease_s` is over.

        `intent` is the caller's own mark of this call: should no answer come, the row shows whether it was written.
        """
        attempt = job.attempt + 1
        request_id = f"{job.id}.{attempt}"
        edge = _edge(
            job,
            State.SUBMITTING,
            "job.submitting",
            due_in=lease_s,
            set={
                "attempt": str(attempt),
                "request_id": request_id,
                "worker": worker,
                "intent": intent,
                "charged": Charged.UNKNOWN,
            },
            stamps=["intent_at"],
            unset=["hold"],
            data={"attempt": attempt, "request_id": request_id},
        )
        moved, durable = self._durably_moved(edge)
        job = replace(
            job,
            state=State.SUBMITTING,
            turn=moved.turn,
            attempt=attempt,
            request_id=request_id,
            worker=worker,
            charged=Charged.UNKNOWN,
        )
        if not durable:
            message = "Redis did not confirm in time that the intent is on disk"
            self.held_in_queue(job, lease_s, Hold.NOT_DURABLE, message)
            raise LedgerUnavailable(message)
        return job

    def submitted(self, job: Job, generation_id: str, *, cost_usd: float | None, first_poll_s: float) -> Moved:
        """Keep the receipt; it is taken for as long as the job speaks of this purchase, however late it comes."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._moved(
            job,
            State.RENDERING,
            "job.submitted",
            origins=(State.SUBMITTING, State.IN_DOUBT),
            by_purchase=True,
            due_in=first_poll_s,
            deadline_in=job.deadline_s,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            stamps=["submitted_at"],
            unset=["hold", "message", "worker"],
            slot_s=self._slot_s,
            data={"generation_id": generation_id, **({"cost_usd": cost_usd} if cost_usd is not None else {})},
        )

    def in_doubt(self, job: Job, message: str, *, ask_in_s: float) -> Moved:
        """Whether the purchase happened is not known; it is asked about in `ask_in_s`."""
        return self._in_doubt(
            job,
            "job.in_doubt",
            by_purchase=True,
            due_in=ask_in_s,
            set={"charged": Charged.UNKNOWN, "message": message},
            data={"message": message},
        )

    def asked_again(self, job: Job, seconds: float, message: str) -> Moved:
        """The upstream's log does not show the purchase yet: it is read again in `seconds`."""
        return self._in_doubt(
            job,
            "job.still_in_doubt",
            due_in=seconds,
            bump=["log_reads"],
            data={"message": message, "wait_s": round(seconds, 3)},
        )

    def _in_doubt(self, job: Job, event: str, *, due_in: float, **changes: Any) -> Moved:
        """Put the purchase in doubt. Each doubt has an alarm of its own: a task reads the log of one model only."""
        moved = self._moved(job, State.IN_DOUBT, event, due_in=due_in, **changes)
        return replace(moved, alarms=[Alarm(State.IN_DOUBT, job.id, moved.turn, due_in)])

    def adopted(self, job: Job, generation_id: str, *, cost_usd: float | None, first_poll_s: float, by: str) -> Moved:
        """The generation of a purchase in doubt is known: the job goes on with it."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._moved(
            job,
            State.RENDERING,
            "job.adopted",
            origins=(State.IN_DOUBT,),
            due_in=first_poll_s,
            deadline_in=job.deadline_s,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            stamps=["submitted_at"],
            unset=["message", "attention_at"],
            slot_s=self._slot_s,
            data={"generation_id": generation_id, "by": by},
        )

    def resubmitted(self, job: Job, *, by: str) -> Moved:
        """It was decided to buy again; whether the first purchase happened stays unknown."""
        return self._moved(
            job,
            State.QUEUED,
            "job.resubmitted",
            due_in=0,
            deadline_in=self._retention.queue_ttl_s,
            set={"charged": Charged.NO},
            unset=["request_id", "message", "attention_at", "worker"],
            slot_s=self._slot_s,
            data={"by": by, "after_attempt": job.attempt},
        )

    def rendered(self, job: Job, video: Video, lesson: Lesson | None = None) -> Moved:
        """Done: where the video is, and what is known of it, is written before a byte is fetched.

        With it goes the `lesson` about how long such a job takes, so that each job is learnt from once.
        """
        (moved,) = self.rendered_many([Rendered(job, video, lesson)])
        if isinstance(moved, JobError):
            raise moved
        return moved

    @asks_redis
    def rendered_many(self, found: Sequence[Rendered]) -> list[Moved | JobError]:
        """Write many such finds in one round trip; one whose job has moved on has its error in its place."""
        edges = [self._rendered(one) for one in found]
        answers = self._scripts.run_many("advance", [edge.named for edge in edges])
        return [
            answer if isinstance(answer, JobError) else self._took(edge, answer)
            for edge, answer in zip(edges, answers, strict=True)
        ]

    def _rendered(self, found: Rendered) -> "_Edge":
        return _edge(
            found.job,
            State.STORING,
            "job.rendered",
            due_in=0,
            set={"video": plain(found.video)},
            stamps=[] if found.job.rendered_at else ["rendered_at"],
            unset=["evidence", "evidence_polls"],
            bump=["polls"],
            slot_s=self._slot_s,
            data={"url": found.video.url, **({"note": found.note} if found.note else {})},
            lesson=asdict(found.lesson) if found.lesson else None,
        )

    def storing(self, job: Job, *, lease_s: float, worker: str = "") -> Job:
        """Take the download, so that a doubled message does not fetch beside it until `lease_s` is over."""
        moved = self._moved(job, State.STORING, "job.storing", due_in=lease_s, set={"worker": worker})
        return replace(job, turn=moved.turn)

    def store_again(self, job: Job, seconds: float, message: str) -> Moved:
        """The download failed: the next try is due in `seconds`."""
        return self._not_stored(job, State.STORING, seconds, message)

    def url_gone(self, job: Job, seconds: float, message: str) -> Moved:
        """The URL serves no video any more: a poll in `seconds` asks for a fresh one."""
        return self._not_stored(job, State.RENDERING, seconds, message)

    def _not_stored(self, job: Job, to: State, seconds: float, message: str) -> Moved:
        return self._moved(
            job,
            to,
            "job.store_failed",
            due_in=seconds,
            set={"message": message},
            unset=["worker"],
            bump=["downloads"],
            slot_s=self._slot_s,
            data={"message": message, "wait_s": seconds},
        )

    def completed(self, job: Job, stored: Stored, media: Media | None = None, *, describe: bool = False) -> Moved:
        """The bytes are ours: the job ends with its video.

        With `describe`, manifest and pictures are to be put beside the video, as an errand.
        """
        return self._moved(
            job,
            State.COMPLETED,
            "job.completed",
            set={"stored": plain(stored), "charged": Charged.YES, **media_field(media)},
            unset=["message"],
            errands=with_video(describe=describe),
            slot_s=self._slot_s,
            data={"path": stored.path, "size_bytes": stored.size_bytes, "sha256": stored.sha256, **differences(media)},
        )

    def gave_up(self, job: Job, end: GiveUp) -> Moved:
        """The job ends without its video; what was bought is looked for later, if that is wanted."""
        late_fetch = (
            {} if end.late_fetch_in_s is None or job.generation_id is None else {Errand.LATE_FETCH: end.late_fetch_in_s}
        )
        return self._moved(
            job,
            end.state,
            f"job.{end.state}",
            origins=_purchase_states(job),
            by_purchase=job.state is State.SUBMITTING,
            errands={Errand.ANNOUNCE: 0, **late_fetch},
            slot_s=self._slot_s,
            set={"reason": end.reason, "message": end.message, "charged": end.charged},
            unset=["hold"],
            data={"reason": end.reason, "message": end.message, "charged": end.charged},
        )

    def cancel_requested(self, job: Job) -> None:
        """Note the wish to cancel without taking the turn from the worker that is buying."""
        self._noted(job, (State.SUBMITTING, State.IN_DOUBT), "job.cancel_requested", once="cancel_requested_at")

    def needs_attention(self, job: Job) -> None:
        """Say, once, that a person must decide."""
        self._noted(job, (State.IN_DOUBT,), "job.needs_attention", once="attention_at")

    def bought_late(
        self, job: Job, generation_id: str, *, cost_usd: float | None, late_fetch_in_s: float | None
    ) -> Sequence[Alarm]:
        """A receipt came for a job that had ended: keep what was bought, and fetch it if that is wanted."""
        cost = {} if cost_usd is None else {"cost_usd": str(cost_usd)}
        return self._noted(
            job,
            tuple(state for state in State if state.is_final),
            "job.bought_late",
            once="bought_late_at",
            request_id=job.request_id,
            set={"generation_id": generation_id, "charged": Charged.YES, **cost},
            start={} if late_fetch_in_s is None else {Errand.LATE_FETCH: late_fetch_in_s},
            data={"generation_id": generation_id},
        )

    @asks_redis
    def lease_void(self, job: Job) -> None:
        """The worker that took this job on lease is gone: the job is due now, not when the lease ends."""
        self._redis.zadd(f"{PREFIX}due:{job.state}", {job.id: self.now()}, xx=True, lt=True)

    # -- what may be done with an ended job ------------------------------------------------------------------------

    @asks_redis
    def retried(self, job: Job, *, job_id: str, go_on: bool) -> Acceptance:
        """Put a new job beside an ended one, with the same order: one that goes on with its generation, or buys anew.

        An ended job is repeated once: a second request is answered with the first repetition.
        """
        inherited = {"generation_id": job.generation_id or "", "charged": Charged.YES, "cost_usd": "0"}
        if job.submitted_at is not None:  # pending since: how long it took until now teaches nothing
            inherited |= {"submitted_at": str(job.submitted_at), "pending_at": str(job.submitted_at)}
        row = {"version": str(VERSION), "model": job.model, "deadline_s": str(job.deadline_s), "family": job.family}
        row |= {name: held for name, held in (("tenant", job.tenant), ("kind", job.kind)) if held is not None}
        told = {"model": job.model, "retry_of": job.id, **({"generation_id": job.generation_id} if go_on else {})}
        state = State.RENDERING if go_on else State.QUEUED
        how, held_id, *rings_in = self._scripts.run(
            "retry",
            id=job_id,
            of=job.id,
            row=row | (inherited if go_on else {}),
            state=state,
            due_in=0,
            deadline_in=job.deadline_s if go_on else self._retention.queue_ttl_s,
            slot_s=self._slot_s,
            data=to_json(told),
            ended_as=job.state,
        )
        if how == "replayed":
            return Acceptance(held_id, replayed=True, alarm=None)
        self._scripts.emit("job.accepted", job_id, 1, told)
        return Acceptance(job_id, replayed=False, alarm=_alarm(state, job_id, rings_in))

    @asks_redis
    def erased(self, job: Job) -> None:
        """Forget what an ended job was about, and whatever it still needed; its row says what it cost."""
        if self._scripts.run("erase", id=job.id, errands=list(Errand)):
            self._scripts.emit("job.erased", job.id, job.turn, {})

    @asks_redis
    def alone(self, what: str, *, for_s: float) -> bool:
        """Whether the caller may do something that one of the fleet does at a time; true once in `for_s`."""
        return bool(self._redis.set(f"{PREFIX}alone:{what}", "1", nx=True, px=int(for_s * 1000)))

    @asks_redis
    def allowance(self, what: str, *, limit: int, window_s: float) -> float:
        """Take one of the `limit` that the fleet has in each window; 0 if it was there, else seconds until the next.

        A window begins with its first use. Any `window_s` touches two of them at most, and so sees twice the limit at
        most.
        """
        key = f"{PREFIX}allowance:{what}"
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(key, 0, nx=True, px=int(window_s * 1000))
        pipe.incr(key)
        pipe.pttl(key)
        _, used, left_ms = pipe.execute()
        return 0.0 if used <= limit else max(left_ms, 1) / 1000

    # -- how a script is asked -----------------------------------------------------------------------------------

    @asks_redis
    def _noted(self, job: Job, states: Sequence[State], event: str, *, once: str, **named: Any) -> Sequence[Alarm]:
        data = named.pop("data", {})
        arguments = {"set": {}, "start": {}, "slot_s": self._slot_s, **named, "from": list(states)}
        turn, written, alarms = self._scripts.run(
            "note", id=job.id, once=once, event=event, data=to_json(data), **arguments
        )
        if written:
            self._scripts.emit(event, job.id, turn, data)
        return alarms_of(job.id, alarms)

    @asks_redis
    def _moved(self, job: Job, to: State, event: str, **how: Any) -> Moved:
        edge = _edge(job, to, event, **how)
        return self._took(edge, self._scripts.run("advance", **edge.named))

    def _took(self, edge: "_Edge", answer: Sequence[Any]) -> Moved:
        turn, cancel_asked, alarms = answer
        self._scripts.emit(edge.event, edge.job_id, turn, edge.data)
        return Moved(int(turn), bool(cancel_asked), alarms_of(edge.job_id, alarms))

    def _durably_moved(self, edge: "_Edge") -> tuple[Moved, bool]:
        """Take an edge; and whether that is on disk, and on the replicas asked for. A server that cannot say passes.

        Without it, a power cut of Redis could forget the intent of a purchase that happened, and buy it again.
        """
        if self._durability is None:
            return self._took(edge, self._scripts.run("advance", **edge.named)), True
        wait_ms = int(self._durability.wait_s * 1000)
        answer, promise = self._scripts.run_and("advance", edge.named, "WAITAOF", 1, self._durability.replicas, wait_ms)
        moved = self._took(edge, answer)
        if isinstance(promise, redis.RedisError):
            if _is_outage(promise) or _can_promise(self._redis):
                raise promise
            return moved, True  # an older server, or one without an append-only file: `doctor` tells
        local, replicas = promise
        return moved, bool(local >= 1 and replicas >= self._durability.replicas)


@dataclass(frozen=True, slots=True)
class _Edge:
    """An edge as the script is told of it, and as the subscribers are."""

    job_id: str
    event: str
    data: Mapping[str, Any]
    named: Mapping[str, Any]


def _edge(
    job: Job,
    to: State,
    event: str,
    *,
    origins: Sequence[State] = (),
    by_purchase: bool = False,
    data: Mapping[str, Any] | None = None,
    **changes: Any,
) -> _Edge:
    """The edge of the job's turn, or of the purchase that it speaks for.

    Raises:
        WrongState: no such edge is drawn.
    """
    starts = tuple(origins) or (job.state,)
    for origin in starts:
        if to not in EDGES[origin]:
            raise WrongState(f"no edge leads from {origin} to {to}")
    guard = {"request_id": job.request_id} if by_purchase else {"turn": job.turn}
    told = {"id": job.id, "to": to, "event": event, "data": to_json(data or {}), "final": to.is_final or None}
    unsaid: dict[str, Any] = {"set": {}, "unset": [], "bump": [], "stamps": [], "errands": {}}
    return _Edge(job.id, event, data or {}, {"from": starts, **told, **unsaid, **guard, **changes})


def _ask_whole(pipe: Any, job_id: str) -> None:
    pipe.hgetall(f"{PREFIX}job:{job_id}")
    pipe.get(f"{PREFIX}request:{job_id}")


def _is_outage(error: redis.RedisError) -> bool:
    """Whether it says nothing about what the server can do: a command that is forbidden here may well be known."""
    return not isinstance(error, redis.ResponseError) or isinstance(error, redis.exceptions.NoPermissionError)


def _can_promise(connection: "redis.Redis") -> bool:
    """Whether the server knows WAITAOF (Redis 7.2) and keeps the file that it speaks of."""
    try:
        known = connection.execute_command("COMMAND DOCS", "WAITAOF")  # type: ignore[no-untyped-call]  # as above
    except redis.ResponseError:
        return False  # older than 7.0
    return bool(known and connection.info("persistence")["aof_enabled"])


def _alarm(state: State, job_id: str, rings_in: Sequence[str | None]) -> Alarm | None:
    """The alarm to set for a new job, if the script named its seconds."""
    return next((Alarm(state, job_id, 1, float(seconds)) for seconds in rings_in if seconds is not None), None)


def _purchase_states(job: Job) -> tuple[State, ...]:
    """What is learnt of a purchase also counts if the purchase was put in doubt meanwhile."""
    return (State.SUBMITTING, State.IN_DOUBT) if job.state is State.SUBMITTING else (job.state,)
