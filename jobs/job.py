"""A job: the one record from which its row, API view, hook result, manifest and SQL row derive.

Declare a new field once, with its type, unit and meaning, in the class of its readers:

- `Job`: the code only
- `Shown`: everybody (API view, hook result, manifest, SQL)
- `Ended`: hook result, manifest, SQL
- `Followed`: API view

A field that SQL shows also needs a column (worker/sql/tables.py) and a migration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import from_json

from jobs.artifacts import Artifact
from jobs.errors import FieldError, InvalidRequest
from jobs.media import Media
from jobs.numbers import Count, Number
from jobs.states import State

ACCOUNT: Final = "default"
"""The default upstream account."""

LONGEST_WAIT_S: Final = 2_678_400.0
"""The longest that a job may wait to be bought, in seconds: 31 days."""

LATE_RECEIPT_S: Final = 10.0
"""A receipt this many seconds after the intent is too late to date the generation's start."""


class Charged(StrEnum):
    """Whether the upstream was paid for a job."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Priority(StrEnum):
    """A job's place among its tenant's: high is bought as if it came an hour earlier, low an hour later."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Reason(StrEnum):
    """Why a job ended without its video: the closed list."""

    REFUSED = "refused"  # the upstream refused the request as it stands: nothing was bought
    CONTENT_REFUSED = "content_refused"  # the upstream's safety filter refused the prompt, the picture or the result
    GENERATION_FAILED = "generation_failed"  # the upstream took it and could not render it
    NOT_STORED = "not_stored"  # the video exists, but its bytes could not be fetched in time
    QUEUE_EXPIRED = "queue_expired"  # it waited too long for its purchase
    DEADLINE_PASSED = "deadline_passed"  # the generation took longer than its deadline
    IN_DOUBT = "in_doubt"  # whether it was bought could not be learnt, and a person gave it up
    INPUT_GONE = "input_gone"  # its input is missing in the archive: nothing was bought
    CANCELLED = "cancelled"  # somebody asked for it


class Hold(StrEnum):
    """Why a queued job waits; waiting is not failing."""

    THROTTLED = "throttled"  # the upstream said: not so fast
    BAD_KEY = "bad_key"  # the upstream does not know our key
    OUT_OF_CREDITS = "out_of_credits"  # the account is empty
    UNVERIFIED = "unverified"  # the account has no verified card
    FORBIDDEN = "forbidden"  # the key may not do this
    MISCONFIGURED = "misconfigured"  # the address is not the API's: it redirects elsewhere
    UNREACHABLE = "unreachable"  # no connection was made
    UNAVAILABLE = "unavailable"  # it answered, but with an error of its own
    NOT_DURABLE = "not_durable"  # Redis did not promise to remember the intent, so nothing was bought
    ARCHIVE = "archive"  # its input cannot be read from the archive


class Family(StrEnum):
    """The pair of upstream endpoints that a job is submitted to and polled on."""

    UNIVERSAL = "universal"
    GOOGLE = "google"


@dataclass(frozen=True, slots=True)
class Video:
    """The finished video as the upstream describes it."""

    url: Annotated[
        str, Field(description="The upstream's own URL; it soon expires.", examples=["https://cdn.example/clip.mp4"])
    ]
    content_type: Annotated[
        str | None, Field(description="Its type, as the upstream says.", examples=["video/mp4"])
    ] = None
    file_name: Annotated[str | None, Field(description="The upstream's name for it.", examples=["output.mp4"])] = None
    file_size: Annotated[int | None, Field(description="Bytes, as the upstream says.", examples=[3716781])] = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Our copy of the video."""

    path: Annotated[
        str,
        Field(
            description="Where it is in the archive: relative to its root, so that it means the same on every host.",
            examples=["2026/11/22/job_01kb0000000000000000000000.mp4"],
        ),
    ]
    size_bytes: Annotated[int, Field(description="Bytes.", examples=[3716781])]
    sha256: Annotated[str, Field(description="Checksum of the bytes, in hexadecimal.", examples=["ab" * 32])]
    content_type: Annotated[str, Field(description="What it is, by its own bytes.", examples=["video/mp4"])]


@dataclass(frozen=True, slots=True)
class Input:
    """The parameters of a large request, in a file of the archive (config/inputs.py)."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A request: the fields for the upstream, the producer's labels, and a webhook address for the end."""

    model: str
    prompt: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    """Defaults to compare the stored video with where `parameters` is silent; not sent to the upstream."""
    input: Input | None = None
    """Where all of the parameters are, if `parameters` are their short form."""

    def body(self) -> dict[str, Any]:
        """Return the JSON object for the upstream."""
        prompt = {} if self.prompt is None else {"prompt": self.prompt}
        return {"model": self.model, **prompt, **self.parameters}


DAY_S: Final = 86_400.0
LONGEST_DEADLINE_S: Final = DAY_S
LONGEST_DUE_IN_S: Final = 30 * DAY_S
LONGEST_KEY_LIFE_S: Final = 366 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a request is accepted; None: as the settings say.

    Raises:
        InvalidRequest: a time is out of its bounds.
    """

    job_id: str | None = None
    """None: a new one."""
    account: str = ACCOUNT
    tenant: str | None = None
    idempotency_key: str | None = None
    idempotency_life_s: float | None = None
    deadline_s: float | None = None
    """Seconds that its generation may take from the purchase."""
    due_in_s: float = 0.0
    """Seconds until it may be bought."""
    queue_ttl_s: float | None = None
    """Seconds that it may wait for its purchase from now on."""
    priority: Priority = Priority.NORMAL
    family: Family = Family.UNIVERSAL
    kind: str | None = None
    """Jobs of one kind share a latency; None: one kind for each model."""
    reuse: bool = False
    """Answer with the kept video of an identical request, if there is one."""
    reuse_digest: str | None = None
    """Digest of identical requests, which finds the job once it has its video."""
    webhook_receiver: str | None = None
    """The receiver behind the request's webhook address."""
    traceparent: str | None = None
    """The W3C trace context of the caller's span; None, or malformed: that of the running span, if there is one."""

    def __post_init__(self) -> None:
        """Bound the times, which become scores and lives of keys."""
        bounds: dict[str, tuple[Any, float]] = {
            "deadline_s": (self.deadline_s, LONGEST_DEADLINE_S),
            "idempotency_life_s": (self.idempotency_life_s, LONGEST_KEY_LIFE_S),
            "due_in_s": (self.due_in_s or None, LONGEST_DUE_IN_S),
        }
        errors = [
            FieldError(name, f"must be seconds, more than 0 and at most {longest_s:,.0f}")
            for name, (value, longest_s) in bounds.items()
            if value is not None and not (isinstance(value, int | float) and 0 < value <= longest_s)
        ]
        if errors:
            raise InvalidRequest(tuple(errors))


USUAL_TERMS: Final = Terms()


def _parsed(value: Any) -> Any:
    return from_json(value, allow_inf_nan=False) if isinstance(value, str) else value


def _split(value: Any) -> Any:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


T = TypeVar("T")
AsJson = Annotated[T, BeforeValidator(_parsed)]
"""A small record; a row holds it as JSON."""


class Shown(BaseModel):
    """The fields that every view of a job shows. Times are seconds since the epoch by Redis's clock."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_serialization_defaults_required=True,
        defer_build=True,  # only the records that derive from it are ever built
    )

    id: Annotated[str, Field(description="The job's id.", examples=["job_01kb0000000000000000000000"])]
    account: Annotated[str, Field(description="The upstream account that it is bought with.", examples=[ACCOUNT])] = (
        ACCOUNT
    )
    model: Annotated[str, Field(description="The upstream's model.", examples=["google/veo3"])]
    submitted_at: Annotated[
        Number | None, Field(description="When the upstream accepted the request.", examples=[1795000001.25])
    ] = None
    rendered_at: Annotated[
        Number | None, Field(description="When we saw that it was rendered.", examples=[1795000111.5])
    ] = None
    polls: Annotated[Count, Field(description="How often we have polled it upstream.", examples=[3])] = 0
    generation_id: Annotated[
        str | None, Field(description="The upstream's id of it.", examples=["XXLhM-WwM1UXTVnR5w9EV"])
    ] = None
    cost_usd: Annotated[
        Number | None, Field(description="What the upstream charged, in dollars, if it said so.", examples=[3.36])
    ] = None
    charged: Annotated[Charged, Field(description="Whether the upstream was paid for it.", examples=["yes"])] = (
        Charged.NO
    )
    media: Annotated[
        AsJson[Media] | None,
        Field(
            description="What the stored video is by its own bytes, and what of the request it does not keep.",
            examples=[{"duration_s": 8.0, "width": 1280, "height": 720, "mismatch": []}],
        ),
    ] = None


class Ended(Shown):
    """The further fields of an ended job; the API shows them in OpenAI's shape."""

    tenant: str | None = None
    """Whose job it is; None: nobody's in particular."""
    reason: Reason | None = None
    """Why it ended without its video."""
    message: str | None = None
    """The upstream's words, or ours, about the newest trouble."""
    accepted_at: Number
    """When it was put into the ledger."""
    finished_at: Number | None = None
    """When it ended, however it ended."""


class Followed(Shown):
    """The further fields that the API shows."""

    state: Annotated[State, Field(description="Where it stands, exactly.", examples=["rendering"])]
    hold: Annotated[
        Hold | None, Field(description="Why a queued job waits, if it is held.", examples=["throttled"])
    ] = None
    video: Annotated[
        AsJson[Video] | None, Field(description="The upstream's video; null before it is rendered.", examples=[None])
    ] = None
    priority: Annotated[
        Priority, Field(description="Its place among its tenant's queued jobs.", examples=["normal"])
    ] = Priority.NORMAL
    retry_of: Annotated[
        str | None, Field(description="The job that this one repeats.", examples=["job_01kb0000000000000000000000"])
    ] = None
    retried_as: Annotated[
        str | None, Field(description="The job that repeats this one.", examples=["job_01kb0000000000000000000001"])
    ] = None


class Job(Ended, Followed):
    """One row of the ledger."""

    model_config = ConfigDict(defer_build=False)

    version: Count = 1
    """The version of the row's format."""
    turn: Count
    """The fencing token: each fenced claim and each applied move adds one."""
    queue: str | None = None
    """Where it is due, if not in the queue of its state."""
    deadline_at: Number
    """When the job is given up in its present state."""
    deadline_s: Number
    """How many seconds its generation may take from the purchase."""
    due_at: Number | None = None
    """When its next step was due when it was last moved."""
    attempt: Count = 0
    """How often a purchase was begun."""
    holds: Count = 0
    """How often it was held."""
    downloads: Count = 0
    """How many downloads failed."""
    family: Family = Family.UNIVERSAL
    """The endpoints that it is submitted to and polled on."""
    request_id: str | None = None
    """Our own name for its purchase in the upstream's request log."""
    worker: str | None = None
    """The worker that buys it."""
    webhook_receiver: str | None = None
    """The receiver behind the webhook address of its request."""
    traceparent: str | None = None
    """The W3C trace context of the span that asked for it (jobs/trace_context.py)."""
    intent_at: Number | None = None
    """When the intent to buy was written."""
    log_reads: Count = 0
    """How often the upstream's request log was read for a purchase in doubt."""
    attention_at: Number | None = None
    """When it was found that a person must decide."""
    cancel_requested_at: Number | None = None
    """When somebody asked for its cancellation while it was being bought."""
    stored: AsJson[Stored] | None = None
    """Our copy of the video."""
    artifacts: Annotated[tuple[Artifact, ...], BeforeValidator(_split)] = ()
    """What stands beside the video in the archive; a row holds a list with commas.

    `after_describe` alone writes it, and writes it whole: a second writer would undo the first."""
    removed_at: Number | None = None
    """When retention removed our copy."""
    bought_late_at: Number | None = None
    """When a receipt came for it although it had ended."""
    other_purchases: str | None = None
    """Other purchases of it, a line each: the generation's id, and the job that goes on with it."""
    doubts: Count = 0
    """How many purchases in doubt were followed by another purchase."""
    erased_at: Number | None = None
    """When its request and files were erased."""
    kind: str | None = None
    """Model, duration and resolution: what the latency depends on."""
    reuse_digest: str | None = None
    """Names identical requests, which its video may answer."""
    pending_at: Number | None = None
    """The newest poll that found it still pending."""
    evidence: str | None = None
    """What a poll found that may mean its end."""
    evidence_polls: Count = 0
    """How many polls in a row found that."""
    poll_timeouts: Count = 0
    """How many of its last polls in a row timed out."""

    @property
    def charged_before(self) -> Charged:
        """Whether an earlier purchase was charged: not known after a doubt that led to another purchase."""
        return Charged.UNKNOWN if self.doubts else Charged.NO

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state.is_final

    @property
    def began_at(self) -> float | None:
        """When its generation began, if known.

        The receipt's time; or the intent's, if the receipt came late (spooled, or found in the upstream's log).
        """
        if self.submitted_at is None or self.intent_at is None:
            return self.submitted_at
        return self.submitted_at if self.submitted_at - self.intent_at < LATE_RECEIPT_S else self.intent_at

    def shown(self, record: type[Shown]) -> dict[str, Any]:
        """Return the fields of `record`, one of the classes that a job derives from."""
        return {name: getattr(self, name) for name in record.model_fields}
