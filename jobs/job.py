"""A job as the ledger holds it, and the words it is told in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from jobs.artifacts import Artifact
from jobs.media import Media
from jobs.states import State

LATE_RECEIPT_S: Final = 10.0
"""A receipt that comes this many seconds after the intent to buy says little about when the generation began."""


class Charged(StrEnum):
    """Whether the upstream was paid for a job."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a job ended without its video: the closed list."""

    REFUSED = "refused"  # the upstream refused the request as it stands: nothing was bought
    CONTENT_REFUSED = "content_refused"  # the upstream's safety filter refused the prompt, the picture or the result
    GENERATION_FAILED = "generation_failed"  # the upstream took it and could not render it
    NOT_STORED = "not_stored"  # the video exists, but its bytes could not be fetched in time
    QUEUE_EXPIRED = "queue_expired"  # it waited too long for its purchase
    DEADLINE_PASSED = "deadline_passed"  # the generation took longer than its deadline
    IN_DOUBT = "in_doubt"  # whether it was bought could not be learnt, and a person gave it up
    CANCELLED = "cancelled"  # somebody asked for it


class Hold(StrEnum):
    """Why a job that could go on has to wait; waiting is not failing."""

    THROTTLED = "throttled"  # the upstream said: not so fast
    BAD_KEY = "bad_key"  # the upstream does not know our key
    OUT_OF_CREDITS = "out_of_credits"  # the account is empty
    UNVERIFIED = "unverified"  # the account has no verified card
    FORBIDDEN = "forbidden"  # the key may not do this
    MISCONFIGURED = "misconfigured"  # the address is not the API's: it redirects elsewhere
    UNREACHABLE = "unreachable"  # no connection was made
    UNAVAILABLE = "unavailable"  # it answered, but with an error of its own
    NOT_DURABLE = "not_durable"  # Redis did not promise to remember the intent, so nothing was bought


class Family(StrEnum):
    """Which of the upstream's two pairs of endpoints a job was submitted to; it is polled on the same one."""

    UNIVERSAL = "universal"
    GOOGLE = "google"


@dataclass(frozen=True, slots=True)
class Video:
    """A finished video as the upstream describes it."""

    url: str
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Our copy of a video; `path` is relative to the archive's root, so that it means the same on every host."""

    path: str
    size_bytes: int
    sha256: str
    content_type: str


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """What was ordered: what the upstream is sent, labels of the producer's own, and an address to tell of the end."""

    model: str
    prompt: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    """Defaults that the stored video is compared with where `parameters` is silent; the upstream is not sent them."""

    def body(self) -> dict[str, Any]:
        """The JSON object that the upstream is sent."""
        prompt = {} if self.prompt is None else {"prompt": self.prompt}
        return {"model": self.model, **prompt, **self.parameters}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the ledger. Times are seconds since the epoch by Redis's clock."""

    id: str
    version: int
    state: State
    turn: int
    model: str
    accepted_at: float
    deadline_at: float
    deadline_s: float
    due_at: float | None = None
    attempt: int = 0
    polls: int = 0
    holds: int = 0
    downloads: int = 0
    family: Family = Family.UNIVERSAL
    request_id: str | None = None
    generation_id: str | None = None
    worker: str | None = None
    intent_at: float | None = None
    log_reads: int = 0
    attention_at: float | None = None
    submitted_at: float | None = None
    rendered_at: float | None = None
    finished_at: float | None = None
    cancel_requested_at: float | None = None
    video: Video | None = None
    stored: Stored | None = None
    media: Media | None = None
    artifacts: tuple[Artifact, ...] = ()
    removed_at: float | None = None
    cost_usd: float | None = None
    charged: Charged = Charged.NO
    reason: Reason | None = None
    message: str | None = None
    hold: Hold | None = None
    rescues: int = 0
    announce_turn: int = 0
    late_fetch_turn: int = 0
    tenant: str | None = None
    retry_of: str | None = None
    retried_as: str | None = None
    erased_at: float | None = None
    kind: str | None = None
    pending_at: float | None = None
    evidence: str | None = None
    evidence_polls: int = 0
    describe_turn: int = 0
    describe_failures: int = 0

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state.is_final

    @property
    def began_at(self) -> float | None:
        """When its generation began, as far as is known.

        That is the receipt's time; if it came late (spooled, or found in the upstream's log), the intent's.
        """
        if self.submitted_at is None or self.intent_at is None:
            return self.submitted_at
        return self.submitted_at if self.submitted_at - self.intent_at < LATE_RECEIPT_S else self.intent_at
