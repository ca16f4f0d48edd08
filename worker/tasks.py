"""The tasks. Each acts once; none waits: waiting is a Celery countdown for the job's next turn.

`*_later` takes arguments that a newer version may send, so that two versions can work on the same jobs.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final, assert_never

from celery import shared_task

from jobs.breakers import OpenBreaker
from jobs.catalogue import expected_of
from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.facts import Fetched, Pending
from jobs.job import Job, Stored, Video, VideoRequest
from jobs.ledger import Ledger, Rendered
from jobs.lifecycle import (
    Adopt,
    AskAgain,
    Complete,
    FetchAgain,
    GiveUp,
    PollAgain,
    Resubmit,
    StoreVideo,
    after_download,
    after_late_poll,
    after_poll,
    before_submit,
    late_again,
    on_log,
)
from jobs.media import Media, mismatches
from jobs.polls import Poll
from jobs.reminders import Errand, TaskName, Work
from jobs.states import State
from jobs.wakes import Alarm
from worker import faults
from worker.breaker import spread
from worker.describe import Described, NotDescribed
from worker.polling import Group
from worker.reconcile import Reading, allowed_reads, in_doubt, read_log
from worker.reminder import Now, Reminder, clock_from

log = logging.getLogger("rushes.tasks")

MOST_ENDS: Final = 64
"""How many ended jobs are announced at once, at most."""


@shared_task(name=TaskName.SUBMIT.value, bind=True, base=Reminder)
def submit(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (a task does all that is due)
    """Buy what is due in the queue, each once; then poll for it, wait, or find out whether it was bought."""
    for jobs, now in self.due(State.QUEUED):
        orders = {job.id: order for job, order in self.runtime.ledger.with_requests(jobs)}
        for job in jobs:
            with moved_on(self, job):
                _buy(self, job, orders.get(job.id), now)


def _buy(self: Reminder, job: Job, order: VideoRequest | None, now: Now) -> None:
    parts = self.runtime
    verdict = before_submit(job, now=now())
    if isinstance(verdict, GiveUp):
        end(self, job, verdict)
        return
    breaker = parts.breakers.before_submit()
    if breaker is not None:
        self.ring(*_wait_for_breaker(parts.ledger, job, breaker))
        return
    if order is None:
        raise UnknownJob(job.id)
    faults.here("submit.before_intent")
    began = monotonic()
    job = parts.purchases.intend(job, lease_s=parts.settings.submit_lease_s, worker=parts.name)
    assert job.request_id is not None
    faults.here("submit.before_post")
    receipt = parts.upstream.submit(order, job.family, job.request_id, intent_age_s=monotonic() - began)
    faults.here("submit.after_post")
    follows = parts.purchases.settle(job, receipt)
    faults.here("submit.after_write")
    self.ring(*follows)
    parts.breakers.after_submit(receipt)


def _wait_for_breaker(ledger: Ledger, job: Job, breaker: OpenBreaker) -> Sequence[Alarm | None]:
    """Say once why the job waits, however often it meets the open breaker; returns the alarms to set."""
    wait = spread(breaker.wait_s)
    if job.hold is breaker.hold:
        return [ledger.wakes.later(job, wait)]
    return ledger.held_in_queue(job, wait, breaker.hold, breaker.message).alarms


@shared_task(name=TaskName.RECONCILE.value, bind=True, base=Reminder)
def reconcile(self: Reminder, job_id: str, turn: int, *_later: object) -> None:
    """Read the upstream's log, once for all purchases in doubt; adopt what is found, ask again for the rest."""
    parts = self.runtime
    job = parts.ledger.held(job_id, turn)
    if not parts.ledger.alone(f"reconcile:{job.model}", for_s=parts.settings.reconcile.read_every_s):
        self.again(job_id, turn, spread(parts.settings.reconcile.read_every_s))  # another task reads it for us
        return
    doubted = [other for other in in_doubt(parts.ledger) if other.model == job.model]
    allowed = allowed_reads(parts.ledger, parts.settings.reconcile.reads_per_min)
    reading = read_log(parts.upstream, job.model, doubted, allowed)
    now = parts.ledger.now()
    for other in doubted:
        row = reading.rows.get(other.request_id or "")
        if row is None and (other.id != job_id and (other.due_at or now) > now):
            continue  # its own time has not come
        if row is None and not reading.whole:
            _ask_again(self, other, reading)
            continue
        with moved_on(self, other):
            _resolve(self, other, on_log(other, row, now=now, policy=parts.policy))


def _resolve(self: Reminder, job: Job, decision: Adopt | AskAgain | Resubmit) -> None:
    parts = self.runtime
    match decision:
        case Adopt(row, seconds):
            moved = parts.ledger.adopted(
                job, row.generation_id, cost_usd=row.cost_usd, first_poll_s=seconds, by="the upstream's log"
            )
            self.ring(*moved.alarms, *parts.purchases.cancel_if_asked(job.id))
        case AskAgain(seconds, message, for_a_person):
            if for_a_person:
                parts.ledger.needs_attention(job)
            self.ring(*parts.ledger.asked_again(job, seconds, message).alarms)
        case Resubmit():
            self.ring(*parts.ledger.resubmitted(job, by="RUSHES_RECONCILE__IN_DOUBT").alarms)
        case unexpected:
            assert_never(unexpected)


def _ask_again(self: Reminder, job: Job, reading: Reading) -> None:
    """The log could not be read far enough to prove anything."""
    told = reading.trouble.message if reading.trouble else "the upstream's log is longer than we read"
    wait = max(self.runtime.policy.reconcile_first_s, (reading.trouble and reading.trouble.retry_after_s) or 0.0)
    with contextlib.suppress(StaleTurn, WrongState):
        self.ring(*self.runtime.ledger.asked_again(job, wait, told).alarms)


@shared_task(name=TaskName.POLL.value, bind=True, base=Reminder)
def poll(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (as above)
    """Poll all that is due by now; then poll again later, fetch the videos, or give up."""
    parts = self.runtime
    choice = parts.settings.poll
    taken = parts.ledger.wakes.take(State.RENDERING, limit=choice.batch, per_s=choice.most_per_s)
    now, unseen = clock_from(taken.at), len(taken.jobs)
    self.ring(taken.more)
    for group in parts.polling.results(taken.jobs):
        faults.here("poll.before_write")
        alarms = _decided(self, group, now=now())
        faults.here("poll.after_write")
        unseen -= len(group)
        if unseen:
            self.ring(*alarms)  # a slow poll must not keep the videos that are there already
        else:
            _go_on(self, alarms)


def _decided(self: Reminder, group: Group, *, now: float) -> list[Alarm]:
    """Carry out what is decided for each job; returns the alarms to set."""
    parts = self.runtime
    again, done = list[Poll](), list[Rendered]()
    for job, seen in group:
        with moved_on(self, job):
            match after_poll(job, seen, now=now, policy=parts.pace.policy(job)):
                case PollAgain(seconds, word, evidence, polls):
                    again.append(Poll(job, word, seconds, isinstance(seen, Pending), evidence, polls))
                case StoreVideo(video, note):
                    done.append(Rendered(job, video, parts.pace.lesson(job, now=now), note))
                case GiveUp() as verdict:
                    end(self, job, verdict)
                case unexpected:
                    assert_never(unexpected)
    alarms = _store_later(self, done) if done else []
    return [*alarms, *(parts.ledger.polls.again(again) if again else [])]


def _store_later(self: Reminder, done: Sequence[Rendered]) -> list[Alarm]:
    alarms: list[Alarm] = []
    for found, moved in zip(done, self.runtime.ledger.rendered_many(done), strict=True):
        with moved_on(self, found.job):
            if isinstance(moved, JobError):
                raise moved
            alarms += moved.alarms
    return alarms


@shared_task(name=TaskName.STORE.value, bind=True, base=Reminder)
def store(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (as above)
    """Fetch what is due; each job is then done, or its download (never the generation) is tried again."""
    _store(self)


def _store(self: Reminder) -> None:
    for jobs, now in self.due(State.STORING):
        alarms: list[Alarm] = []
        for job in jobs:
            with moved_on(self, job):
                alarms += _fetch(self, job, now)
        _go_on(self, alarms)


def _fetch(self: Reminder, job: Job, now: Now) -> Sequence[Alarm]:
    """Fetch one video, and write down how that went; returns the alarms to set."""
    parts = self.runtime
    job = parts.ledger.storing(job, lease_s=parts.settings.download_lease_s, worker=parts.name)
    assert job.video is not None
    faults.here("store.before_fetch")
    outcome = parts.archive.fetch(job.id, job.turn, job.video)
    match after_download(job, outcome, now=now(), policy=parts.policy):
        case Complete(stored, media):
            return complete(self, job, stored, media)
        case FetchAgain(seconds, message):
            return parts.ledger.store_again(job, seconds, message).alarms
        case PollAgain(seconds, message):
            return parts.ledger.url_gone(job, seconds, message).alarms
        case GiveUp() as verdict:
            return parts.ledger.gave_up(job, verdict).alarms
        case unexpected:
            assert_never(unexpected)


@shared_task(name=TaskName.LATE_FETCH.value, bind=True, base=Reminder)
def late_fetch(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (as above)
    """See whether ended jobs' paid generations have finished after all, and fetch them."""
    for jobs, now in self.due(Errand.LATE_FETCH):
        for job in jobs:
            with moved_on(self, job):
                _late_fetch(self, job, now)


def _late_fetch(self: Reminder, job: Job, now: Now) -> None:
    parts = self.runtime
    job = parts.ledger.errands.begun(Errand.LATE_FETCH, job, lease_s=parts.settings.download_lease_s)
    assert job.generation_id is not None
    seen = parts.poller.poll(job.generation_id, job.family)
    decision = after_late_poll(job, seen, now=now(), policy=parts.policy)
    if isinstance(decision, StoreVideo):
        outcome = parts.archive.fetch(job.id, job.late_fetch_turn, decision.video)
        if isinstance(outcome, Fetched):
            keep_late(self, job, decision.video, outcome.stored, compared(self, job.id, outcome.media))
            return
        decision = late_again(job, outcome.message, now=now(), policy=parts.policy)
    match decision:
        case PollAgain(seconds, told):
            self.ring(*parts.ledger.errands.late_fetch_waits(job, seconds, told))
        case GiveUp(message=told, charged=charged):
            self.ring(*parts.ledger.errands.late_fetch_ended(job, charged, told))
        case unexpected:
            assert_never(unexpected)


@shared_task(name=TaskName.ANNOUNCE.value, bind=True, base=Reminder)
def announce(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (as above)
    """Put the ends of jobs into the outboxes of everybody who wants to be told of them."""
    _announce(self)


def _announce(self: Reminder) -> None:
    parts, began = self.runtime, monotonic()
    taken = parts.ledger.wakes.take(Errand.ANNOUNCE, limit=MOST_ENDS, lease_s=parts.settings.rescue.lease_s)
    self.ring(taken.more)
    ended = parts.ledger.with_requests(taken.jobs)
    if parts.settings.reuse.enabled:
        parts.ledger.reuse.note(ended)
    faults.here("announce.before_put")
    told, woken = list[tuple[Job, Sequence[str]]](), set[str]()
    for job, wanted in parts.receivers.wanting(ended):
        woken.update(parts.outbox.put(job.id, wanted))
        told.append((job, list(wanted)))
    faults.here("announce.before_write")
    parts.ledger.errands.announced(told)
    for receiver in sorted(woken):
        parts.remind(TaskName.DELIVER, receiver, 0)
    parts.handfuls.took(Errand.ANNOUNCE, monotonic() - began)


@shared_task(name=TaskName.DELIVER.value, bind=True, base=Reminder)
def deliver(self: Reminder, receiver: str, turn: int = 0, *_later: object) -> None:
    """Tell one receiver what is due to it, for a bounded time; then line up again, or end."""
    seconds = self.runtime.deliveries.run(receiver)
    if seconds is not None:
        self.again(receiver, turn, seconds)


def keep_late(self: Reminder, job: Job, video: Video, stored: Stored, media: Media | None) -> None:
    """Write down that a late video is ours; the copy of a job that was erased meanwhile is removed."""
    parts = self.runtime
    try:
        self.ring(*parts.ledger.errands.fetched_late(job, video, stored, media, describe=parts.describer.has_work))
    except StaleTurn:
        if parts.ledger.get(job.id).erased_at is not None:
            parts.archive.discard(stored)
        raise


@contextlib.contextmanager
def moved_on(self: Reminder, job: Job) -> Iterator[None]:
    """One job's trouble does not end the work on the others: it is due again when its lease ends."""
    try:
        yield
    except (StaleTurn, WrongState, UnknownJob, UnreadableRow) as error:
        log.info("reminder.dropped task=%s job=%s why=%s: %s", self.name, job.id, type(error).__name__, error)
    except LedgerUnavailable:
        raise
    except Exception:
        log.exception("task=%s job=%s failed unforeseen; it is tried again when its lease ends", self.name, job.id)


def end(self: Reminder, job: Job, verdict: GiveUp) -> None:
    """End the job without its video, and have the hooks told."""
    self.ring(*self.runtime.ledger.gave_up(job, verdict).alarms)


@shared_task(name=TaskName.DESCRIBE.value, bind=True, base=Reminder)
def describe(self: Reminder, job_id: str, turn: int, *_later: object) -> None:  # noqa: ARG001 (as above)
    """Put manifest, poster and preview beside the videos for which that is due; while the store fails, again later."""
    for jobs, _ in self.due(Errand.DESCRIBE):
        for job in jobs:
            with moved_on(self, job):
                _describe(self, job)


def _describe(self: Reminder, job: Job) -> None:
    parts, chosen = self.runtime, self.runtime.settings.describe
    job = parts.ledger.errands.begun(Errand.DESCRIBE, job, lease_s=parts.settings.describe_lease_s)
    request, story = parts.ledger.request(job.id), parts.ledger.job_log.of(job.id)
    outcome: Described | NotDescribed
    try:
        outcome = parts.describer.describe(job, request, story)
    except Exception as error:  # a stranger's video must not keep its description going round for ever
        log.exception("describing job=%s failed unforeseen", job.id)
        outcome = NotDescribed(f"unforeseen: {type(error).__name__}")
    faults.here("describe.before_write")
    if isinstance(outcome, Described):
        keep_described(self, job, outcome)
        return
    last = job.describe_failures + 1 >= chosen.attempts
    wait = None if last else chosen.retry_first_s * 2.0 ** min(job.describe_failures, 30)
    self.ring(*parts.ledger.errands.describe_again(job, outcome.message, next_in_s=wait))


def keep_described(self: Reminder, job: Job, outcome: Described) -> None:
    """Write down what stands beside the video; what was put beside that of a job erased meanwhile is removed."""
    parts = self.runtime
    try:
        self.ring(*parts.ledger.errands.described(job, outcome.made, outcome.trouble))
    except StaleTurn:
        if job.stored is not None and parts.ledger.get(job.id).erased_at is not None:
            parts.archive.discard(job.stored)
        raise


def compared(self: Reminder, job_id: str, media: Media | None) -> Media | None:
    """What is in the video, with what differs from the order."""
    if media is None:
        return None
    expected = expected_of(self.runtime.ledger.request(job_id))
    try:
        return replace(media, mismatch=(*media.mismatch, *mismatches(expected, media)))
    except Exception:  # a stranger's parameters must not keep a paid video from being stored
        log.exception("comparing the video of job=%s with its request failed unforeseen", job_id)
        return media


def complete(self: Reminder, job: Job, stored: Stored, media: Media | None) -> Sequence[Alarm]:
    """End the job with its video; returns the alarms to set. The copy of a job called off meanwhile is removed."""
    parts = self.runtime
    faults.here("store.before_write")
    try:
        media = compared(self, job.id, media)
        moved = parts.ledger.completed(job, stored, media, describe=parts.describer.has_work)
    except (StaleTurn, WrongState):
        if parts.ledger.get(job.id).state in {State.CANCELLED, State.EXPIRED, State.FAILED}:
            parts.archive.discard(stored)
        raise
    faults.here("store.after_write")
    return moved.alarms


GONE_ON_WITH: Final[Mapping[Work, Callable[[Reminder], None]]] = {State.STORING: _store, Errand.ANNOUNCE: _announce}
"""Work that the task that made it due can do itself."""


def _go_on(self: Reminder, alarms: Sequence[Alarm]) -> None:
    """Do what is due at once and quick, for which a message would be most of the cost; send the other reminders."""
    here = [alarm.work for alarm in alarms if not alarm.seconds and alarm.work in GONE_ON_WITH]
    here = [work for work in here if self.goes_on_with(work)]
    self.ring(*(alarm for alarm in alarms if alarm.seconds or alarm.work not in here))
    for work in here:
        GONE_ON_WITH[work](self)
