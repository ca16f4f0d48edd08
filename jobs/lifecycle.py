"""What happens next to a job: pure decisions from a job, a fact and the time. No clock, no dice, no network."""

from dataclasses import dataclass
from typing import assert_never

from jobs.facts import (
    Accepted,
    Download,
    Fetched,
    Finished,
    Gone,
    NotBought,
    NotFetched,
    Pending,
    Receipt,
    Refused,
    Rejected,
    Sighting,
    Unknown,
    Unreachable,
)
from jobs.job import Charged, Hold, Job, Reason, Stored, Video
from jobs.pacing import FixedPacing
from jobs.states import State


@dataclass(frozen=True, slots=True)
class Policy:
    """What a deployment chose about waiting, in seconds."""

    pacing: FixedPacing
    hold_first_s: float
    hold_longest_s: float
    download_first_s: float
    download_longest_s: float
    download_patience_s: float


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
    """The generation is bought: look for the first time after `seconds`."""

    receipt: Accepted
    seconds: float


@dataclass(frozen=True, slots=True)
class AskForConfirmation:
    """Whether it was bought is not known: find out, never guess."""

    message: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Not done yet: look again after `seconds`."""

    seconds: float
    seen: str


@dataclass(frozen=True, slots=True)
class StoreVideo:
    """Done: write down where it is, then fetch it."""

    video: Video


@dataclass(frozen=True, slots=True)
class FetchAgain:
    """The download failed: try the download again, never the generation."""

    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The bytes are ours: the job is done."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the job without its video."""

    state: State
    reason: Reason
    message: str
    charged: Charged


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


def after_submit(job: Job, receipt: Receipt, *, policy: Policy) -> Await | WaitInQueue | AskForConfirmation | GiveUp:
    """Only a proof that nothing was bought lets the same order be sent again."""
    match receipt:
        case Accepted():
            return Await(receipt, policy.pacing.first())
        case NotBought(hold, message, retry_after_s):
            wait = retry_after_s if retry_after_s is not None else _backoff(policy, job.holds)
            return WaitInQueue(wait, hold, message)
        case Rejected(message):
            return GiveUp(State.FAILED, Reason.REFUSED, message, Charged.NO)
        case Unknown(message):
            return AskForConfirmation(message)
    assert_never(receipt)


def after_look(job: Job, seen: Sighting, *, now: float, policy: Policy) -> LookAgain | StoreVideo | GiveUp:
    """Waiting is not failing: only the deadline or the upstream's refusal ends a job."""
    match seen:
        case Finished(video):
            return StoreVideo(video)
        case Refused(message):
            return GiveUp(State.FAILED, Reason.GENERATION_FAILED, message, Charged.NO)
        case Pending(word):
            wait, told = policy.pacing.wait(now - (job.submitted_at or now)), word
        case Unreachable(hold, message, retry_after_s):
            wait = max(policy.pacing.interval_s, retry_after_s or 0.0)
            told = f"{hold}: {message}"
        case _:
            assert_never(seen)
    if now >= job.deadline_at:
        message = f"not finished {job.deadline_s:g} s after the purchase; last seen: {told}"
        return GiveUp(State.EXPIRED, Reason.DEADLINE_PASSED, message, Charged.UNKNOWN)
    # The last look comes at the deadline, not an interval after it.
    return LookAgain(min(wait, max(job.deadline_at - now, 0.0)), told)


def after_download(
    job: Job, outcome: Download, *, now: float, policy: Policy
) -> Complete | FetchAgain | LookAgain | GiveUp:
    """A download that fails is tried again for long: the video is paid for and its URL is known."""
    match outcome:
        case Fetched(stored):
            return Complete(stored)
        case Gone(message) | NotFetched(message):
            pass
        case _:
            assert_never(outcome)
    if now - (job.rendered_at or now) >= policy.download_patience_s:
        return GiveUp(State.FAILED, Reason.NOT_STORED, message, Charged.YES)
    wait = min(policy.download_first_s * 2.0 ** min(job.downloads, 30), policy.download_longest_s)
    if isinstance(outcome, Gone):
        return LookAgain(wait, message)
    return FetchAgain(wait, message)


def on_cancel(job: Job) -> GiveUp | RequestCancel | AlreadyOver:
    """Before the purchase cancelling is free; after it, what was bought stays bought and the answer says so."""
    match job.state:
        case State.QUEUED:
            return GiveUp(State.CANCELLED, Reason.CANCELLED, "cancelled before the purchase", Charged.NO)
        case State.SUBMITTING | State.UNCONFIRMED:
            return RequestCancel()
        case State.RENDERING | State.STORING:
            message = "cancelled after the purchase: the upstream cannot take it back"
            return GiveUp(State.CANCELLED, Reason.CANCELLED, message, Charged.YES)
        case State.COMPLETED | State.FAILED | State.CANCELLED | State.EXPIRED:
            return AlreadyOver()
    assert_never(job.state)


def _backoff(policy: Policy, holds: int) -> float:
    """Doubles with each hold in a row, so that a closed door is not hammered."""
    return min(policy.hold_first_s * 2.0 ** min(holds, 30), policy.hold_longest_s)
