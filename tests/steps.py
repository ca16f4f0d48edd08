"""The steps of a job's life, each named after its event: a step builds the move and applies it to the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypedDict, Unpack

from jobs.artifacts import Artifact
from jobs.errors import JobError
from jobs.facts import Accepted, Described, Fetched, GenerationFailed, Unknown
from jobs.job import Charged, Hold, Job, Reason, Stored, Terms, Video, VideoRequest
from jobs.ledger import Ledger
from jobs.media import Media
from jobs.moves import download, poll, purchase, reconcile, request
from jobs.moves import follow_up as follow_ups
from jobs.moves import move as parts
from jobs.moves.move import Move, Policy
from jobs.queues import receiver_of
from jobs.schedule import FixedSchedule, Interval
from jobs.states import State
from jobs.work_items import LEASE_S, Claim, Item
from tests.stage import a_request

POLICY: Final = Policy(
    schedule=FixedSchedule(first_s=20, interval_s=10),
    poll_interval_s=10,
    hold_first_s=2,
    hold_longest_s=60,
    download_first_s=1,
    download_longest_s=300,
    download_patience_s=3600,
)

TERMS: Final = Terms(deadline_s=1000, kind="google/veo3:8:720p")
VIDEO: Final = Video("https://cdn.example/clip.mp4", content_type="video/mp4", file_size=3_716_781)
STORED: Final = Stored("2027/01/15/clip.mp4", 3_716_781, "ab12", "video/mp4")

ended = parts.ended

END: Final = ended(State.FAILED, Reason.REFUSED, "no", Charged.NO)


class Way(TypedDict, total=False):
    """What is unusual on a job's way to its state."""

    lease_s: float
    ask_in_s: float
    generation_id: str
    cost_usd: float
    first_poll_s: float
    video: Video
    stored: Stored
    describe: bool
    ends_unbought: bool
    message: str


def job_in(
    ledger: Ledger, state: State, what: VideoRequest | None = None, terms: Terms = TERMS, **way: Unpack[Way]
) -> Job:
    """Accept a job and walk it to a state, by the steps of its life."""
    return walked(ledger, ledger.accept(what or a_request(), terms).job_id, state, **way)


def walked(ledger: Ledger, job_id: str, state: State, **way: Unpack[Way]) -> Job:
    """Walk a queued job to a state, by the steps of its life; with `ends_unbought` a failed job was never bought."""
    is_direct = state in _REASONS and way.get("ends_unbought", False)
    for step in (state,) if is_direct else _WAYS[state]:
        _walk(ledger, ledger.get(job_id), step, way)
    return ledger.get(job_id)


def _walk(ledger: Ledger, job: Job, step: State, way: Way) -> None:
    match step:
        case State.SUBMITTING:
            submitting(ledger, job, lease_s=way.get("lease_s", LEASE_S))
        case State.IN_DOUBT:
            in_doubt(ledger, job, "the reply was lost", ask_in_s=way.get("ask_in_s", 60))
        case State.RENDERING:
            generation_id, cost_usd = way.get("generation_id", f"gen-{job.id}"), way.get("cost_usd", 3.36)
            submitted(ledger, job, generation_id, cost_usd=cost_usd, first_poll_s=way.get("first_poll_s", 0))
        case State.STORING:
            rendered(ledger, job, way.get("video", VIDEO))
        case State.COMPLETED:
            completed(ledger, job, way.get("stored", STORED), describe=way.get("describe", False))
        case _:
            end(ledger, job, ended(step, _REASONS[step], way.get("message", "no"), job.charged))


def given_up(ledger: Ledger) -> Job:
    """Return a purchase, as its frozen buyer remembers it, that was put in doubt and given up meanwhile."""
    job = job_in(ledger, State.SUBMITTING)
    in_doubt(ledger, job, "no word")
    end(ledger, ledger.get(job.id), ended(State.FAILED, Reason.IN_DOUBT, "given up", Charged.UNKNOWN))
    return job


_WAYS: Final[Mapping[State, Sequence[State]]] = {
    State.QUEUED: (),
    State.SUBMITTING: (State.SUBMITTING,),
    State.IN_DOUBT: (State.SUBMITTING, State.IN_DOUBT),
    State.RENDERING: (State.SUBMITTING, State.RENDERING),
    State.STORING: (State.SUBMITTING, State.RENDERING, State.STORING),
    State.COMPLETED: (State.SUBMITTING, State.RENDERING, State.STORING, State.COMPLETED),
    **{state: (State.SUBMITTING, State.RENDERING, state) for state in (State.FAILED, State.CANCELLED, State.EXPIRED)},
}
_REASONS: Final = {
    State.FAILED: Reason.GENERATION_FAILED,
    State.CANCELLED: Reason.CANCELLED,
    State.EXPIRED: Reason.DEADLINE_PASSED,
}


def held(ledger: Ledger, job: Job, seconds: float, hold: Hold, message: str) -> int:
    """Hold the job in the queue, because nothing could be bought."""
    return ledger.move(job, purchase.held(job, hold, message, wait_s=seconds))


def submitting(ledger: Ledger, job: Job, *, lease_s: float = 10, worker: str = "", suffix: str = "a1") -> Job:
    """Write the intent to buy."""
    return ledger.intend(job, purchase.submitting(job, lease_s=lease_s, worker=worker, suffix=suffix))


def submitted(
    ledger: Ledger, job: Job, generation_id: str, *, cost_usd: float | None = 3.36, first_poll_s: float = 0
) -> int:
    """Write the receipt."""
    return ledger.move(job, purchase.submitted(job, generation_id, cost_usd=cost_usd, first_poll_s=first_poll_s))


def in_doubt(ledger: Ledger, job: Job, message: str, *, ask_in_s: float = 15) -> int:
    """Put the purchase in doubt, because its reply was lost."""
    policy = replace(POLICY, reconcile_first_s=ask_in_s)
    return ledger.move(job, purchase.after_submit(job, Unknown(message), policy=policy))


def still_in_doubt(ledger: Ledger, job: Job, seconds: float, message: str) -> int:
    """Keep the purchase in doubt, because the upstream's log does not show it yet."""
    return ledger.move(job, reconcile.still_in_doubt(message, wait_s=seconds))


def needs_attention(ledger: Ledger, job: Job) -> int:
    """End the quiet window without a trace: a person must decide."""
    long_after = (job.intent_at or job.accepted_at) + POLICY.quiet_s + 1
    return ledger.move(job, reconcile.after_reading(job, None, now=long_after, policy=POLICY))


def adopted(
    ledger: Ledger, job: Job, generation_id: str, *, cost_usd: float | None = None, first_poll_s: float = 0, by: str
) -> int:
    """Adopt the generation that was found for the purchase."""
    move = reconcile.adopted(job, generation_id, cost_usd=cost_usd, first_poll_s=first_poll_s, by=by)
    return ledger.move(job, move)


def resubmitted(ledger: Ledger, job: Job, *, by: str) -> int:
    """Buy again, because somebody decided so."""
    return ledger.move(job, reconcile.resubmitted(job, by=by, queue_ttl_s=POLICY.queue_ttl_s))


def rendered(ledger: Ledger, job: Job, video: Video, took: Interval | None = None) -> int:
    """Write that the generation is done, and where its video is."""
    return ledger.move(job, poll.rendered(job, video, took=took))


def claimed(ledger: Ledger, queue: str, *, limit: int = 100, fence: bool = False, woke: bool = True) -> list[Job]:
    """Claim what is due in the queue of a state."""
    return [one.job for one in ledger.items.claim(Claim(queue=queue, limit=limit, fence=fence), woke=woke).jobs]


def claimed_items(ledger: Ledger, queue: str, *, limit: int = 100) -> list[Item]:
    """Claim the follow-ups, or deliveries, that are due in a queue."""
    slot = "slot" if receiver_of(queue) else None
    claim = Claim(queue=queue, limit=limit, wants_request=True, slot=slot, width=100, slow_s=1e9)
    return list(ledger.items.claim(claim).items)


def storing(ledger: Ledger, job: Job) -> Job:
    """Begin the download of a job that is due."""
    claim = Claim(queue=State.STORING, limit=100, event="job.storing")
    return next(one.job for one in ledger.items.claim(claim).jobs if one.job.id == job.id)


def store_failed(ledger: Ledger, job: Job, seconds: float, message: str) -> int:
    """Wait for the next download, because this one failed."""
    return ledger.move(job, download.store_failed(message, wait_s=seconds, fresh_url=False))


def needs_fresh_url(ledger: Ledger, job: Job, seconds: float, message: str) -> int:
    """Go back to polling for a fresh URL, because this one serves the video no more."""
    return ledger.move(job, download.store_failed(message, wait_s=seconds, fresh_url=True))


def completed(ledger: Ledger, job: Job, stored: Stored, media: Media | None = None, *, describe: bool = False) -> int:
    """Complete the job: its video is in the archive."""
    return ledger.move(job, download.completed(stored, media, took_s=100.0, policy=replace(POLICY, describe=describe)))


def end(ledger: Ledger, job: Job, move: Move) -> int:
    """End the job without its video."""
    return ledger.move(job, move)


def cancel_requested(ledger: Ledger, job: Job) -> int:
    """Ask to cancel the job while it is being bought."""
    move = request.on_cancel(job)
    assert move is not None
    return ledger.move(job, move)


def bought_late(
    ledger: Ledger, job: Job, generation_id: str, *, cost_usd: float | None, late_fetch_in_s: float | None
) -> int:
    """Write the receipt of a job that has ended."""
    policy = replace(POLICY, keep_cancelled=late_fetch_in_s is not None, late_fetch_first_s=late_fetch_in_s or 60)
    return ledger.move(job, purchase.bought_late(job, Accepted(generation_id, cost_usd), policy=policy))


def adopted_late(ledger: Ledger, job: Job, receipt: Accepted, *, first_poll_s: float = 0) -> int:
    """Write the receipt of an earlier purchase of a job that waits to be bought again."""
    return ledger.move(job, purchase.adopted_late(job, receipt, first_poll_s=first_poll_s))


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll that found nothing new, and in how many seconds the next one is due."""

    job: Job
    result: str
    seconds: float
    pending: bool = False
    evidence: str | None = None
    evidence_polls: int = 0

    @property
    def move(self) -> Move:
        """The move that this poll leads to."""
        move = poll.polled(self.job, self.result, wait_s=self.seconds, pending=self.pending)
        evidence = {"evidence": self.evidence, "evidence_polls": self.evidence_polls}
        return replace(move, set=evidence, clear=()) if self.evidence else move


def polled(ledger: Ledger, polls: Sequence[Poll]) -> list[int | JobError]:
    """Write polls in one round trip; those of jobs that have moved on change nothing."""
    return ledger.apply([(poll.job, poll.move) for poll in polls])


def rendered_many(ledger: Ledger, found: Sequence[tuple[Job, Video]]) -> list[int | JobError]:
    """Write finished generations in one round trip."""
    return ledger.apply([(job, poll.rendered(job, video)) for job, video in found])


def given_back(ledger: Ledger, job: Job) -> int:
    """Give a claimed job back, because its worker met the open breaker."""
    return ledger.move(job, purchase.given_back())


def described(ledger: Ledger, item: Item, made: Sequence[Artifact], trouble: str | None) -> int:
    """Write which artifacts stand beside the video."""
    move = follow_ups.after_describe(Described(tuple(made), trouble), tries=item.tries, took_s=1.0, policy=POLICY)
    return ledger.move(item, move)


def fetched_late(ledger: Ledger, item: Item, video: Video, stored: Stored) -> int:
    """Write that the late video is in the archive."""
    assert item.job is not None
    now = item.job.finished_at or 0.0
    return ledger.move(item, follow_ups.after_late_download(item.job, video, Fetched(stored), now=now, policy=POLICY))


def late_fetch_ended(ledger: Ledger, item: Item, charged: Charged, message: str) -> int:
    """Give the late video up."""
    assert item.job is not None
    ended = follow_ups.after_late_poll(item.job, GenerationFailed(message, charged), now=0.0, policy=POLICY)
    assert isinstance(ended, Move)
    return ledger.move(item, ended)
