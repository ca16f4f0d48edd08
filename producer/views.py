"""A job's public JSON, the same in the API and the CLI, described field by field."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from jobs.admission import Place
from jobs.artifacts import path_of
from jobs.events import LogEntry
from jobs.job import Followed, Job, Reason, Stored, VideoRequest
from jobs.schedule import Eta
from jobs.shorten import shorten
from jobs.states import State, Status
from producer.holds import Holds
from producer.models.catalogue import defaults_of, unfamiliar
from producer.waiting import Waiting, waiting, why_queued

if TYPE_CHECKING:
    from producer.keys import Key

SIZES: Final[Mapping[str, tuple[str, str]]] = {
    "1280x720": ("16:9", "720P"),
    "720x1280": ("9:16", "720P"),
    "1920x1080": ("16:9", "1080P"),
    "1080x1920": ("9:16", "1080P"),
}
"""OpenAI's word for a picture's size, and the upstream's two: aspect ratio and resolution."""

_SIZE_OF: Final = {words: size for size, words in SIZES.items()}
_NEARLY_DONE: Final = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView(Stored):
    """Our copy of the video. Its path is relative to the archive's root over HTTP, absolute on the command line."""

    removed_at: Annotated[float | None, Field(description="When retention removed it.", examples=[None])]


class PositionView(TypedDict):
    """A queued job's place, from 1."""

    of_tenant: Annotated[int, Field(description="Among its tenant's jobs: exact.", examples=[3])]
    of_all: Annotated[int, Field(description="Among all jobs: an estimate, as tenants take turns.", examples=[7])]


class ErrorView(TypedDict):
    """Why a job ended without its video."""

    code: Annotated[Reason, Field(description="The reason, from a closed list.", examples=["generation_failed"])]
    message: Annotated[
        str | None, Field(description="The upstream's words, or ours.", examples=["prompt was rejected"])
    ]


class EtaView(TypedDict):
    """How long it will probably take yet, by what was learnt of others of its kind."""

    p50_s: Annotated[float, Field(description="Half of such jobs are done within this many seconds.", examples=[64.0])]
    p90_s: Annotated[float, Field(description="Nine of ten are.", examples=[98.5])]


class VideoView(Followed):
    """A job: a request for a video, and what has become of it."""

    object: Annotated[Literal["video"], Field(description="Always `video`.", examples=["video"])]
    status: Annotated[
        Status,
        Field(
            description="Where it stands, in OpenAI's words, and two more: `cancelled`, `expired`.",
            examples=["in_progress"],
        ),
    ]
    prompt: Annotated[str | None, Field(description="The prompt.", examples=["a paper boat in the rain"])]
    progress: Annotated[
        int,
        Field(
            description="Per cent of the expected time that have passed; 100 only when the video is ours.",
            ge=0,
            le=100,
            examples=[42],
        ),
    ]
    seconds: Annotated[
        str | None, Field(description="The video's length as text; null if it is the model's choice.", examples=["8"])
    ]
    size: Annotated[
        str | None,
        Field(description="Width and height; null if it is the model's choice.", examples=["1280x720"]),
    ]
    parameters: Annotated[
        dict[str, Any],
        Field(
            description="All else that the upstream is sent; a picture or a long text in its short form, with its size "
            "and checksum.",
            examples=[{"duration": 8, "aspect_ratio": "16:9"}],
        ),
    ]
    metadata: Annotated[dict[str, str], Field(description="Your own labels.", examples=[{"campaign": "spring"}])]
    created_at: Annotated[
        int, Field(description="When it was accepted, in seconds since the epoch.", examples=[1795000000])
    ]
    completed_at: Annotated[int | None, Field(description="When it ended, however it ended.", examples=[1795000112])]
    expires_at: Annotated[
        int | None, Field(description="Until when an ended job can be asked about.", examples=[1795604912])
    ]
    deadline_at: Annotated[
        float | None,
        Field(description="When it is given up if nothing comes; null once it ended.", examples=[1795001001.25]),
    ]
    eta: Annotated[
        EtaView | None,
        Field(
            description="When it is probably done; null where nobody knows.", examples=[{"p50_s": 64.0, "p90_s": 98.5}]
        ),
    ]
    waiting: Annotated[
        str | None,
        Field(
            description="Why it waits and what happens next, in a sentence; null where nothing holds it up.",
            examples=["Held (throttled): 429 slow down. Nothing was bought; it is tried again in 8 s."],
        ),
    ]
    position: Annotated[
        PositionView | None,
        Field(
            description="Where a queued job stands, when it is asked about by its id.",
            examples=[{"of_tenant": 3, "of_all": 7}],
        ),
    ]
    reused: Annotated[
        bool,
        Field(
            description="In the answer to a request with `dedupe`: this is an earlier request's video, and this one "
            "cost nothing; `cost_usd` and `charged` are the earlier one's.",
            examples=[False],
        ),
    ]
    file: Annotated[FileView | None, Field(description="Our copy; null before it is stored.", examples=[None])]
    artifacts: Annotated[
        dict[str, str],
        Field(
            description="What stands beside the video, by name, each with its path.",
            examples=[{"poster": "2026/11/22/job_01kb0000000000000000000000.poster.webp"}],
        ),
    ]
    links: Annotated[
        dict[str, str],
        Field(
            description="URLs of what is stored, if the deployment hands any out.",
            examples=[{"video": "https://rushes.example/v1/videos/job_01kb0000000000000000000000/content"}],
        ),
    ]
    error: Annotated[ErrorView | None, Field(description="Why it ended without its video; else null.", examples=[None])]
    warnings: Annotated[
        list[str],
        Field(description="What may be a mistake in the request, which was accepted all the same.", examples=[[]]),
    ]


class EventView(TypedDict):
    """One line of a job's job log."""

    id: Annotated[str, Field(description="Orders the entries, and resumes a reader.", examples=["1795000000123-0"])]
    event: Annotated[
        str, Field(description="What happened; docs/reference/events.md lists them all.", examples=["job.polled"])
    ]
    at: Annotated[float, Field(description="When, in seconds since the epoch.", examples=[1795000030.5])]
    state: Annotated[State, Field(description="The job's state after it.", examples=["rendering"])]
    turn: Annotated[int, Field(description="The job's turn after it.", examples=[5])]
    data: Annotated[
        dict[str, Any],
        Field(description="What else there is to say.", examples=[{"result": "generating", "wait_s": 10}]),
    ]


class KeyView(TypedDict):
    """An API key, without its token."""

    id: Annotated[str, Field(description="Names the key; it is no secret.", examples=["0123456789abcdef"])]
    object: Annotated[Literal["key"], Field(description="Always `key`.", examples=["key"])]
    tenant: Annotated[str, Field(description="Whose jobs it may see and make.", examples=["shop"])]
    name: Annotated[str, Field(description="To tell it from others.", examples=["the web shop's backend"])]
    scopes: Annotated[list[str], Field(description="What it may do.", examples=[["read", "submit"]])]
    created_at: Annotated[int, Field(description="When it was issued, in epoch seconds.", examples=[1795000000])]
    expires_at: Annotated[int | None, Field(description="When it ends by itself.", examples=[1802776000])]
    revoked_at: Annotated[int | None, Field(description="When somebody ended it.", examples=[None])]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a view needs beside a job's row: the archive, links, the time, the ETA, the retention.

    `reused`: the view answers another request than the job's own. Of a queued job: what holds purchases back, how many
    of its tenant's generations run, and its place.
    """

    archive: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    now: float = 0.0
    eta: Eta | None = None
    retention_s: float | None = None
    reused: bool = False
    holds: Holds = field(default_factory=Holds)
    in_flight: int = 0
    place: Place | None = None


def waiting_of(job: Job, beside: Beside) -> str | None:
    """Say why the job waits and what happens next; None: nothing delays it."""
    return waiting(job, now=beside.now or None, holds=beside.holds, in_flight=beside.in_flight)


def why_queued_of(job: Job, beside: Beside) -> Waiting | None:
    """Say why a queued job is not bought yet; None: it waits for nothing but its turn."""
    return why_queued(job, now=beside.now or None, holds=beside.holds, in_flight=beside.in_flight)


def job_view(job: Job, request: VideoRequest, beside: Beside = Beside()) -> dict[str, Any]:
    """Return the job as plain JSON; times are seconds since the epoch, missing values are null."""
    view = VideoView(
        **job.shown(Followed),
        object="video",
        status=job.state.status,
        prompt=request.prompt,
        progress=_progress(job, beside),
        seconds=_length(request),
        size=_size(request),
        parameters=shorten(request.parameters),
        metadata=dict(request.metadata),
        created_at=int(job.accepted_at),
        completed_at=None if job.finished_at is None else int(job.finished_at),
        expires_at=_expiry(job, beside.retention_s),
        deadline_at=None if job.is_final else job.deadline_at,
        eta=_eta(beside.eta),
        waiting=waiting_of(job, beside),
        position=None if beside.place is None else {"of_tenant": beside.place.of_tenant, "of_all": beside.place.of_all},
        reused=beside.reused,
        file=_file(job, beside.archive),
        artifacts=_artifacts(job, beside.archive),
        links=dict(beside.links),
        error=None if job.reason is None else {"code": job.reason, "message": job.message},
        warnings=list(filter(None, [unfamiliar(request.model)])),
    )
    return view.model_dump(mode="json")


def entry_view(entry: LogEntry) -> EventView:
    """One line of the job log as plain JSON."""
    return {
        "id": entry.id,
        "event": entry.event,
        "at": entry.at,
        "state": State(entry.state),
        "turn": entry.turn,
        "data": dict(entry.data),
    }


def key_view(key: "Key") -> KeyView:
    """A key as plain JSON."""
    return {
        "id": key.id,
        "object": "key",
        "tenant": key.tenant,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": int(key.created_at),
        "expires_at": None if key.expires_at is None else int(key.expires_at),
        "revoked_at": None if key.revoked_at is None else int(key.revoked_at),
    }


def _progress(job: Job, beside: Beside) -> int:
    """Estimate the progress as the passed part of the expected time, below 100 until the end."""
    match job.state:
        case State.COMPLETED:
            return 100
        case State.STORING:
            return _NEARLY_DONE
        case State.RENDERING if beside.eta is not None and job.submitted_at is not None:
            waited_s = max(beside.now - job.submitted_at, 0.0)
            return min(int(100 * waited_s / (waited_s + max(beside.eta.p50_s, 1.0))), _NEARLY_DONE)
        case _:
            return 0


def _eta(eta: Eta | None) -> EtaView | None:
    return None if eta is None else {"p50_s": round(eta.p50_s, 1), "p90_s": round(eta.p90_s, 1)}


def _length(request: VideoRequest) -> str | None:
    duration = request.parameters.get("duration") or defaults_of(request.model).get("duration")
    return None if duration is None else str(shorten(duration))


def _size(request: VideoRequest) -> str | None:
    """Return OpenAI's size in pixels, by what was requested and else by the model's defaults."""
    asked = {"aspect_ratio": "16:9", "resolution": "720P", **defaults_of(request.model), **request.parameters}
    ratio, resolution = asked["aspect_ratio"], asked["resolution"]
    return _SIZE_OF.get((ratio, str(resolution).upper())) if isinstance(ratio, str) else None


def _expiry(job: Job, retention_s: float | None) -> int | None:
    return None if retention_s is None or job.finished_at is None else int(job.finished_at + retention_s)


def _artifacts(job: Job, archive: str | None) -> dict[str, str]:
    """What stands beside the video, by name, each with its path."""
    if job.stored is None or job.removed_at is not None:
        return {}
    start = f"{archive}/" if archive else ""
    return {artifact.value: start + path_of(artifact, job.stored.path) for artifact in job.artifacts}


def _file(job: Job, archive: str | None) -> FileView | None:
    if job.stored is None:
        return None
    path = f"{archive}/{job.stored.path}" if archive else job.stored.path
    return FileView(**asdict(job.stored) | {"path": path}, removed_at=job.removed_at)
