"""Moves before a purchase and after its receipt."""

from dataclasses import dataclass, replace
from typing import assert_never

from jobs.backoff import backoff
from jobs.facts import (
    Accepted,
    NotBought,
    Receipt,
    Rejected,
    Unknown,
)
from jobs.job import Charged, Hold, Job, Reason
from jobs.moves.move import Move, Policy, cost_field, ended, to_rendering, unbought
from jobs.states import FollowUp, State


def before_submit(job: Job, *, now: float) -> Move | None:
    """End a job that was cancelled or has waited too long, before it costs anything; None: buy it."""
    if job.cancel_requested_at is not None:
        return ended(State.CANCELLED, Reason.CANCELLED, f"cancelled; {unbought(job)}", job.charged_before)
    if now >= job.deadline_at:
        message = f"waited in the queue for too long; {unbought(job)}"
        return ended(State.EXPIRED, Reason.QUEUE_EXPIRED, message, job.charged_before)
    return None


def submitting(job: Job, *, lease_s: float, worker: str, suffix: str) -> Move:
    """Write the intent to buy; from here on money may be spent.

    A unique `suffix` makes the request id name this try alone: if Redis's answer is lost, the row shows whether this
    intent was written, and a late receipt matches no other purchase.
    """
    attempt = job.attempt + 1
    request_id = f"{job.id}.{attempt}-{suffix}"
    return Move(
        event="job.submitting",
        to=State.SUBMITTING,
        lease_s=lease_s,
        set={
            "account": job.account,
            "attempt": attempt,
            "request_id": request_id,
            "worker": worker,
            "charged": Charged.UNKNOWN,
        },
        stamp=["intent_at"],
        clear=["hold"],
        data={"account": job.account, "attempt": attempt, "request_id": request_id},
    )


def after_submit(job: Job, receipt: Receipt, *, policy: Policy) -> Move:
    """Decide what a receipt means; only proof that nothing was bought lets the same request be sent again."""
    match receipt:
        case Accepted(generation_id, cost_usd):
            return submitted(job, generation_id, cost_usd=cost_usd, first_poll_s=policy.schedule.wait_s(0.0))
        case NotBought(hold, message, retry_after_s):
            # "Retry at once" is not obeyed: it would be a hot loop.
            wait_s = retry_after_s or backoff(policy.hold_first_s, policy.hold_longest_s, job.holds)
            return held(job, hold, message, wait_s=wait_s)
        case Rejected(message, by_filter):
            reason = Reason.CONTENT_REFUSED if by_filter else Reason.REFUSED
            return ended(State.FAILED, reason, message, job.charged_before)
        case Unknown(message):
            return in_doubt(message, policy=policy)
    assert_never(receipt)


def without_input(job: Job, why: str) -> Move:
    """End a job whose input is gone, before it costs anything."""
    message = f"the archive no longer has its pictures or long texts ({why}); {unbought(job)}: submit it again"
    return ended(State.FAILED, Reason.INPUT_GONE, message, job.charged_before)


def submitted(job: Job, generation_id: str, *, cost_usd: float | None, first_poll_s: float) -> Move:
    """Record the bought generation and poll it in `first_poll_s`."""
    return replace(
        to_rendering(job, generation_id, cost_usd, first_poll_s),
        event="job.submitted",
        clear=["hold", "message", "worker"],
        data={"generation_id": generation_id, **cost_field(cost_usd)},
    )


def held(job: Job, hold: Hold, message: str, *, wait_s: float) -> Move:
    """Keep the job in the queue; nothing was bought."""
    return Move(
        event="job.held",
        to=State.QUEUED,
        due_in_s=wait_s,
        set={"hold": hold, "message": message, "charged": job.charged_before},
        clear=["request_id", "worker"],
        bump=["holds"],
        data={"hold": hold, "wait_s": wait_s, "message": message},
    )


def given_back() -> Move:
    """Give a claimed job back: it is the next of its tenant again."""
    return Move(event=None, due_in_s=0.0)


def in_doubt(message: str, *, policy: Policy) -> Move:
    """Put the purchase in doubt: reconcile it, never guess."""
    return Move(
        event="job.in_doubt",
        to=State.IN_DOUBT,
        starts=[State.SUBMITTING],
        due_in_s=policy.reconcile_first_s,
        set={"charged": Charged.UNKNOWN, "message": message},
        data={"message": message},
    )


@dataclass(frozen=True, slots=True)
class BoughtTwice:
    """The job has another purchase already: this one goes on as a job of its own."""


def after_late_receipt(job: Job, receipt: Accepted, *, policy: Policy) -> Move | BoughtTwice | None:
    """Decide what becomes of a purchase whose job has moved on; None: it is the job's own, adopted meanwhile."""
    if job.generation_id == receipt.generation_id:
        return None
    if job.state is State.QUEUED:
        return adopted_late(job, receipt, first_poll_s=policy.schedule.wait_s(0.0))
    if job.is_final and job.generation_id is None:
        return bought_late(job, receipt, policy=policy)
    return BoughtTwice()


def adopted_late(job: Job, receipt: Accepted, *, first_poll_s: float) -> Move:
    """Go on with an earlier purchase of a job that was about to be bought again."""
    return replace(
        to_rendering(job, receipt.generation_id, receipt.cost_usd, first_poll_s),
        event="job.adopted",
        starts=[State.QUEUED],
        clear=["hold", "message"],
        data={"generation_id": receipt.generation_id, "by": "a late receipt", **cost_field(receipt.cost_usd)},
    )


def bought_late(job: Job, receipt: Accepted, *, policy: Policy) -> Move:
    """Record a purchase whose job has ended meanwhile, and fetch its video if that is wanted."""
    is_wanted = job.state is not State.CANCELLED or policy.keep_cancelled
    return Move(
        event="job.bought_late",
        starts=[state for state in State if state.is_final],
        once="bought_late_at",
        set={"generation_id": receipt.generation_id, "charged": Charged.YES, **cost_field(receipt.cost_usd)},
        follow_ups={FollowUp.LATE_FETCH: policy.late_fetch_first_s} if is_wanted else {},
        data={"generation_id": receipt.generation_id, **cost_field(receipt.cost_usd)},
    )
