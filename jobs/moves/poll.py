"""Moves after a poll: what its result means, and when to poll again."""

from dataclasses import replace
from typing import Final, assert_never

from jobs.backoff import backoff
from jobs.facts import (
    Finished,
    GenerationFailed,
    Inconclusive,
    NoResult,
    Pending,
    PollResult,
)
from jobs.job import Charged, Job, Reason, Video
from jobs.moves.move import Move, Policy, ended
from jobs.queues import SLOW_POLLS
from jobs.schedule import Interval, interval
from jobs.states import State

FIRST_TIMEOUT_S: Final = 2.0
"""A poll's time-out unless the one before timed out: many times an answer's latency, and a thread can spare it."""


def poll_timeout_s(job: Job, *, longest_s: float) -> float:
    """Return the time-out of the job's next poll, in seconds: doubled for each of its last polls that timed out."""
    return backoff(FIRST_TIMEOUT_S, longest_s, job.poll_timeouts)


def after_poll(job: Job, result: PollResult, *, now: float, policy: Policy) -> Move:
    """Waiting is not failing: only the deadline or the upstream's refusal ends a job."""
    move = _after_poll(job, result, now=now, policy=policy)
    if not isinstance(result, NoResult):
        return replace(move, clear=[*move.clear, "poll_timeouts"]) if job.poll_timeouts else move
    # Other failures, and an open breaker, say nothing about how long an answer takes.
    if result.timed_out:
        move = replace(move, bump=[*move.bump, "poll_timeouts"])
    is_slow = move.to is State.RENDERING and (result.timed_out or job.poll_timeouts)
    return replace(move, queue=SLOW_POLLS) if is_slow else move


def _after_poll(job: Job, result: PollResult, *, now: float, policy: Policy) -> Move:
    match result:
        case Finished(video, note):
            return rendered(job, video, note, took=interval(job, now=now))
        case GenerationFailed():
            return _refused(job, result)
        case Inconclusive():
            return _after_inconclusive(job, result, now=now, policy=policy)
        case Pending(word):
            wait_s = policy.schedule.wait_s(now - (job.began_at or now))
            return _poll_again(job, word, wait_s, now=now, policy=policy, pending=True)
        case NoResult(hold, message, retry_after_s, timed_out):
            interval_s = 0.0 if timed_out else policy.poll_interval_s  # a time-out has been a wait already
            wait_s = max(interval_s, retry_after_s or 0.0)
            return _poll_again(job, f"{hold}: {message}", wait_s, now=now, policy=policy)
    assert_never(result)


def rendered(job: Job, video: Video, note: str | None = None, *, took: Interval | None = None) -> Move:
    """Keep the finished video's URL, then fetch it; `note` says what was odd about the reply."""
    return Move(
        event="job.rendered",
        to=State.STORING,
        starts=[State.RENDERING],
        due_in_s=0,
        set={"video": video},
        stamp=[] if job.rendered_at else ["rendered_at"],
        clear=_EVIDENCE if job.evidence else (),
        bump=["polls"],
        data={"url": video.url, **({"note": note} if note else {}), **_late(took)},
        took=took,
    )


def _late(took: Interval | None) -> dict[str, float]:
    """Estimate how long it had been done: half the time since it was last seen pending, if it was."""
    return {"late_s": round((took.found_s - took.pending_s) / 2, 3)} if took and took.pending_s else {}


_EVIDENCE: Final = ("evidence", "evidence_polls")


def _after_inconclusive(job: Job, result: Inconclusive, *, now: float, policy: Policy) -> Move:
    """Believe an inconclusive reply once it has come often enough in a row with the same evidence."""
    polls = job.evidence_polls + 1 if job.evidence == result.evidence else 1
    if polls >= result.polls or (isinstance(result.outcome, Finished) and now >= job.deadline_at):
        return _after_poll(job, result.outcome, now=now, policy=policy)
    move = _poll_again(job, result.word, policy.poll_interval_s, now=now, policy=policy)
    if move.to is not State.RENDERING:
        return move
    return replace(move, set={"evidence": result.evidence, "evidence_polls": polls}, clear=())


def _poll_again(job: Job, result: str, wait_s: float, *, now: float, policy: Policy, pending: bool = False) -> Move:
    """Poll again after a wait, for the last time at the deadline; then give up."""
    ends_at, end = _end_of_polling(job, result, policy=policy)
    if now >= ends_at:
        return end
    return polled(job, result, wait_s=min(wait_s, ends_at - now), pending=pending)


def polled(job: Job, result: str, *, wait_s: float, pending: bool = False) -> Move:
    """Poll again in `wait_s`. `pending`: the upstream said that it still renders."""
    return Move(
        event="job.polled",
        to=State.RENDERING,
        starts=[State.RENDERING],
        due_in_s=wait_s,
        stamp=["pending_at"] if pending else (),
        bump=["polls"],
        clear=_EVIDENCE if job.evidence else (),
        data={"result": result, "wait_s": round(wait_s, 3)},
    )


def _end_of_polling(job: Job, result: str, *, policy: Policy) -> tuple[float, Move]:
    """Return when polling ends, and its move. A found video is polled for a fresh URL while downloads are tried."""
    if job.rendered_at is not None:
        message = f"no URL served the video for {policy.download_patience_s:g} s; last result: {result}"
        end = ended(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
        return job.rendered_at + policy.download_patience_s, end
    message = f"not finished {job.deadline_s:g} s after the purchase; last result: {result}"
    late = policy.late_fetch_first_s if job.generation_id is not None else None
    return job.deadline_at, ended(State.EXPIRED, Reason.DEADLINE_PASSED, message, Charged.UNKNOWN, late_fetch_in_s=late)


def _refused(job: Job, refused: GenerationFailed) -> Move:
    """Fail the job; a generation that was once finished was paid for, even if the upstream now denies it."""
    if job.rendered_at is not None:
        return ended(State.FAILED, Reason.NOT_STORED, refused.message, Charged.YES)
    reason = Reason.CONTENT_REFUSED if refused.by_filter else Reason.GENERATION_FAILED
    return ended(State.FAILED, reason, refused.message, refused.charged)
