"""The thin payload of an ended job, in a webhook's body and from the catch-up cursor."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from jobs.job import Job, VideoRequest

CONTENT_PATH: Final = "/v1/videos/{job_id}/content"


def message_id(job_id: str, event: str) -> str:
    """Return the id of one end of one job in every delivery: a webhook's `webhook-id`."""
    return f"{job_id}.{event.removeprefix('job.')}"


def content_url(public_url: object, job_id: str) -> str:
    """Return the video's URL in the API at `public_url`."""
    return str(public_url).rstrip("/") + CONTENT_PATH.format(job_id=quote(job_id, safe=""))


def payload(event: str, job: Job, request: VideoRequest, *, public_url: object = None) -> dict[str, Any]:
    """Return the job's id, labels and end, without its prompt; the receiver reads the rest from the API."""
    return {
        "type": event,
        "timestamp": _iso(job.finished_at),
        "data": {
            "id": job.id,
            "object": "video",
            "status": job.state.status,
            "model": request.model,
            "metadata": dict(request.metadata),
            "created_at": _iso(job.accepted_at),
            "completed_at": _iso(job.finished_at),
            "cost_usd": job.cost_usd,
            "charged": job.charged,
            "video": _video(job, public_url),
            "error": None if job.reason is None else {"code": job.reason, "message": job.message},
        },
    }


def _video(job: Job, public_url: object) -> dict[str, Any] | None:
    if job.stored is None:
        return None
    return {
        "content_url": content_url(public_url, job.id) if public_url else None,
        "size_bytes": job.stored.size_bytes,
        "sha256": job.stored.sha256,
        "content_type": job.stored.content_type,
    }


def _iso(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
