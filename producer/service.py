"""A producer's use cases: submit, get, list, cancel, follow, wait. CLI and HTTP API call these."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from posixpath import dirname
from typing import Final, NamedTuple

import redis.asyncio

from config.connection import connect, retention
from config.inputs import Inputs, inputs_of, is_heavy
from config.limits import limits_in
from config.settings import Settings
from config.store import StoreError, open_store
from config.wake_ups import producers_sender
from config.webhook_endpoints import origin_of
from jobs.admission import Limit, Place
from jobs.artifacts import is_name, paths_of
from jobs.breakers import Breaker, OpenBreaker, Tried
from jobs.errors import (
    Erased,
    FieldError,
    InvalidRequest,
    JobError,
    LedgerUnavailable,
    StaleTurn,
    UnknownJob,
    WrongState,
)
from jobs.events import LogEntry, Subscriber
from jobs.fleet import Fleet
from jobs.idempotency import validate_key
from jobs.job import USUAL_TERMS, Family, Job, Terms, VideoRequest
from jobs.job_log import START, EventBatch, following, position
from jobs.ledger import Acceptance, Ledger, SeenWorker, new_job_id
from jobs.moves.move import Move
from jobs.moves.request import Retry, on_cancel, on_retry
from jobs.pauses import Pause
from jobs.reader import Backlog
from jobs.row import serialized
from jobs.schedule import TYPICAL_S, Eta
from jobs.scripts import Scripts
from jobs.states import State, Status
from jobs.trace_context import traceparent_of
from producer.ends import Ends
from producer.eta import Etas
from producer.holds import Holds, KnownHolds, read_holds
from producer.models.catalogue import unfamiliar
from producer.models.kinds import expected_of, kind_of
from producer.models.validation import reuse_problem, validate
from producer.reuse import Reuse, digest_of
from producer.trace_context import current_traceparent
from producer.views import Beside, waiting_of, why_queued_of
from producer.waiting import WaitingEvents, standing

log = logging.getLogger("rushes.producer")

STATES_OF: Final[Mapping[Status, tuple[State, ...]]] = {
    status: tuple(state for state in State if state.status is status) for status in Status
}
_LONGEST_BLOCK_S: Final = 2.0
_CANCEL_TRIES: Final = 20
READ_AT_ONCE: Final = 100
MOST_READ: Final = 2000
"""A page reads at most this many jobs, however few of them fit."""
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a request. `replayed`: the key was known, and this is the job of its first use.

    `reused`: nothing was bought, and this is the completed job of an identical request.

    `job` and `request` are those that were accepted, if known without reading them.
    """

    job_id: str
    replayed: bool
    job: Job | None = None
    request: VideoRequest | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to a cancel: the job, and the move that was applied; None: the job had ended."""

    job: Job
    move: Move | None

    @property
    def is_pending(self) -> bool:
        """Whether the cancel waits until the outcome of the purchase is known."""
        return self.move is not None and self.move.to is None


@dataclass(frozen=True, slots=True)
class Retried:
    """The answer to a retry: its meaning, and the new job, if any; `replayed`: an earlier retry made it."""

    decision: Retry
    job_id: str | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter of jobs; an unset field fits all."""

    statuses: Sequence[Status] = ()
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_from: float | None = None
    created_before: float | None = None
    tenant: str | None = None
    ended_from: float | None = None
    text: str = ""
    """What the prompt contains, in any case."""

    def fits(self, job: Job, request: VideoRequest) -> bool:
        """Whether a job passes the filter."""
        return (
            self.fits_row(job)
            and self.metadata.items() <= request.metadata.items()
            and self.text.casefold() in (request.prompt or "").casefold()
        )

    def fits_row(self, job: Job) -> bool:
        """Whether a job passes what its row alone can answer."""
        return (
            self.model in {None, job.model}
            and self.tenant in {None, job.tenant}
            and (not self.statuses or job.state.status in self.statuses)
            and (self.created_from is None or job.accepted_at >= self.created_from)
            and (self.created_before is None or job.accepted_at < self.created_before)
            and (self.ended_from is None or (job.finished_at or 0.0) >= self.ended_from)
        )


class KnownJob(NamedTuple):
    """A job and its request."""

    job: Job
    request: VideoRequest


@dataclass(frozen=True, slots=True)
class Seen:
    """A job at a time, by the fleet's clock, and its request."""

    job: Job
    request: VideoRequest
    at: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs. `after`: jobs follow behind that id; of a filter that reads rows, perhaps none that fit.

    `is_cut`: many were read, and few fitted.
    """

    jobs: Sequence[tuple[Job, VideoRequest]]
    after: str | None
    is_cut: bool = False


class Service:
    """The use cases of a producer, over the ledger and the broker.

    Every method raises LedgerUnavailable when Redis cannot be used; nothing is half done then.
    """

    def __init__(self, settings: Settings, ledger: Ledger, reuse: Reuse, etas: Etas, inputs: Inputs) -> None:
        self._settings = settings
        self._inputs = inputs
        self._ledger = ledger
        self._block_s = min(_LONGEST_BLOCK_S, settings.redis.socket_timeout_s / 2)  # a longer silence is an outage
        self._etas = etas
        self._reuse = reuse
        self._holds = KnownHolds(self._ledger, limits_in(settings.limits))
        self.ends = Ends(ledger)

    def submit(self, request: VideoRequest, terms: Terms = USUAL_TERMS) -> Submission:
        """Accept a request: from now on the job ends exactly once, even if the message is lost.

        Raises:
            InvalidRequest: naming each field that must change; nothing was queued.
            IdempotencyConflict: the key was used for another request.
            InputsFull: large requests of the tenant leave no room for this one in the archive.
            InputNotKept: the archive cannot keep a large request.
        """
        (answer,) = self.submit_many([(request, terms)])
        if isinstance(answer, JobError):
            raise answer
        return answer

    async def submit_async(self, request: VideoRequest, terms: Terms = USUAL_TERMS) -> Submission:
        """Accept a request as `submit` does, from the event loop.

        Raises:
            InvalidRequest: naming each field that must change; nothing was queued.
            IdempotencyConflict: the key was used for another request.
            InputsFull, InputNotKept: as above.
        """
        if terms.reuse or is_heavy(request.parameters):
            return await asyncio.to_thread(self.submit, request, terms)
        validated = self._validated(request, terms, serialized(request.parameters))
        if isinstance(validated, JobError):
            raise validated
        if isinstance(validated, Submission):
            return validated
        answer = await self._ledger.accept_async(*validated)
        return _submission(answer, validated[0])

    def submit_many(self, requests: Sequence[tuple[VideoRequest, Terms]]) -> list[Submission | JobError]:
        """Accept many requests, hundreds in a round trip; a refused one has its error in its place."""
        prepared = [self._prepared(request, terms) for request, terms in requests]
        accepted = iter(self._accepted([found for found in prepared if isinstance(found, tuple)]))
        return [next(accepted) if isinstance(found, tuple) else found for found in prepared]

    def _prepared(self, request: VideoRequest, terms: Terms) -> tuple[VideoRequest, Terms] | Submission | JobError:
        """Validate a request, and keep its input if it is large."""
        parameters = serialized(request.parameters)
        validated = self._validated(request, terms, parameters)
        if not isinstance(validated, tuple):
            return validated
        try:
            return self._inputs.keep(*validated, parameters)
        except JobError as error:
            return error

    def _validated(
        self, request: VideoRequest, terms: Terms, parameters: bytes | None
    ) -> tuple[VideoRequest, Terms] | Submission | InvalidRequest:
        """Return the request to accept, with its terms; or the answer, if there is none to accept."""
        try:
            self.validate(request, parameters)
            validate_key(terms.idempotency_key)
            if terms.reuse:
                self._validate_reuse(request)
        except InvalidRequest as error:
            return error
        if warning := unfamiliar(request.model):
            log.warning("a request may be a mistake: %s", warning)
        reused = self._reused(request, terms) if terms.reuse else None
        return reused or (
            replace(request, expected=expected_of(request)),
            replace(
                terms,
                family=self._family(request),
                webhook_receiver=origin_of(request.webhook_url, terms.tenant) if request.webhook_url else None,
                kind=kind_of(request),
                reuse_digest=self._reuse_digest(request, terms),
                traceparent=traceparent_of([terms.traceparent or ""]) or current_traceparent(),
            ),
        )

    def _reuse_digest(self, request: VideoRequest, terms: Terms) -> str | None:
        """Return the digest by which identical requests find the job's video, if reuse is allowed and possible."""
        allowed = self._settings.reuse.enabled and request.parameters.get("seed") is not None
        return digest_of(request, terms.tenant) if allowed else None

    def _validate_reuse(self, request: VideoRequest) -> None:
        off = FieldError("dedupe", "is off in this deployment; RUSHES_REUSE__ENABLED=true allows it")
        problem = reuse_problem(request) if self._settings.reuse.enabled else off
        if problem:
            raise InvalidRequest((problem,))

    def _reused(self, request: VideoRequest, terms: Terms) -> Submission | None:
        found = self._reuse.find(
            request,
            tenant=terms.tenant,
            idempotency_key=terms.idempotency_key,
            idempotency_life_s=terms.idempotency_life_s,
        )
        return Submission(found.job_id, found.replayed, reused=True) if found else None

    def _accepted(self, requests: Sequence[tuple[VideoRequest, Terms]]) -> Iterator[Submission | JobError]:
        for start in range(0, len(requests), _AT_ONCE):
            some = requests[start : start + _AT_ONCE]
            answers = self._accepted_at_once(some, is_first=start == 0)
            for (request, _), answer in zip(some, answers, strict=True):
                self._drop_unused_input(request, answer)
                if isinstance(answer, JobError):
                    yield answer
                else:
                    yield _submission(answer, request)

    def _drop_unused_input(self, request: VideoRequest, answer: Acceptance | JobError) -> None:
        """Remove the input of a request that made no job; what cannot be removed now, a worker's sweep finds."""
        is_unused = answer.replayed if isinstance(answer, Acceptance) else not isinstance(answer, LedgerUnavailable)
        if request.input and is_unused:
            with suppress(StoreError, LedgerUnavailable):
                self._inputs.discard(request.input.name)

    def _accepted_at_once(
        self, requests: Sequence[tuple[VideoRequest, Terms]], *, is_first: bool
    ) -> Sequence[Acceptance | JobError]:
        """Accept in one round trip; once some requests are accepted, an outage is the answer to the others only."""
        try:
            return self._ledger.accept_many(requests)
        except LedgerUnavailable as error:
            if is_first:
                raise
            return [error] * len(requests)

    def validate(self, request: VideoRequest, parameters: bytes | None = None) -> None:
        """Validate a request without accepting it; `parameters`: its own as JSON, if the caller has them.

        Raises:
            InvalidRequest: naming each field that must change.
        """
        validate(
            request,
            largest_bytes=self._settings.queue.request_bytes,
            signs_webhooks=bool(self._settings.webhooks.signing_keys),
            parameters=parameters,
        )

    def is_known(self, idempotency_key: str, *, tenant: str | None = None) -> bool:
        """Whether a request with this tenant's key was accepted before."""
        return self._ledger.holder(idempotency_key, tenant=tenant) is not None

    def get(self, job_id: str, *, tenant: str | None = None) -> KnownJob:
        """Read the job and its request.

        Raises:
            UnknownJob: no such job, or it ended so long ago that it is forgotten, or it is not this tenant's.
            Erased: somebody had it erased.
        """
        return _kept(tenant, *self._ledger.whole(job_id))

    async def seen_async(self, job_id: str, *, tenant: str | None = None) -> Seen:
        """Read the same from the event loop, with the time."""
        job, request, at = await self._ledger.whole_async(job_id)
        return Seen(*_kept(tenant, job, request), at)

    def get_many(self, job_ids: Sequence[str]) -> list[tuple[Job, VideoRequest]]:
        """Read the jobs, without unknown ones."""
        return self._ledger.get_many(job_ids)

    def in_need(
        self, *, limit: int = 1000, tenant: str | None = None, most_read: int | None = None
    ) -> list[tuple[Job, VideoRequest]]:
        """List the jobs that wait for a person's decision, the longest first, of the first `most_read` in doubt."""
        doubts = islice(self._doubts(), most_read)
        needy = (found for found in doubts if found[0].attention_at is not None and tenant in {None, found[0].tenant})
        return list(islice(needy, limit))

    def oldest(self, state: State, *, limit: int) -> list[tuple[Job, VideoRequest]]:
        """List the first jobs in a state, in order of acceptance."""
        return self._ledger.listed(self._ledger.page(states=[state], limit=limit, newest_first=False))

    def page(
        self,
        selection: Selection,
        *,
        limit: int,
        after: str | None = None,
        newest_first: bool = True,
        most_read: int = MOST_READ,
    ) -> Page:
        """List up to `limit` jobs that fit the selection, in order of acceptance, from the id behind `after`.

        Long requests are in their short form. It reads `most_read` jobs at most: a page may be short, or empty, and
        still not the last.
        """
        fitting: list[tuple[Job, VideoRequest]] = []
        states, at_once, left = _states(selection), limit, most_read
        while left > 0:
            at_once = min(at_once, left, READ_AT_ONCE)
            ids = self._ledger.page(  # one more than is read tells whether any follow
                states=states, tenant=selection.tenant, limit=at_once + 1, after=after, newest_first=newest_first
            )
            for job, request in self._ledger.listed(ids[:at_once], fits=selection.fits_row):
                if selection.fits(job, request):
                    if len(fitting) == limit:
                        return Page(fitting, fitting[-1][0].id)
                    fitting.append((job, request))
            if len(ids) <= at_once:
                return Page(fitting, None)
            if len(fitting) == limit:
                return Page(fitting, fitting[-1][0].id)
            after, left, at_once = ids[at_once - 1], left - at_once, 2 * at_once
        return Page(fitting, after, is_cut=True)

    def purchases(self, *, tenant: str | None = None) -> list[tuple[float, VideoRequest]]:
        """Return what the newest purchases cost in dollars, of one tenant or of all, in one round trip."""
        return self._ledger.purchases(tenant=tenant, limit=READ_AT_ONCE)

    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job: free before the purchase; after it, the answer says what was bought."""
        for _ in range(_CANCEL_TRIES):
            job = self._ledger.get(job_id)
            move = on_cancel(job, keep=self._settings.late_fetch.keep_cancelled)
            try:
                if move is not None:
                    self._ledger.move(job, move)
            except (StaleTurn, WrongState):
                continue  # the job moved between reading and writing: decide anew
            return Cancelled(self._ledger.get(job_id), move)
        raise LedgerUnavailable(f"{job_id} kept moving while it was being cancelled; ask again")

    def cancel_many(self, job_ids: Sequence[str], *, statuses: Collection[Status]) -> list[Cancelled]:
        """Cancel those that still have one of these statuses; the others go on. Hundreds take one round trip."""
        left, answers = list(job_ids), list[Cancelled]()
        for _ in range(_CANCEL_TRIES):
            moves = list(self._cancels(left, statuses))
            turns = self._ledger.apply(moves)
            done = {job.id: move for (job, move), turn in zip(moves, turns, strict=True) if isinstance(turn, int)}
            answers += [Cancelled(job, done[job.id]) for job, _ in self.get_many(list(done))]
            left = [job.id for job, _ in moves if job.id not in done]  # moved between reading and writing: decide anew
            if not left:
                return answers
        raise LedgerUnavailable(f"{left[0]} kept moving while it was being cancelled; ask again")

    def _cancels(self, job_ids: Sequence[str], statuses: Collection[Status]) -> Iterator[tuple[Job, Move]]:
        for job, _ in self.get_many(job_ids):
            move = on_cancel(job, keep=self._settings.late_fetch.keep_cancelled)
            if move is not None and job.state.status in statuses:
                yield job, move

    def retry(self, job_id: str, *, pay_again: bool = False) -> Retried:
        """Retry an ended job as a new one: free if its generation may still be fetched, else only with `pay_again`.

        Raises:
            Erased: the job's request was erased.
        """
        job, request = self.get(job_id)
        decision = on_retry(job, pay_again=pay_again)
        if job.retried_as is not None:
            return Retried(decision, job.retried_as, replayed=True)
        if decision not in {Retry.GO_ON, Retry.BUY_AGAIN}:
            return Retried(decision, None, replayed=False)
        input_name = request.input.name if request.input else None
        answer = self._ledger.retry(job, job_id=new_job_id(), go_on=decision is Retry.GO_ON, input_name=input_name)
        return Retried(decision, answer.job_id, answer.replayed)

    def erase(self, job_id: str, *, tenant: str | None = None) -> None:
        """Have an ended job's prompt, job log and files forgotten for good; its money row is kept.

        The files go first: after an interruption the row still shows that there are files to erase. They go once more
        at the end, as a worker may have added an artifact until then; it removes later ones itself.

        Raises:
            UnknownJob: no such job, or (if a tenant is named) none of that tenant's.
            WrongState: the job has not ended.
            StoreError: the archive cannot be written from here; files may be left.
        """
        job, request = self._ledger.whole(job_id)
        if not _only_for(tenant, job).is_final:
            raise WrongState(f"{job_id} is {job.state}")
        self._remove_files(job)
        if request and request.input and job.retried_as is None:  # a retry has taken it over
            self._inputs.discard(request.input.name)
        self._ledger.erase(job)
        self._remove_files(job)

    def _remove_files(self, job: Job) -> None:
        if job.stored is not None:
            store, folder = open_store(self._settings), dirname(job.stored.path)
            left = store.beginning_with(f"{folder}/{job.id}.") if folder and is_name(job.id) else ()
            store.remove([*left, *paths_of(job.stored.path)])

    def adopt(self, job_id: str, generation_id: str) -> Job:
        """Give a job in doubt the generation that was bought for it; the job goes on with it.

        Raises:
            WrongState: the job is not in doubt.
        """
        from jobs.moves.reconcile import adopted  # noqa: PLC0415 (few producers decide a doubt)

        job = self._in_doubt(job_id)
        self._ledger.move(job, adopted(job, generation_id, cost_usd=None, first_poll_s=0, by="a person"))
        return self._ledger.get(job_id)

    def resolve(self, job_id: str, *, resubmit: bool) -> Job:
        """Decide a doubt: buy again (which may pay twice), or give the job up.

        Raises:
            WrongState: the job is not in doubt.
        """
        from jobs.moves.reconcile import given_up_in_doubt, resubmitted  # noqa: PLC0415 (as above)

        job = self._in_doubt(job_id)
        again = resubmitted(job, by="a person", queue_ttl_s=retention(self._settings).queue_ttl_s)
        self._ledger.move(job, again if resubmit else given_up_in_doubt())
        return self._ledger.get(job_id)

    def events(self, job_id: str, *, waiting: bool = False) -> Sequence[LogEntry]:
        """Read the job's events, oldest first; `waiting`: and last, derived now, what a queued job waits for."""
        job, entries = self._ledger.get(job_id), self._ledger.job_log.of(job_id)
        after = entries[-1].id if entries else START
        waits = self.waiting_event(job, WaitingEvents(), after=after) if waiting else None
        return [*entries, waits] if waits else entries

    async def log_async(self, job_id: str) -> Sequence[LogEntry]:
        """Read the job log from the event loop; it is empty once the job is gone."""
        return await self._ledger.job_log.of_async(job_id)

    def newest_event(self) -> str:
        """Return the cursor after the newest event of all jobs."""
        return self._ledger.job_log.newest()

    def events_after(self, cursor: str) -> EventBatch:
        """Read the events of all jobs after the cursor; wait a moment for the first."""
        return self._ledger.job_log.after(cursor, block_s=self._block_s)

    def follow(
        self, job_ids: Sequence[str], *, timeout_s: float | None = None, waiting: bool = False
    ) -> Iterator[tuple[str, LogEntry]]:
        """Yield the jobs' events, from their beginning until all jobs have ended or the time is up.

        `waiting`: also, derived, what a queued job waits for, whenever that has changed.
        """
        job_log, ends_at = self._ledger.job_log, None if timeout_s is None else self._ledger.now() + timeout_s
        cursor, told = job_log.newest(), WaitingEvents()
        cursors = dict.fromkeys(job_ids, START)
        entries: Sequence[tuple[str, LogEntry]] = list(self._missed(cursors))
        while True:
            for job_id, entry in entries:
                if job_id in cursors and position(entry.id) > position(cursors[job_id]):
                    cursors[job_id] = entry.id
                    yield job_id, entry
            self._drop_ended(cursors, entries)
            if waiting:
                yield from self._waiting_events(cursors, told)
            left = self._block_s if ends_at is None else ends_at - self._ledger.now()
            if not cursors or left <= 0:
                return
            batch = job_log.after(cursor, block_s=min(left, self._block_s))
            cursor, entries = batch.cursor, list(self._missed(cursors)) if batch.gap else batch.entries

    def _waiting_events(self, cursors: Mapping[str, str], told: WaitingEvents) -> Iterator[tuple[str, LogEntry]]:
        for job, _ in self._ledger.get_many(list(cursors)):
            if entry := self.waiting_event(job, told, after=cursors[job.id]):
                yield job.id, entry

    def _missed(self, cursors: Mapping[str, str]) -> Iterator[tuple[str, LogEntry]]:
        """Yield the entries of the jobs' own logs after each job's cursor."""
        for job_id, entries in self._ledger.job_log.of_many(list(cursors)).items():
            for entry in following(entries, cursors[job_id]):
                yield job_id, entry

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until the job has ended or the time is up, and return it; the job goes on either way."""
        for _ in self.follow([job_id], timeout_s=timeout_s):
            pass
        return self._ledger.get(job_id)

    def counts(self, *, tenant: str | None = None) -> dict[State, int]:
        """Count the jobs in each state, or a tenant's."""
        return self._ledger.counts(tenant=tenant)

    def tallies(self) -> dict[str | None, dict[State, int]]:
        """Count each tenant's jobs in each state in which it has any; None: the jobs without a tenant."""
        return self._ledger.tallies()

    def backlogs(self) -> dict[str, Backlog]:
        """Read how much waits in each queue, and since when; queues without items are left out."""
        found = self._ledger.backlogs()
        if queued := found.get(State.QUEUED):
            admission = self._ledger.admission.ready()
            due, overdue_s = max(queued.due, admission.ready), max(queued.overdue_s, admission.idle_s)
            found[State.QUEUED] = replace(queued, due=due, overdue_s=overdue_s)
        return found

    def open_breakers(self) -> dict[Breaker, OpenBreaker]:
        """Return the upstream's circuit breakers that are open or half-open."""
        return self._ledger.breakers.currently_open()

    def try_now(self) -> Tried:
        """Try at once what the upstream refused, after a top-up for instance; while a breaker is open, one trial."""
        return self._ledger.breakers.try_now()

    def follow_ups(self) -> int:
        """Count the follow-ups that ended jobs still need: descriptions and late fetches."""
        return self._ledger.follow_ups()

    def pause(self, *, by: str, reason: str, what: str | None = None) -> Pause:
        """Begin no purchase until `resume`, in the whole fleet; what has begun goes on to its end.

        `what`: only those of "tenant:T" or "model:M".
        """
        return self._ledger.pauses.pause(by=by, reason=reason, what=what)

    def resume(self, *, what: str | None = None) -> Pause | None:
        """Go on buying; return the pause that is over, or None if there was none."""
        return self._ledger.pauses.resume(what=what)

    def pauses(self) -> Sequence[Pause]:
        """Return the pauses of buying, that of everything first."""
        return sorted(self._ledger.pauses.current().values(), key=lambda pause: pause.what or "")

    def holds(self) -> Holds:
        """Return what holds purchases back now: pauses, the circuit breaker, limits."""
        return read_holds(self._ledger, limits_in(self._settings.limits))

    def set_limit(self, scope: str, limit: Limit) -> None:
        """Set limits of the account, of every tenant, or of one; the fleet keeps them from now on."""
        self._ledger.admission.set(scope, limit)

    def unset_limit(self, scope: str) -> None:
        """Forget what was set for a scope; the settings' limits hold again."""
        self._ledger.admission.unset(scope)

    def in_flight_of(self, tenant: str) -> int:
        """Count a tenant's generations that run upstream."""
        return self._ledger.admission.in_flight_of([tenant])[tenant]

    def place(self, job: Job) -> Place | None:
        """Return a queued job's place; None: it is not ready, or is being bought."""
        return self._ledger.admission.place(job)

    def now(self) -> float:
        """Return the time by the fleet's clock, in seconds since the epoch."""
        return self._ledger.now()

    def check_writable(self) -> None:
        """Write a short-lived key: a full Redis, or a replica, refuses it as it would a job."""
        self._ledger.check_writable()

    def fleet(self, *, seen_within_s: float) -> Fleet:
        """Read the state of the whole fleet; a worker counts if it was seen within these seconds."""
        return self._ledger.fleet.read(seen_within_s=seen_within_s)

    def workers(self, *, within_s: float) -> Sequence[str]:
        """List the workers with a sign of life within these seconds."""
        return self._ledger.workers(within_s=within_s)

    def workers_seen(self, *, within_s: float, most: int) -> Sequence[SeenWorker]:
        """List at most `most` of these workers with their versions, the last one seen first."""
        return self._ledger.workers_seen(within_s=within_s, most=most)

    def eta(self, job: Job) -> Eta | None:
        """Estimate the time until the job's video is done, as p50 and p90; None: unknown."""
        return self._etas.eta(job, now=self._ledger.now())

    def etas(self, jobs: Sequence[Job]) -> dict[str, Eta]:
        """Estimate the same for many jobs, by id; unknown ones are left out."""
        now = self._ledger.now()
        found = {job.id: self._etas.eta(job, now=now) for job in jobs}
        return {job_id: eta for job_id, eta in found.items() if eta is not None}

    def beside(
        self,
        job: Job,
        *,
        archive: str | None = None,
        links: Mapping[str, str] | None = None,
        at: float | None = None,
        placed: bool = False,
    ) -> Beside:
        """Return what a view needs beside the job's row; without `at`, the clock is read if the time matters.

        `placed`: also a queued job's place, which costs a read.
        """
        is_timed = job.state in {State.RENDERING, State.QUEUED}
        now = at if at is not None else self._ledger.now() if is_timed else 0.0
        eta, retention_s = self._etas.eta(job, now=now), self._settings.ledger.retention_s
        beside = Beside(archive, links or {}, now, eta, retention_s)
        if job.state is not State.QUEUED:
            return beside
        holds, in_flight = self._holds.now(), self._holds.in_flight_of(job.tenant or "")
        return replace(
            beside, holds=holds, in_flight=in_flight, place=self._ledger.admission.place(job) if placed else None
        )

    def waiting(self, job: Job) -> str | None:
        """Say why the job waits and what happens next, and where it stands; None: nothing delays it."""
        beside = self.beside(job, placed=True)
        said = (waiting_of(job, beside), standing(beside.place) if beside.place else None)
        return " ".join(filter(None, said)) or None

    def waiting_event(
        self, job: Job, told: WaitingEvents, *, after: str = START, at: float | None = None
    ) -> LogEntry | None:
        """Return an event, derived now, if a queued job waits for something else than was `told` last.

        It has the id of the entry that it comes `after`. Without `at` the clock is read.
        """
        beside = self.beside(job, at=at)
        return told.changed(job, why_queued_of(job, beside), at=beside.now, after=after)

    def is_beside_at_hand(self, job: Job, *, at: float) -> bool:
        """Whether `beside` needs no read of Redis."""
        known = job.state is not State.QUEUED or self._holds.are_at_hand(job.tenant or "")
        return known and self._etas.is_at_hand(job, now=at)

    def _in_doubt(self, job_id: str) -> Job:
        """Read the job, if it is in doubt: any other has a purchase that must not be overwritten."""
        job = self._ledger.get(job_id)
        if job.state is not State.IN_DOUBT:
            raise WrongState(f"{job_id} is {job.state}, not in doubt: there is nothing to decide")
        return job

    def _doubts(self) -> Iterator[tuple[Job, VideoRequest]]:
        """Yield every job in doubt, the longest first, read a page at a time."""
        after = None
        while ids := self._ledger.page(states=[State.IN_DOUBT], limit=READ_AT_ONCE, after=after, newest_first=False):
            yield from self._ledger.get_many(ids)
            if len(ids) < READ_AT_ONCE:
                return
            after = ids[-1]

    def _drop_ended(self, cursors: dict[str, str], entries: Sequence[tuple[str, LogEntry]]) -> None:
        """Stop following jobs that have ended, or that are gone with their logs."""
        ended = {job_id for job_id, entry in entries if job_id in cursors and State(entry.state).is_final}
        if not entries:
            known = {job.id: job for job, _ in self._ledger.get_many(list(cursors))}
            ended = {job_id for job_id in cursors if job_id not in known or known[job_id].is_final}
        for job_id in ended:
            del cursors[job_id]

    def _family(self, request: VideoRequest) -> Family:
        """Return the endpoints for a model; the older ones know Google's only."""
        googles = request.model.startswith(("google/", "veo"))
        return Family.GOOGLE if googles and self._settings.upstream.family == "google" else Family.UNIVERSAL


def _submission(answer: Acceptance, request: VideoRequest) -> Submission:
    return Submission(answer.job_id, answer.replayed, answer.job, request if answer.job else None)


def _only_for(tenant: str | None, job: Job) -> Job:
    """Return the job; another tenant's counts as unknown."""
    if tenant is not None and job.tenant != tenant:
        raise UnknownJob(job.id)
    return job


def _kept(tenant: str | None, job: Job, request: VideoRequest | None) -> KnownJob:
    """Return the tenant's job and request, unless the request is gone."""
    _only_for(tenant, job)
    if request is not None:
        return KnownJob(job, request)
    raise Erased(job.id) if job.erased_at is not None else UnknownJob(job.id)


def _states(selection: Selection) -> list[State]:
    return [state for status in selection.statuses for state in STATES_OF[status]]


def make_service(
    settings: Settings, *, on_loop: "redis.asyncio.Redis | None" = None, subscribers: Sequence[Subscriber] = ()
) -> Service:
    """Build a producer's service; `on_loop` is the event loop's client, for the methods `…_async`."""
    client = connect(settings.redis, name="producer")
    etas = Etas(client, typical_s=TYPICAL_S / settings.time_scale, lateness_s=settings.poll.lateness_s)
    send = producers_sender(settings)
    ledger = Ledger(client, retention=retention(settings), on_loop=on_loop, send_wake_up=send, subscribers=subscribers)
    scripts = Scripts(client, retention=retention(settings), clock=None, subscribers=())
    return Service(settings, ledger, Reuse(scripts), etas, inputs_of(settings, scripts))
