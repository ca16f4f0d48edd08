"""What happens next to a job: pure decisions. No clock, no dice, no network.

Each takes the job, a fact and what the deployment chose (`Policy`), and returns a `Move`, which the ledger applies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any, Final, assert_never

from jobs.backoff import backoff
from jobs.facts import (
    Accepted,
    ArchiveUnavailable,
    Described,
    Download,
    Fetched,
    Finished,
    Gone,
    Inconclusive,
    LogRow,
    NotBought,
    NotDescribed,
    NotFetched,
    Pending,
    PollResult,
    Receipt,
    Refused,
    Rejected,
    Unknown,
    Unreachable,
)
from jobs.job import Charged, Hold, Job, Reason, Stored, Video
from jobs.lessons import Lesson
from jobs.media import Media, differences
from jobs.pacing import Pacing
from jobs.states import FollowUp, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a job's life, named by the event that says so.

    It is applied if the job's turn is still the one that was read. A job that was read while it was being bought speaks
    for that purchase instead: a receipt counts however late it comes.

    `to`: the state it moves to; None: the job stays where it is and keeps its turn.
    `follow_up`: the step belongs to this follow-up, whose own turn guards it.
    `starts`: the states it may start from; none: the one in which the job was read.
    `set`, `stamp`, `bump`, `clear`: the job's fields that get a value, the time of writing, one more, or none.
    `once`: a stamped field; if it has a value already, nothing is written.
    `due_in_s`: seconds until the next step is due; `lease_s`: the same while a worker is busy with it, waking nobody.
    `deadline_in_s`: seconds until the job's new deadline.
    `follow_ups`: those that begin, each with the seconds until it is due.
    """

    event: str | None
    to: State | None = None
    follow_up: FollowUp | None = None
    starts: Sequence[State] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    stamp: Sequence[str] = ()
    bump: Sequence[str] = ()
    clear: Sequence[str] = ()
    once: str | None = None
    due_in_s: float | None = None
    lease_s: float | None = None
    deadline_in_s: float | None = None
    follow_ups: Mapping[FollowUp, float] = field(default_factory=dict)
    lesson: Lesson | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment chose about waiting, retrying and giving up; times in seconds."""

    pacing: Pacing
    hold_first_s: float
    hold_longest_s: float
    download_first_s: float
    download_longest_s: float
    download_patience_s: float
    queue_ttl_s: float = 86_400
    reconcile_first_s: float = 15
    reconcile_longest_s: float = 600
    quiet_s: float = 3600
    log_reaches_s: float = 82_800
    resubmit_in_doubt: bool = False
    late_fetch_first_s: float = 60
    late_fetch_longest_s: float = 600
    late_fetch_patience_s: float = 21_600
    keep_cancelled: bool = False
    describe: bool = False
    describe_first_s: float = 60
    describe_attempts: int = 8


# -- the purchase ------------------------------------------------------------------------------------------------------


def before_submit(job: Job, *, now: float) -> Move | None:
    """End a job that was cancelled or has waited for too long, before it costs anything; None: buy it."""
    if job.cancel_requested_at is not None:
        return ended(State.CANCELLED, Reason.CANCELLED, "cancelled before the purchase", Charged.NO)
    if now >= job.deadline_at:
        message = "waited in the queue for too long; nothing was bought"
        return ended(State.EXPIRED, Reason.QUEUE_EXPIRED, message, Charged.NO)
    return None


def submitting(job: Job, *, lease_s: float, worker: str, intent: str) -> Move:
    """Write the intent to buy; from here on money may be spent.

    `intent` is the caller's mark: should no answer come, the row shows whether the intent was written.
    """
    attempt = job.attempt + 1
    request_id = f"{job.id}.{attempt}"
    return Move(
        event="job.submitting",
        to=State.SUBMITTING,
        lease_s=lease_s,
        set={
            "attempt": attempt,
            "request_id": request_id,
            "worker": worker,
            "intent": intent,
            "charged": Charged.UNKNOWN,
        },
        stamp=["intent_at"],
        clear=["hold"],
        data={"attempt": attempt, "request_id": request_id},
    )


def after_submit(job: Job, receipt: Receipt, *, policy: Policy) -> Move:
    """Only a proof that nothing was bought lets the same request be sent again."""
    match receipt:
        case Accepted(generation_id, cost_usd):
            return submitted(job, generation_id, cost_usd=cost_usd, first_poll_s=policy.pacing.first())
        case NotBought(hold, message, retry_after_s):
            # "Retry at once" is not obeyed: it would be a hot loop.
            wait_s = retry_after_s or backoff(policy.hold_first_s, policy.hold_longest_s, job.holds)
            return held(hold, message, wait_s=wait_s)
        case Rejected(message, by_filter):
            reason = Reason.CONTENT_REFUSED if by_filter else Reason.REFUSED
            return ended(State.FAILED, reason, message, Charged.NO)
        case Unknown(message):
            return in_doubt(message, policy=policy)
    assert_never(receipt)


def submitted(job: Job, generation_id: str, *, cost_usd: float | None, first_poll_s: float) -> Move:
    """The generation is bought and runs: poll it in `first_poll_s`."""
    cost = {} if cost_usd is None else {"cost_usd": cost_usd}
    return replace(
        _rendering(job, generation_id, cost_usd, first_poll_s),
        event="job.submitted",
        clear=["hold", "message", "worker"],
        data={"generation_id": generation_id, **cost},
    )


def held(hold: Hold, message: str, *, wait_s: float) -> Move:
    """Nothing was bought: the job waits in the queue."""
    return Move(
        event="job.held",
        to=State.QUEUED,
        due_in_s=wait_s,
        set={"hold": hold, "message": message, "charged": Charged.NO},
        clear=["request_id", "worker"],
        bump=["holds"],
        data={"hold": hold, "wait_s": wait_s, "message": message},
    )


def still_held(wait_s: float) -> Move:
    """The reason for which it waits is in its log already: only the time changes."""
    return Move(event=None, due_in_s=wait_s)


def in_doubt(message: str, *, policy: Policy) -> Move:
    """Whether the purchase happened is not known: find out, never guess."""
    return Move(
        event="job.in_doubt",
        to=State.IN_DOUBT,
        starts=[State.SUBMITTING],
        due_in_s=policy.reconcile_first_s,
        set={"charged": Charged.UNKNOWN, "message": message},
        data={"message": message},
    )


def after_late_receipt(job: Job, receipt: Accepted, *, policy: Policy) -> Move:
    """Keep a purchase whose job has ended meanwhile, and fetch its video unless that is not wanted."""
    is_wanted = job.state is not State.CANCELLED or policy.keep_cancelled
    return Move(
        event="job.bought_late",
        starts=[state for state in State if state.is_final],
        once="bought_late_at",
        set={"generation_id": receipt.generation_id, "charged": Charged.YES, **_cost(receipt.cost_usd)},
        follow_ups={FollowUp.LATE_FETCH: policy.late_fetch_first_s} if is_wanted else {},
        data={"generation_id": receipt.generation_id},
    )


# -- a purchase in doubt -----------------------------------------------------------------------------------------------


def after_reading(job: Job, row: LogRow | None, *, now: float, policy: Policy) -> Move:
    """Decide what the upstream's request log says of a purchase in doubt.

    A row is proof. Its absence proves nothing before a quiet window longer than any generation has passed: rows come
    late, for an asynchronous video perhaps only after it is done.
    """
    if row is not None:
        by = "the upstream's log"
        return adopted(job, row.generation_id, cost_usd=row.cost_usd, first_poll_s=policy.pacing.interval_s, by=by)
    doubted_for_s = now - (job.intent_at or job.accepted_at)
    if doubted_for_s < policy.quiet_s:
        wait_s = backoff(policy.reconcile_first_s, policy.reconcile_longest_s, job.log_reads)
        return still_in_doubt("not in the upstream's log yet", wait_s=min(wait_s, policy.quiet_s - doubted_for_s))
    if policy.resubmit_in_doubt:
        return resubmitted(job, by="RUSHES_RECONCILE__IN_DOUBT", queue_ttl_s=policy.queue_ttl_s)
    wait_s = policy.reconcile_longest_s if doubted_for_s < policy.log_reaches_s else policy.log_reaches_s
    again = still_in_doubt("not in the upstream's log after the quiet window: a person must decide", wait_s=wait_s)
    return again if job.attention_at else replace(again, event="job.needs_attention", stamp=["attention_at"])


def after_failed_reading(trouble: Unreachable | None, *, policy: Policy) -> Move:
    """The log could not be read far enough to prove anything."""
    if trouble is None:
        return still_in_doubt("the upstream's log is longer than we read", wait_s=policy.reconcile_first_s)
    return still_in_doubt(trouble.message, wait_s=max(policy.reconcile_first_s, trouble.retry_after_s or 0.0))


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
    """The generation of a purchase in doubt is known: the job goes on with it."""
    return replace(
        _rendering(job, generation_id, cost_usd, first_poll_s),
        event="job.adopted",
        starts=[State.IN_DOUBT],
        clear=["message", "attention_at"],
        data={"generation_id": generation_id, "by": by},
    )


def resubmitted(job: Job, *, by: str, queue_ttl_s: float) -> Move:
    """Buy again, as somebody decided; whether the first purchase happened stays unknown."""
    return Move(
        event="job.resubmitted",
        to=State.QUEUED,
        starts=[State.IN_DOUBT],
        due_in_s=0,
        deadline_in_s=queue_ttl_s,
        set={"charged": Charged.NO},
        clear=["request_id", "message", "attention_at", "worker"],
        data={"by": by, "after_attempt": job.attempt},
    )


def given_up_in_doubt() -> Move:
    """A person gives a purchase in doubt up."""
    message = "given up by a person; whether it was bought is not known"
    return ended(State.FAILED, Reason.IN_DOUBT, message, Charged.UNKNOWN)


# -- polling -----------------------------------------------------------------------------------------------------------


def after_poll(job: Job, result: PollResult, *, now: float, policy: Policy) -> Move:
    """Waiting is not failing: only the deadline or the upstream's refusal ends a job."""
    match result:
        case Finished(video, note):
            return rendered(job, video, note)
        case Refused():
            return _refused(job, result)
        case Inconclusive():
            return _after_inconclusive(job, result, now=now, policy=policy)
        case Pending(word):
            wait_s = policy.pacing.wait(now - (job.began_at or now))
            return _poll_again(job, word, wait_s, now=now, policy=policy, pending=True)
        case Unreachable(hold, message, retry_after_s):
            wait_s = max(policy.pacing.interval_s, retry_after_s or 0.0)
            return _poll_again(job, f"{hold}: {message}", wait_s, now=now, policy=policy)
    assert_never(result)


def rendered(job: Job, video: Video, note: str | None = None) -> Move:
    """Done: keep where the video is, then fetch it; `note` says what is odd about the reply."""
    return Move(
        event="job.rendered",
        to=State.STORING,
        starts=[State.RENDERING],
        due_in_s=0,
        set={"video": video},
        stamp=[] if job.rendered_at else ["rendered_at"],
        clear=_EVIDENCE if job.evidence else (),
        bump=["polls"],
        data={"url": video.url, **({"note": note} if note else {})},
    )


_EVIDENCE: Final = ("evidence", "evidence_polls")


def _after_inconclusive(job: Job, result: Inconclusive, *, now: float, policy: Policy) -> Move:
    """Believe a reply that alone proves nothing once it has come often enough in a row, with the same evidence."""
    polls = job.evidence_polls + 1 if job.evidence == result.evidence else 1
    if polls >= result.polls or (isinstance(result.outcome, Finished) and now >= job.deadline_at):
        return after_poll(job, result.outcome, now=now, policy=policy)
    move = _poll_again(job, result.word, policy.pacing.interval_s, now=now, policy=policy)
    if move.to is not State.RENDERING:
        return move
    return replace(move, set={"evidence": result.evidence, "evidence_polls": polls}, clear=())


def _poll_again(job: Job, result: str, wait_s: float, *, now: float, policy: Policy, pending: bool = False) -> Move:
    """Poll again after a wait, the last time at the deadline itself; then give up."""
    ends_at, end = _end_of_polling(job, result, policy=policy)
    if now >= ends_at:
        return end
    return polled(job, result, wait_s=min(wait_s, ends_at - now), pending=pending)


def polled(job: Job, result: str, *, wait_s: float, pending: bool = False) -> Move:
    """Nothing new: poll again in `wait_s`. `pending`: the upstream said that it still renders."""
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
    """When polling ends, and how. A video that was found once is polled for a fresh URL while downloads are tried."""
    if job.rendered_at is not None:
        message = f"no URL served the video for {policy.download_patience_s:g} s; last result: {result}"
        end = ended(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
        return job.rendered_at + policy.download_patience_s, end
    message = f"not finished {job.deadline_s:g} s after the purchase; last result: {result}"
    late = policy.late_fetch_first_s if job.generation_id is not None else None
    return job.deadline_at, ended(State.EXPIRED, Reason.DEADLINE_PASSED, message, Charged.UNKNOWN, late_fetch_in_s=late)


def _refused(job: Job, refused: Refused) -> Move:
    """A generation that had been found finished was paid for, whatever the upstream says of it later."""
    if job.rendered_at is not None:
        return ended(State.FAILED, Reason.NOT_STORED, refused.message, Charged.YES)
    reason = Reason.CONTENT_REFUSED if refused.by_filter else Reason.GENERATION_FAILED
    return ended(State.FAILED, reason, refused.message, refused.charged)


# -- the download ------------------------------------------------------------------------------------------------------

FAILURES_PER_URL: Final = 3
"""A URL that failed this many times is asked for anew: its host may be gone."""


def storing(*, lease_s: float, worker: str) -> Move:
    """Begin the download, so that a doubled message does not fetch beside it until `lease_s` is over."""
    return Move(event="job.storing", to=State.STORING, lease_s=lease_s, set={"worker": worker})


def after_download(job: Job, outcome: Download, *, now: float, policy: Policy) -> Move:
    """Try a failed download again for long: the video is paid for and its URL is known."""
    match outcome:
        case Fetched(stored, media):
            return completed(stored, media, policy=policy)
        case Gone(message) | NotFetched(message) | ArchiveUnavailable(message):
            pass
        case _:
            assert_never(outcome)
    if now - (job.rendered_at or now) >= policy.download_patience_s:
        return ended(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
    wait_s = backoff(policy.download_first_s, policy.download_longest_s, job.downloads)
    is_lasting = isinstance(outcome, NotFetched) and (job.downloads + 1) % FAILURES_PER_URL == 0
    return store_failed(message, wait_s=wait_s, fresh_url=isinstance(outcome, Gone) or is_lasting)


def completed(stored: Stored, media: Media | None, *, policy: Policy) -> Move:
    """The bytes are ours: the job ends with its video."""
    return Move(
        event="job.completed",
        to=State.COMPLETED,
        set={"stored": stored, "charged": Charged.YES, **_media(media)},
        clear=["message"],
        follow_ups=_with_video(policy),
        data={"path": stored.path, "size_bytes": stored.size_bytes, "sha256": stored.sha256, **differences(media)},
    )


def store_failed(message: str, *, wait_s: float, fresh_url: bool) -> Move:
    """Try the download again in `wait_s`; with `fresh_url`, poll first, as this URL serves the video no more."""
    return Move(
        event="job.store_failed",
        to=State.RENDERING if fresh_url else State.STORING,
        due_in_s=wait_s,
        set={"message": message},
        clear=["worker"],
        bump=["downloads"],
        data={"message": message, "wait_s": wait_s},
    )


# -- what people ask for -----------------------------------------------------------------------------------------------


def on_cancel(job: Job, *, keep: bool = False) -> Move | None:
    """Cancel: free before the purchase; after it what was bought stays bought, and the answer says so.

    While the purchase is under way the wish is kept until its outcome is known. With `keep`, the video is fetched all
    the same when it is done. None: the job has ended.
    """
    match job.state:
        case State.QUEUED:
            return ended(State.CANCELLED, Reason.CANCELLED, "cancelled before the purchase", Charged.NO)
        case State.SUBMITTING | State.IN_DOUBT:
            return Move(event="job.cancel_requested", once="cancel_requested_at")
        case State.RENDERING | State.STORING:
            message = "cancelled after the purchase: the upstream cannot take it back"
            late = 0.0 if keep and job.generation_id is not None else None
            return ended(State.CANCELLED, Reason.CANCELLED, message, Charged.YES, late_fetch_in_s=late)
        case State.COMPLETED | State.FAILED | State.CANCELLED | State.EXPIRED:
            return None
    assert_never(job.state)


class Retry(StrEnum):
    """What it means to retry a job."""

    GO_ON = auto()  # its generation was bought and may still be fetched: a new job goes on with it, free of charge
    BUY_AGAIN = auto()  # a new job buys a generation of its own, as the caller has agreed to
    WOULD_PAY = auto()  # there is no generation left to fetch, and the caller has not agreed to pay for another
    NOT_OVER = auto()  # the job goes on by itself
    HAS_ITS_VIDEO = auto()  # there is nothing to retry


_NO_VIDEO_TO_COME: Final = frozenset({Reason.GENERATION_FAILED, Reason.CONTENT_REFUSED})


def on_retry(job: Job, *, pay_again: bool) -> Retry:
    """Never pay without being told to: what was bought is fetched, anything else needs the caller's word."""
    if not job.is_final:
        return Retry.NOT_OVER
    if job.stored is not None or job.state is State.COMPLETED:
        return Retry.HAS_ITS_VIDEO
    if job.generation_id is not None and job.reason not in _NO_VIDEO_TO_COME:
        return Retry.GO_ON
    return Retry.BUY_AGAIN if pay_again else Retry.WOULD_PAY


# -- follow-ups of ended jobs ------------------------------------------------------------------------------------------


def begun(follow_up: FollowUp, *, lease_s: float) -> Move:
    """Begin a follow-up that takes long; other takers are stale until `lease_s` is over."""
    return Move(event=None, follow_up=follow_up, lease_s=lease_s)


def announced(receivers: Sequence[str]) -> Move:
    """The job's end is in the outbox of each receiver."""
    return Move(event="job.announced", follow_up=FollowUp.ANNOUNCE, data={"receivers": list(receivers)})


def after_late_poll(job: Job, result: PollResult, *, now: float, policy: Policy) -> Video | Move:
    """Poll an ended job's paid generation ever less often, for a bounded time; a Video in return is to be fetched."""
    match result:
        case Finished(video) | Inconclusive(outcome=Finished(video)):
            return video
        case Refused(message, charged):
            return _late_fetch_ended(message, charged)
        case Pending(text) | Unreachable(message=text) | Inconclusive(text):
            return _late_fetch_again(job, text, now=now, policy=policy)
    assert_never(result)


def after_late_download(job: Job, video: Video, outcome: Download, *, now: float, policy: Policy) -> Move:
    """The late video is ours, and its receivers are told once more; or it is tried again."""
    if not isinstance(outcome, Fetched):
        return _late_fetch_again(job, outcome.message, now=now, policy=policy)
    stored, media = outcome.stored, outcome.media
    return Move(
        event="job.fetched_late",
        follow_up=FollowUp.LATE_FETCH,
        set={"video": video, "stored": stored, "charged": Charged.YES, **_media(media)},
        clear=["removed_at"],  # whatever retention removed before: now there is a video
        follow_ups=_with_video(policy),
        data={"path": stored.path, "size_bytes": stored.size_bytes, **differences(media)},
    )


def _late_fetch_again(job: Job, result: str, *, now: float, policy: Policy) -> Move:
    ended_for_s = now - (job.finished_at or now)
    if ended_for_s >= policy.late_fetch_patience_s:
        return _late_fetch_ended(result, job.charged)
    wait_s = min(max(ended_for_s / 2, policy.late_fetch_first_s), policy.late_fetch_longest_s)
    return Move(
        event="job.late_fetch_waits",
        follow_up=FollowUp.LATE_FETCH,
        due_in_s=wait_s,
        data={"result": result, "wait_s": round(wait_s, 3)},
    )


def _late_fetch_ended(result: str, charged: Charged) -> Move:
    return Move(
        event="job.late_fetch_ended",
        follow_up=FollowUp.LATE_FETCH,
        set={"charged": charged},
        data={"result": result},
    )


LONGEST_DESCRIBE_WAIT_S: Final = 86_400.0


def after_describe(job: Job, outcome: Described | NotDescribed, *, policy: Policy) -> Move:
    """Keep what stands beside the video; while the store fails, try again, a bounded number of times."""
    match outcome:
        case Described(made, trouble):
            data = {"made": list(made), **({"trouble": trouble} if trouble else {})}
            return Move(event="job.described", follow_up=FollowUp.DESCRIBE, set={"artifacts": tuple(made)}, data=data)
        case NotDescribed(message):
            pass
        case _:
            assert_never(outcome)
    failed = Move(
        event="job.describe_ended",
        follow_up=FollowUp.DESCRIBE,
        bump=["describe_failures"],
        data={"message": message},
    )
    if job.describe_failures + 1 >= policy.describe_attempts:
        return failed
    wait_s = backoff(policy.describe_first_s, LONGEST_DESCRIBE_WAIT_S, job.describe_failures)
    waits = {"message": message, "wait_s": round(wait_s, 3)}
    return replace(failed, event="job.describe_waits", due_in_s=wait_s, data=waits)


# -- parts of moves ----------------------------------------------------------------------------------------------------


def ended(
    state: State, reason: Reason, message: str, charged: Charged, *, late_fetch_in_s: float | None = None
) -> Move:
    """End the job without its video; what was bought is fetched later, if that is wanted."""
    late = {} if late_fetch_in_s is None else {FollowUp.LATE_FETCH: late_fetch_in_s}
    why = {"reason": reason, "message": message, "charged": charged}
    return Move(
        event=f"job.{state}",
        to=state,
        set=why,
        clear=["hold"],
        follow_ups={FollowUp.ANNOUNCE: 0.0, **late},
        data=why,
    )


def _rendering(job: Job, generation_id: str, cost_usd: float | None, first_poll_s: float) -> Move:
    return Move(
        event=None,
        to=State.RENDERING,
        due_in_s=first_poll_s,
        deadline_in_s=job.deadline_s,
        set={"generation_id": generation_id, "charged": Charged.YES, **_cost(cost_usd)},
        stamp=["submitted_at"],
    )


def _with_video(policy: Policy) -> dict[FollowUp, float]:
    """What a job that has its video needs."""
    return {FollowUp.ANNOUNCE: 0.0, **({FollowUp.DESCRIBE: 0.0} if policy.describe else {})}


def _cost(cost_usd: float | None) -> dict[str, float]:
    return {} if cost_usd is None else {"cost_usd": cost_usd}


def _media(media: Media | None) -> dict[str, Media]:
    return {} if media is None else {"media": media}
