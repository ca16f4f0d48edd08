"""What happens next to a job: pure decisions from a job, a fact and the time. No clock, no dice, no network."""

from dataclasses import dataclass
from typing import Final, assert_never

from jobs.facts import (
    Accepted,
    ArchiveUnavailable,
    Download,
    Fetched,
    Finished,
    Gone,
    Inconclusive,
    LogRow,
    NotBought,
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
from jobs.media import Media
from jobs.pacing import Pacing
from jobs.states import State


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment chose about waiting, in seconds."""

    pacing: Pacing
    hold_first_s: float
    hold_longest_s: float
    download_first_s: float
    download_longest_s: float
    download_patience_s: float
    reconcile_first_s: float = 15
    reconcile_longest_s: float = 600
    quiet_s: float = 3600
    log_reaches_s: float = 82_800
    resubmit_in_doubt: bool = False
    late_fetch_first_s: float = 60
    late_fetch_longest_s: float = 600
    late_fetch_patience_s: float = 21_600
    keep_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Buy:
    """Write the intent, then send the order."""


@dataclass(frozen=True, slots=True)
class WaitInQueue:
    """Nothing was bought: stay queued and try again."""

    seconds: float
    hold: Hold
    message: str


@dataclass(frozen=True, slots=True)
class Await:
    """The generation is bought: poll for the first time after `seconds`."""

    receipt: Accepted
    seconds: float


@dataclass(frozen=True, slots=True)
class PutInDoubt:
    """Whether it was bought is not known: find out, never guess."""

    message: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """The purchase happened: go on with its generation."""

    row: LogRow
    first_poll_s: float


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The log does not show the purchase yet; with `for_a_person`, the quiet window is over and someone must decide."""

    seconds: float
    message: str
    for_a_person: bool


@dataclass(frozen=True, slots=True)
class Resubmit:
    """The quiet window is over without a trace, and the deployment chose to risk a second purchase."""


@dataclass(frozen=True, slots=True)
class PollAgain:
    """Not done yet: poll again after `seconds`."""

    seconds: float
    seen: str
    evidence: str | None = None
    evidence_polls: int = 0


@dataclass(frozen=True, slots=True)
class StoreVideo:
    """Done: write down where it is, then fetch it; `note` says what is odd about the reply."""

    video: Video
    note: str | None = None


@dataclass(frozen=True, slots=True)
class FetchAgain:
    """The download failed: try the download again, never the generation."""

    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The bytes are ours: the job is done."""

    stored: Stored
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the job without its video."""

    state: State
    reason: Reason
    message: str
    charged: Charged
    late_fetch_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class RequestCancel:
    """The purchase is under way: note the wish, it is granted when its outcome is known."""


@dataclass(frozen=True, slots=True)
class AlreadyOver:
    """The job has ended: nothing can be cancelled."""


def before_submit(job: Job, *, now: float) -> Buy | GiveUp:
    """A job buys unless it was called off or has waited in the queue for too long; neither has cost anything."""
    if job.cancel_requested_at is not None:
        return GiveUp(State.CANCELLED, Reason.CANCELLED, "cancelled before the purchase", Charged.NO)
    if now >= job.deadline_at:
        return GiveUp(
            State.EXPIRED, Reason.QUEUE_EXPIRED, "waited in the queue for too long; nothing was bought", Charged.NO
        )
    return Buy()


def after_submit(job: Job, receipt: Receipt, *, policy: Policy) -> Await | WaitInQueue | PutInDoubt | GiveUp:
    """Only a proof that nothing was bought lets the same order be sent again."""
    match receipt:
        case Accepted():
            return Await(receipt, policy.pacing.first())
        case NotBought(hold, message, retry_after_s):
            wait = retry_after_s or _backoff(policy, job.holds)  # "at once" is not obeyed: it would be a hot loop
            return WaitInQueue(wait, hold, message)
        case Rejected(message, by_filter):
            return GiveUp(State.FAILED, Reason.CONTENT_REFUSED if by_filter else Reason.REFUSED, message, Charged.NO)
        case Unknown(message):
            return PutInDoubt(message)
    assert_never(receipt)


def after_poll(job: Job, seen: PollResult, *, now: float, policy: Policy) -> PollAgain | StoreVideo | GiveUp:
    """Waiting is not failing: only the deadline or the upstream's refusal ends a job."""
    evidence: str | None = None
    polls = 0
    match seen:
        case Finished(video, note):
            return StoreVideo(video, note)
        case Refused():
            return _refused(job, seen)
        case Inconclusive(told, evidence, outcome):
            polls = job.evidence_polls + 1 if job.evidence == evidence else 1
            if polls >= seen.polls or (isinstance(outcome, Finished) and now >= job.deadline_at):
                return after_poll(job, outcome, now=now, policy=policy)
            wait = policy.pacing.interval_s
        case Pending(word):
            wait, told = policy.pacing.wait(now - (job.began_at or now)), word
        case Unreachable(hold, message, retry_after_s):
            wait = max(policy.pacing.interval_s, retry_after_s or 0.0)
            told = f"{hold}: {message}"
        case _:
            assert_never(seen)
    end = _end_of_polling(job, told, policy=policy)
    if now >= end.at:
        return end.verdict
    # The last poll comes at the deadline, not an interval after it.
    return PollAgain(min(wait, max(end.at - now, 0.0)), told, evidence, polls)


@dataclass(frozen=True, slots=True)
class _End:
    """When polling ends, and as what."""

    at: float
    verdict: GiveUp


def _end_of_polling(job: Job, told: str, *, policy: Policy) -> _End:
    """The deadline bounds the generation. A video that was seen once is polled for a fresh URL as long as fetched."""
    if job.rendered_at is not None:
        message = f"no URL served the video for {policy.download_patience_s:g} s; last seen: {told}"
        verdict = GiveUp(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
        return _End(job.rendered_at + policy.download_patience_s, verdict)
    message = f"not finished {job.deadline_s:g} s after the purchase; last seen: {told}"
    verdict = GiveUp(State.EXPIRED, Reason.DEADLINE_PASSED, message, Charged.UNKNOWN, policy.late_fetch_first_s)
    return _End(job.deadline_at, verdict)


def _refused(job: Job, refused: Refused) -> GiveUp:
    """A generation that had been seen finished was paid for, whatever the upstream says of it later."""
    if job.rendered_at is not None:
        return GiveUp(State.FAILED, Reason.NOT_STORED, refused.message, Charged.YES)
    reason = Reason.CONTENT_REFUSED if refused.by_filter else Reason.GENERATION_FAILED
    return GiveUp(State.FAILED, reason, refused.message, refused.charged)


FAILURES_PER_URL: Final = 3
"""A URL that failed this many times is asked for anew: its host may be gone."""


def after_download(
    job: Job, outcome: Download, *, now: float, policy: Policy
) -> Complete | FetchAgain | PollAgain | GiveUp:
    """A download that fails is tried again for long: the video is paid for and its URL is known."""
    match outcome:
        case Fetched(stored, media):
            return Complete(stored, media)
        case Gone(message) | NotFetched(message) | ArchiveUnavailable(message):
            pass
        case _:
            assert_never(outcome)
    if now - (job.rendered_at or now) >= policy.download_patience_s:
        return GiveUp(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
    wait = min(policy.download_first_s * 2.0 ** min(job.downloads, 30), policy.download_longest_s)
    lasting = isinstance(outcome, NotFetched) and (job.downloads + 1) % FAILURES_PER_URL == 0
    if isinstance(outcome, Gone) or lasting:
        return PollAgain(wait, message)
    return FetchAgain(wait, message)


def on_log(job: Job, row: LogRow | None, *, now: float, policy: Policy) -> Adopt | AskAgain | Resubmit:
    """A row is proof; its absence proves nothing before a quiet window longer than any generation has passed.

    Rows come late, for an asynchronous video perhaps only after it is done.
    """
    if row is not None:
        return Adopt(row, policy.pacing.interval_s)
    doubted_for_s = now - (job.intent_at or job.accepted_at)
    if doubted_for_s < policy.quiet_s:
        wait = min(policy.reconcile_first_s * 2.0 ** min(job.log_reads, 30), policy.reconcile_longest_s)
        return AskAgain(min(wait, policy.quiet_s - doubted_for_s), "not in the upstream's log yet", for_a_person=False)
    if policy.resubmit_in_doubt:
        return Resubmit()
    wait = policy.reconcile_longest_s if doubted_for_s < policy.log_reaches_s else policy.log_reaches_s
    return AskAgain(wait, "not in the upstream's log after the quiet window: a person must decide", for_a_person=True)


def after_late_poll(job: Job, seen: PollResult, *, now: float, policy: Policy) -> PollAgain | StoreVideo | GiveUp:
    """An ended job's paid generation may still finish; it is polled ever less often, for a bounded time."""
    match seen:
        case Finished(video, note) | Inconclusive(outcome=Finished(video, note)):
            return StoreVideo(video, note)
        case Refused(message, charged):
            return GiveUp(job.state, job.reason or Reason.GENERATION_FAILED, message, charged)
        case Pending(told) | Unreachable(message=told) | Inconclusive(told):
            return late_again(job, told, now=now, policy=policy)
    assert_never(seen)


def late_again(job: Job, message: str, *, now: float, policy: Policy) -> PollAgain | GiveUp:
    """When to try for an ended job's video again, if at all."""
    ended_for_s = now - (job.finished_at or now)
    if ended_for_s >= policy.late_fetch_patience_s:
        return GiveUp(job.state, job.reason or Reason.DEADLINE_PASSED, message, job.charged)
    return PollAgain(min(max(ended_for_s / 2, policy.late_fetch_first_s), policy.late_fetch_longest_s), message)


def late_receipt_fetch_in_s(job: Job, *, policy: Policy) -> float | None:
    """In how many seconds to look for a video that was bought for a job that has ended; None: it is not wanted."""
    return None if job.state is State.CANCELLED and not policy.keep_cancelled else policy.late_fetch_first_s


def on_cancel(job: Job, *, keep: bool = False) -> GiveUp | RequestCancel | AlreadyOver:
    """Before the purchase cancelling is free; after it, what was bought stays bought and the answer says so.

    With `keep`, the video is fetched all the same when it is done.
    """
    match job.state:
        case State.QUEUED:
            return GiveUp(State.CANCELLED, Reason.CANCELLED, "cancelled before the purchase", Charged.NO)
        case State.SUBMITTING | State.IN_DOUBT:
            return RequestCancel()
        case State.RENDERING | State.STORING:
            message = "cancelled after the purchase: the upstream cannot take it back"
            return GiveUp(State.CANCELLED, Reason.CANCELLED, message, Charged.YES, 0.0 if keep else None)
        case State.COMPLETED | State.FAILED | State.CANCELLED | State.EXPIRED:
            return AlreadyOver()
    assert_never(job.state)


def _backoff(policy: Policy, holds: int) -> float:
    """Doubles with each hold in a row, so that an upstream that refuses is not hammered."""
    return min(policy.hold_first_s * 2.0 ** min(holds, 30), policy.hold_longest_s)
