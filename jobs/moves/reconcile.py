"""Moves of a purchase in doubt, by the upstream's request log or by a person."""

from dataclasses import replace

from jobs.backoff import backoff
from jobs.facts import (
    LogRow,
    NoResult,
)
from jobs.job import Charged, Job, Reason
from jobs.moves.move import Move, Policy, cost_field, ended, to_rendering
from jobs.states import State


def after_reading(job: Job, row: LogRow | None, *, now: float, policy: Policy) -> Move:
    """Decide what the upstream's request log says of a purchase in doubt.

    A row is proof. Its absence proves nothing until a quiet window longer than any generation has passed: rows come
    late, for an asynchronous video perhaps only once it is done.
    """
    if row is not None:
        by = "the upstream's log"
        return adopted(job, row.generation_id, cost_usd=row.cost_usd, first_poll_s=policy.poll_interval_s, by=by)
    doubted_for_s = now - (job.intent_at or job.accepted_at)
    if doubted_for_s < policy.quiet_s:
        wait_s = backoff(policy.reconcile_first_s, policy.reconcile_longest_s, job.log_reads)
        return still_in_doubt("not in the upstream's log yet", wait_s=min(wait_s, policy.quiet_s - doubted_for_s))
    if policy.resubmit_in_doubt:
        return resubmitted(job, by="RUSHES_RECONCILE__IN_DOUBT", queue_ttl_s=policy.queue_ttl_s)
    wait_s = policy.reconcile_longest_s if doubted_for_s < policy.log_reaches_s else policy.log_reaches_s
    again = still_in_doubt("not in the upstream's log after the quiet window: a person must decide", wait_s=wait_s)
    return again if job.attention_at else replace(again, event="job.needs_attention", stamp=["attention_at"])


def after_failed_reading(trouble: NoResult | None, *, policy: Policy) -> Move:
    """Read the log again: it could not be read far enough to prove anything."""
    if trouble is None:
        return still_in_doubt("the upstream's log is longer than we read", wait_s=policy.reconcile_first_s)
    return still_in_doubt(trouble.message, wait_s=max(policy.reconcile_first_s, trouble.retry_after_s or 0.0))


def put_off(wait_s: float) -> Move:
    """Wait for the next reading of the log."""
    return Move(event=None, due_in_s=wait_s)


def still_in_doubt(message: str, *, wait_s: float) -> Move:
    """Read the upstream's log again in `wait_s`."""
    return Move(
        event="job.still_in_doubt",
        to=State.IN_DOUBT,
        due_in_s=wait_s,
        bump=["log_reads"],
        data={"message": message, "wait_s": round(wait_s, 3)},
    )


def adopted(job: Job, generation_id: str, *, cost_usd: float | None, first_poll_s: float, by: str) -> Move:
    """Go on with the found generation of a purchase in doubt."""
    return replace(
        to_rendering(job, generation_id, cost_usd, first_poll_s),
        event="job.adopted",
        starts=[State.IN_DOUBT],
        clear=["message", "attention_at"],
        data={"generation_id": generation_id, "by": by, **cost_field(cost_usd)},
    )


def resubmitted(job: Job, *, by: str, queue_ttl_s: float) -> Move:
    """Buy again by a decision; whether the first purchase happened stays unknown."""
    return Move(
        event="job.resubmitted",
        to=State.QUEUED,
        starts=[State.IN_DOUBT],
        due_in_s=0,
        deadline_in_s=queue_ttl_s,
        set={"charged": Charged.UNKNOWN},
        bump=["doubts"],
        clear=["request_id", "message", "attention_at", "worker"],
        data={"by": by, "after_attempt": job.attempt},
    )


def given_up_in_doubt() -> Move:
    """End a purchase in doubt that a person gave up."""
    message = "given up by a person; whether it was bought is not known"
    return ended(State.FAILED, Reason.IN_DOUBT, message, Charged.UNKNOWN)
