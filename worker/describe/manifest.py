"""The manifest: a job's story as one JSON document beside its video."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from jobs.events import LogEntry
from jobs.job import Ended, Job, VideoRequest
from jobs.shorten import shorten

VERSION: Final = 1
_SHOWN: Final = set(Ended.model_fields) - {"tenant"}  # everybody with the video may read it
_ROUTINE: Final = frozenset({"job.polled", "job.still_in_doubt"})
"""Events given as counts only; a line for each would bury the others."""


def manifest(job: Job, request: VideoRequest, entries: Sequence[LogEntry]) -> dict[str, Any]:
    """Return the request, the result, the cost and the events; times are seconds since the epoch."""
    return {
        "manifest": VERSION,
        **job.model_dump(mode="json", include=_SHOWN),
        "status": job.state.status,
        "prompt": request.prompt,
        "parameters": shorten(request.parameters),
        "metadata": dict(request.metadata),
        "request_id": job.request_id,
        "file": asdict(job.stored) if job.stored else None,
        "holds": job.holds,
        "downloads_failed": job.downloads,
        "timeline": [_line(entry) for entry in entries if entry.event not in _ROUTINE],
    }


def _line(entry: LogEntry) -> Mapping[str, Any]:
    return {"event": entry.event, "at": entry.at, **({"data": dict(entry.data)} if entry.data else {})}
