"""Waiting without holding a thread: `Prefer: wait`, and streams of server-sent events."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.responses import StreamingResponse

from jobs.events import LogEntry
from jobs.job_log import START
from producer.api.event_stream import Beat
from producer.api.parts import Parts
from producer.api.problems import Code, Problem, Wrong
from producer.views import entry_view

RECONNECT_MS: Final = 2000
_WAIT: Final = re.compile(r"\bwait\s*=\s*(\d{1,6})\b")
_EVENT_ID: Final = re.compile(r"\d{1,18}-\d{1,18}")

PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=n`: answer when the job has ended, or after n seconds as it stands then.",
    "example": "wait=30",
    "schema": {"type": "string"},
}
LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "A stream goes on after this entry.",
    "example": "1795000000123-0",
    "schema": {"type": "string", "pattern": r"^\d{1,18}-\d{1,18}$"},
}


def preferred_wait(headers: Mapping[str, str], parts: Parts) -> float | None:
    """The seconds that a caller would wait for the job's end, as far as they are granted; None: it would not."""
    found = _WAIT.search(headers.get("prefer", ""))
    return min(float(found[1]), parts.settings.api.longest_wait_s) if found and int(found[1]) else None


def last_event_id(headers: Mapping[str, str]) -> str:
    """The entry after which a stream goes on."""
    given = headers.get("last-event-id") or START
    if not _EVENT_ID.fullmatch(given):
        wrong = Wrong("header.Last-Event-ID", "must be the id of an event, such as 1795000000123-0")
        raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names.", errors=[wrong])
    return given


async def ended(parts: Parts, job_id: str, *, within_s: float) -> None:
    """Wait for a job's end; or until the time is up, or the process ends."""
    try:
        async with asyncio.timeout(within_s):
            async for _ in parts.event_stream.follow(job_id, after=START, beat_s=within_s):
                pass
    except TimeoutError:
        return


def event_stream(parts: Parts, job_id: str, *, after: str) -> StreamingResponse:
    """Everything that happens to a job after an entry, as server-sent events, until it ends."""

    async def told() -> AsyncIterator[str]:
        yield f"retry: {RECONNECT_MS}\n\n"
        async for news in parts.event_stream.follow(job_id, after=after, beat_s=parts.settings.api.heartbeat_s):
            yield ": alive\n\n" if isinstance(news, Beat) else _event(news)

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # a proxy that buffers would hold it back
    return StreamingResponse(told(), headers=headers, media_type="text/event-stream")


def _event(entry: LogEntry) -> str:
    """JSON has no line break of its own, so that nothing in it can end an event early."""
    return f"id: {entry.id}\nevent: {entry.event}\ndata: {json.dumps(entry_view(entry), separators=(',', ':'))}\n\n"
