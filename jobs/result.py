"""What the world is told of an ended job: one frozen record, the same for every hook."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from jobs.artifacts import is_within
from jobs.job import Charged, Job, Reason, VideoRequest
from jobs.media import Media
from jobs.shorten import shorten
from jobs.states import State, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One ended job. Times are seconds since the epoch.

    `location` is where our copy of the video is, a path or the address of an object; `file` the same as a path, where
    the archive is a folder.

    `parameters` holds the short form of pictures (jobs/shorten.py): a hook writes what it gets into logs and databases.

    `revision` grows when there is news of a job that was told before (a late video was fetched late): of two records of
    one job, the one with the higher revision is true.
    """

    id: str
    revision: int = 1
    tenant: str | None = None
    status: Status
    model: str
    prompt: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    generation_id: str | None = None
    video_url: str | None = None
    path: str | None = None
    location: str | None = None
    file: Path | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    content_type: str | None = None
    media: Media | None = None
    cost_usd: float | None = None
    charged: Charged
    reason: Reason | None = None
    message: str | None = None
    accepted_at: float
    submitted_at: float | None = None
    rendered_at: float | None = None
    finished_at: float | None = None
    polls: int


class ResultHook(Protocol):
    """Code of a deployment that a worker calls for each ended job.

    Called at least once for each end, perhaps more often, perhaps from several threads for different jobs: key what
    you write by `result.id`, and keep the record with the higher `result.revision`. Returning means: told. Raising
    means: tell me again later.
    """

    def __call__(self, result: JobResult, /) -> object:
        """Take note of one ended job."""


ENDS: Final = ("job.completed", "job.failed", "job.cancelled", "job.expired", "job.fetched_late")
"""Every event that a receiver can be told."""


def ends_of(job: Job) -> tuple[str, ...]:
    """The events that ended the job, in their order: its end, and that its late video is ours after all."""
    late = job.stored is not None and job.state is not State.COMPLETED
    return (f"job.{job.state}", *(("job.fetched_late",) if late else ()))


def result_of(job: Job, request: VideoRequest, archive: str) -> JobResult:
    """Tell an ended job's story in one record; `archive` is the root of what is stored, a folder or an address."""
    stored = job.stored if job.stored and is_within(job.stored.path) else None  # a hook opens it
    location = f"{archive}/{stored.path}" if stored else None
    return JobResult(
        id=job.id,
        revision=len(ends_of(job)),
        tenant=job.tenant,
        status=job.state.status,
        model=request.model,
        prompt=request.prompt,
        parameters=shorten(request.parameters),
        metadata=request.metadata,
        generation_id=job.generation_id,
        video_url=job.video.url if job.video else None,
        path=stored.path if stored else None,
        location=location,
        file=Path(location) if location and "://" not in archive else None,
        size_bytes=stored.size_bytes if stored else None,
        sha256=stored.sha256 if stored else None,
        content_type=stored.content_type if stored else None,
        media=job.media,
        cost_usd=job.cost_usd,
        charged=job.charged,
        reason=job.reason,
        message=job.message,
        accepted_at=job.accepted_at,
        submitted_at=job.submitted_at,
        rendered_at=job.rendered_at,
        finished_at=job.finished_at,
        polls=job.polls,
    )
