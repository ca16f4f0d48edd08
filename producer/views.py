"""A job as the outside sees it: one JSON shape for every face."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.artifacts import path_of
from jobs.events import JournalEntry
from jobs.forecast import Eta
from jobs.job import Job, VideoRequest


def job_view(
    job: Job,
    request: VideoRequest,
    *,
    archive: str | None = None,
    links: Mapping[str, str] | None = None,
    eta: Eta | None = None,
) -> dict[str, Any]:
    """The job as plain JSON; times are seconds since the epoch, absent things are null.

    `archive` is the root of what is stored, a folder or an address; `links` are the URLs handed out for it.
    """
    return {
        "id": job.id,
        "object": "video",
        "status": job.state.status,
        "state": job.state,
        "model": request.model,
        "prompt": request.prompt,
        "parameters": dict(request.parameters),
        "metadata": dict(request.metadata),
        "created_at": job.accepted_at,
        "submitted_at": job.submitted_at,
        "rendered_at": job.rendered_at,
        "completed_at": job.finished_at,
        "deadline_at": None if job.is_final else job.deadline_at,
        "eta": None if eta is None else {"p50_s": round(eta.p50_s, 1), "p90_s": round(eta.p90_s, 1)},
        "looks": job.looks,
        "hold": job.hold,
        "generation_id": job.generation_id,
        "cost_usd": job.cost_usd,
        "charged": job.charged,
        "video": _video(job),
        "file": _file(job, archive),
        "media": None if job.media is None else asdict(job.media),
        "artifacts": _artifacts(job, archive),
        "links": dict(links or {}),
        "error": None if job.reason is None else {"code": job.reason, "message": job.message},
    }


def entry_view(entry: JournalEntry) -> dict[str, Any]:
    """One line of the journal as plain JSON."""
    return {
        "id": entry.id,
        "event": entry.event,
        "at": entry.at,
        "state": entry.state,
        "turn": entry.turn,
        "data": dict(entry.data),
    }


def _video(job: Job) -> dict[str, Any] | None:
    if job.video is None:
        return None
    return {
        "url": job.video.url,
        "content_type": job.video.content_type,
        "file_name": job.video.file_name,
        "file_size": job.video.file_size,
    }


def _artifacts(job: Job, archive: str | None) -> dict[str, str]:
    """What stands beside the video, by name, each with its path."""
    if job.stored is None or job.removed_at is not None:
        return {}
    start = f"{archive}/" if archive else ""
    return {artifact.value: start + path_of(artifact, job.stored.path) for artifact in job.artifacts}


def _file(job: Job, archive: str | None) -> dict[str, Any] | None:
    if job.stored is None:
        return None
    return {
        "path": f"{archive}/{job.stored.path}" if archive else job.stored.path,
        "size_bytes": job.stored.size_bytes,
        "sha256": job.stored.sha256,
        "content_type": job.stored.content_type,
        "removed_at": job.removed_at,
    }
