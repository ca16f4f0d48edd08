"""The manifest: a job's story as one JSON document, which stands beside its video."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from jobs.events import LogEntry
from jobs.job import Job, VideoRequest
from jobs.shorten import shorten

VERSION: Final = 1
_ROUTINE: Final = frozenset({"job.polled", "job.rescued", "job.still_in_doubt"})
"""Said by counts; a line for each would bury the others."""


def manifest(job: Job, request: VideoRequest, entries: Sequence[LogEntry]) -> dict[str, Any]:
    """What was ordered, what came, what it cost and when; times are seconds since the epoch."""
    return {
        "manifest": VERSION,
        "id": job.id,
        "status": job.state.status,
        "model": request.model,
        "prompt": request.prompt,
        "parameters": shorten(request.parameters),
        "metadata": dict(request.metadata),
        "generation_id": job.generation_id,
        "request_id": job.request_id,
        "file": asdict(job.stored) if job.stored else None,
        "media": asdict(job.media) if job.media else None,
        "cost_usd": job.cost_usd,
        "charged": job.charged,
        "reason": job.reason,
        "message": job.message,
        "accepted_at": job.accepted_at,
        "submitted_at": job.submitted_at,
        "rendered_at": job.rendered_at,
        "finished_at": job.finished_at,
        "polls": job.polls,
        "holds": job.holds,
        "downloads_failed": job.downloads,
        "timeline": [_line(entry) for entry in entries if entry.event not in _ROUTINE],
    }


def _line(entry: LogEntry) -> Mapping[str, Any]:
    return {"event": entry.event, "at": entry.at, **({"data": dict(entry.data)} if entry.data else {})}
