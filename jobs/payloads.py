"""The thin payload of an ended job, in a webhook's body and from the catch-up cursor."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from jobs.events import ENDS
from jobs.job import Job, VideoRequest
from jobs.test_deliveries import is_test_delivery

CONTENT_PATH: Final = "/v1/videos/{job_id}/content"


def message_id(job_id: str, event: str, turn: int = 0) -> str:
    """Return a webhook's `webhook-id`: the same in every delivery of one event of one job.

    A job ends once, but other events may happen again, each in a `turn` of its own.
    """
    name = f"{job_id}.{event.removeprefix('job.')}"
    return name if event in ENDS or is_test_delivery(job_id) else f"{name}.{turn}"


def content_url(public_url: object, job_id: str) -> str:
    """Return the video's URL in the API at `public_url`."""
    return str(public_url).rstrip("/") + CONTENT_PATH.format(job_id=quote(job_id, safe=""))


def payload(
    event: str, job: Job, request: VideoRequest, *, at: float | None = None, public_url: object = None
) -> dict[str, Any]:
    """Return the job's id and labels, and what it is now, without its prompt; the API has the rest.

    `at`: when the event happened; None, or an end: when the job ended.
    """
    return {
        "type": event,
        "timestamp": _iso(job.finished_at if at is None or event in ENDS else at),
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
