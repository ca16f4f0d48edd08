"""Moves that people request: cancel, retry."""

from enum import StrEnum, auto
from typing import Final, assert_never

from jobs.job import Charged, Job, Reason
from jobs.moves.move import Move, ended, unbought
from jobs.states import State


def on_cancel(job: Job, *, keep: bool = False) -> Move | None:
    """Cancel a job: free before the purchase; after it the generation stays bought, and the answer says so.

    During the purchase the request is kept until the outcome is known. With `keep`, the finished video is fetched all
    the same. None: the job has ended.
    """
    match job.state:
        case State.QUEUED:
            return ended(State.CANCELLED, Reason.CANCELLED, f"cancelled; {unbought(job)}", job.charged_before)
        case State.SUBMITTING | State.IN_DOUBT:
            return Move(event="job.cancel_requested", once="cancel_requested_at")
        case State.RENDERING | State.STORING:
            message = "cancelled after the purchase: the upstream cannot take it back"
            late = 0.0 if keep and job.generation_id is not None else None
            return ended(State.CANCELLED, Reason.CANCELLED, message, Charged.YES, late_fetch_in_s=late)
        case State.COMPLETED | State.FAILED | State.CANCELLED | State.EXPIRED:
            return None
    assert_never(job.state)


def if_cancelled(job: Job, *, keep: bool) -> Move | None:
    """Grant a cancel that was requested during the purchase, now that its outcome is known; None: there is none."""
    return None if job.cancel_requested_at is None else on_cancel(job, keep=keep)


class Retry(StrEnum):
    """What a retry of a job means."""

    GO_ON = auto()  # its generation was bought and may still be fetched: a new job goes on with it, free of charge
    BUY_AGAIN = auto()  # a new job buys a generation of its own, as the caller has agreed to
    WOULD_PAY = auto()  # there is no generation left to fetch, and the caller has not agreed to pay for another
    NOT_OVER = auto()  # the job goes on by itself
    HAS_ITS_VIDEO = auto()  # there is nothing to retry


_NO_VIDEO_TO_COME: Final = frozenset({Reason.GENERATION_FAILED, Reason.CONTENT_REFUSED})


def on_retry(job: Job, *, pay_again: bool) -> Retry:
    """Decide what a retry means: a bought generation is fetched, any new purchase needs `pay_again`."""
    if not job.is_final:
        return Retry.NOT_OVER
    if job.stored is not None or job.state is State.COMPLETED:
        return Retry.HAS_ITS_VIDEO
    if job.generation_id is not None and job.reason not in _NO_VIDEO_TO_COME:
        return Retry.GO_ON
    return Retry.BUY_AGAIN if pay_again else Retry.WOULD_PAY
