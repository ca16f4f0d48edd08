"""The tasks. Each looks at the world once; none waits: waiting is a Celery countdown for the job's next turn.

`*_later` takes arguments that a newer version may send, so that two versions can work on the same jobs.
"""

from typing import assert_never

from celery import shared_task

from jobs.errors import StaleTurn, WrongState
from jobs.job import Job, Stored
from jobs.lifecycle import (
    AskForConfirmation,
    Await,
    Complete,
    FetchAgain,
    GiveUp,
    LookAgain,
    StoreVideo,
    WaitInQueue,
    after_download,
    after_look,
    after_submit,
    before_submit,
    on_cancel,
)
from jobs.reminders import TaskName
from jobs.result import result_of
from jobs.states import State
from worker.hooks import tell
from worker.reminder import Reminder


@shared_task(name=TaskName.SUBMIT.value, bind=True, base=Reminder)
def submit(self: Reminder, job_id: str, turn: int, *_later: object) -> None:
    """Buy the generation, once; then look for it, wait in the queue, or say that the outcome is not known."""
    parts = self.runtime
    job = parts.ledger.held(job_id, turn)
    verdict = before_submit(job, now=parts.ledger.now())
    if isinstance(verdict, GiveUp):
        end(self, job, verdict)
        return
    request = parts.ledger.request(job_id)
    job = parts.ledger.submitting(job, lease_s=parts.settings.submit_lease_s)
    assert job.request_id is not None
    receipt = parts.upstream.submit(request, job.family, job.request_id)
    match after_submit(job, receipt, policy=parts.policy):
        case Await(accepted, seconds):
            turn = parts.ledger.submitted(job, accepted.generation_id, cost_usd=accepted.cost_usd, first_look_s=seconds)
            parts.remind(TaskName.LOOK, job_id, turn, countdown=seconds)
        case WaitInQueue(seconds, hold, message):
            turn = parts.ledger.held_in_queue(job, seconds, hold, message)
            self.again(job_id, turn, seconds)
        case AskForConfirmation(message):
            parts.ledger.unconfirmed(job, message, ask_in_s=parts.settings.rescue.longest_lease_s)
        case GiveUp() as verdict:
            end(self, job, verdict)
            return
        case unexpected:
            assert_never(unexpected)
    _grant_cancel(self, job_id)


@shared_task(name=TaskName.LOOK.value, bind=True, base=Reminder)
def look(self: Reminder, job_id: str, turn: int, *_later: object) -> None:
    """Look once; then look again later, fetch the video, or give up."""
    parts = self.runtime
    job = parts.ledger.held(job_id, turn)
    assert job.generation_id is not None
    seen = parts.upstream.look(job.generation_id, job.family)
    match after_look(job, seen, now=parts.ledger.now(), policy=parts.policy):
        case LookAgain(seconds, word):
            turn = parts.ledger.look_again(job, seconds, seen=word)
            self.again(job_id, turn, seconds)
        case StoreVideo(video):
            turn = parts.ledger.rendered(job, video)
            parts.remind(TaskName.STORE, job_id, turn)
        case GiveUp() as verdict:
            end(self, job, verdict)
        case unexpected:
            assert_never(unexpected)


@shared_task(name=TaskName.STORE.value, bind=True, base=Reminder)
def store(self: Reminder, job_id: str, turn: int, *_later: object) -> None:
    """Fetch the bytes, once; then the job is done, or the download (never the generation) is tried again."""
    parts = self.runtime
    job = parts.ledger.held(job_id, turn)
    assert job.video is not None
    job = parts.ledger.storing(job, lease_s=parts.settings.download_lease_s)
    assert job.video is not None
    outcome = parts.archive.fetch(job_id, job.turn, job.video)
    match after_download(job, outcome, now=parts.ledger.now(), policy=parts.policy):
        case Complete(stored):
            complete(self, job, stored)
        case FetchAgain(seconds, message):
            turn = parts.ledger.store_again(job, seconds, message)
            self.again(job_id, turn, seconds)
        case LookAgain(seconds, message):
            turn = parts.ledger.url_gone(job, seconds, message)
            parts.remind(TaskName.LOOK, job_id, turn, countdown=seconds)
        case GiveUp() as verdict:
            end(self, job, verdict)
        case unexpected:
            assert_never(unexpected)


@shared_task(name=TaskName.ANNOUNCE.value, bind=True, base=Reminder)
def announce(self: Reminder, job_id: str, announce_turn: int, *_later: object) -> None:
    """Tell the result hooks that the job has ended; whoever raised is told again later."""
    parts, hooks = self.runtime, self.runtime.settings.hooks
    announce_turn = parts.ledger.announcing(job_id, announce_turn, lease_s=hooks.lease_s)
    job, request = parts.ledger.get(job_id), parts.ledger.request(job_id)
    done = tell(parts.hooks, result_of(job, request, parts.archive.root), job.announced)
    told, failed = done.told, done.failed
    if not failed:
        parts.ledger.announced(job_id, announce_turn, told=told, event="job.announced", data={}, again=False)
        return
    if job.announce_failures + 1 >= hooks.attempts:
        data = {"failed": failed, "attempts": job.announce_failures + 1}
        parts.ledger.announced(job_id, announce_turn, told=told, event="hook.abandoned", data=data, again=False)
        return
    wait = min(hooks.retry_first_s * 2.0**job.announce_failures, hooks.retry_longest_s)
    data = {"failed": failed, "wait_s": wait}
    turn = parts.ledger.announced(job_id, announce_turn, told=told, event="hook.failed", data=data, again=True)
    self.again(job_id, turn, wait)


def end(self: Reminder, job: Job, verdict: GiveUp) -> None:
    """End the job without its video, and have the hooks told."""
    announce_turn = self.runtime.ledger.gave_up(job, verdict)
    self.runtime.remind(TaskName.ANNOUNCE, job.id, announce_turn)


def complete(self: Reminder, job: Job, stored: Stored) -> None:
    """End the job with its video; the copy of a job that was called off meanwhile is removed."""
    parts = self.runtime
    try:
        announce_turn = parts.ledger.completed(job, stored)
    except (StaleTurn, WrongState):
        if parts.ledger.get(job.id).state in {State.CANCELLED, State.EXPIRED, State.FAILED}:
            parts.archive.discard(stored)
        raise
    parts.remind(TaskName.ANNOUNCE, job.id, announce_turn)


def _grant_cancel(self: Reminder, job_id: str) -> None:
    """Grant a cancel that was asked for while the purchase was under way, now that its outcome is known."""
    job = self.runtime.ledger.get(job_id)
    if job.cancel_requested_at is None:
        return
    verdict = on_cancel(job)
    if isinstance(verdict, GiveUp):
        end(self, job, verdict)
