"""The frozen record of an ended job that every hook gets."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from pydantic import ConfigDict

from jobs.artifacts import is_within
from jobs.events import ends_of
from jobs.job import Ended, Job, VideoRequest
from jobs.shorten import shorten
from jobs.states import Status


class JobResult(Ended):
    """One ended job. Times are seconds since the epoch."""

    model_config = ConfigDict(defer_build=False)

    revision: int = 1
    """Grows when a late video was fetched after the end: of two records of one job, the higher revision is true."""
    status: Status
    """How it ended."""
    prompt: str | None
    """What was asked for."""
    parameters: Mapping[str, Any] = {}
    """The other parameters, pictures in their short form (jobs/shorten.py): hooks write into logs and databases."""
    metadata: Mapping[str, str] = {}
    """The producer's own labels."""
    video_url: str | None = None
    """The upstream's own URL; it soon expires."""
    location: str | None = None
    """Where our copy is: a path, or the address of an object."""
    file: Path | None = None
    """The same as a path, where the archive is a folder."""
    path: str | None = None
    """Our copy's path, relative to the archive's root."""
    size_bytes: int | None = None
    """Bytes of our copy."""
    sha256: str | None = None
    """Checksum of our copy, in hexadecimal."""
    content_type: str | None = None
    """What our copy is, by its own bytes."""


class ResultHook(Protocol):
    """Code of a deployment that a worker calls for each ended job.

    Called at least once for each end, perhaps from several threads for different jobs: key what you write by
    `result.id`, and keep the higher `result.revision`. Returning means delivered, raising: again later.
    """

    def __call__(self, result: JobResult, /) -> object:
        """Take note of one ended job."""


def result_of(job: Job, request: VideoRequest, archive: str) -> JobResult:
    """Build the record of an ended job; `archive` is the archive's root, a folder or an address."""
    stored = job.stored if job.stored and is_within(job.stored.path) else None  # a hook opens it
    location = f"{archive}/{stored.path}" if stored else None
    return JobResult(
        **job.shown(Ended),
        revision=len(ends_of(job)),
        status=job.state.status,
        prompt=request.prompt,
        parameters=shorten(request.parameters),
        metadata=request.metadata,
        video_url=job.video.url if job.video else None,
        location=location,
        file=Path(location) if location and "://" not in archive else None,
        **(asdict(stored) if stored else {}),
    )
