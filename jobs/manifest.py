"""The manifest: a job's story as one JSON document, which stands beside its video."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from jobs.events import JournalEntry
from jobs.job import Job, VideoRequest

VERSION: Final = 1
LONGEST_VALUE: Final = 2000
_ROUTINE: Final = frozenset({"job.looked", "job.rescued", "job.asked"})
"""Said by counts; a line for each would bury the others."""


def manifest(job: Job, request: VideoRequest, entries: Sequence[JournalEntry]) -> dict[str, Any]:
    """What was ordered, what came, what it cost and when; times are seconds since the epoch."""
    return {
        "manifest": VERSION,
        "id": job.id,
        "status": job.state.status,
        "model": request.model,
        "prompt": request.prompt,
        "parameters": {name: _brief(value) for name, value in request.parameters.items()},
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
        "looks": job.looks,
        "holds": job.holds,
        "downloads_failed": job.downloads,
        "timeline": [_line(entry) for entry in entries if entry.event not in _ROUTINE],
    }


def _line(entry: JournalEntry) -> Mapping[str, Any]:
    return {"event": entry.event, "at": entry.at, **({"data": dict(entry.data)} if entry.data else {})}


def _brief(value: Any) -> Any:
    """An image in base64 is told by its sum: the manifest is for reading."""
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return {"omitted_bytes": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()}
    if isinstance(value, list):
        return [_brief(item) for item in value]
    return value
