"""Waiting without holding a thread: `Prefer: wait`, and streams of server-sent events."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import monotonic
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from jobs.errors import LedgerUnavailable, UnknownJob
from jobs.events import LogEntry
from jobs.job_log import START
from jobs.states import State
from producer.api.event_stream import Heartbeat
from producer.api.parts import Parts
from producer.api.problems import Code, ErrorDetail, Problem
from producer.api.tenant_pool import Bounds
from producer.api.turns import end_turn
from producer.service import Seen
from producer.views import entry_view
from producer.waiting import WaitingEvents

RECONNECT_MS: Final = 2000

HEARTBEAT_S: Final = 5.0
"""Between keep-alive comments, as proxies close a silent stream; and a stream outlives its key by at most this."""

WATCHERS: Final = Bounds(places=60_000, of_a_tenant=4000, reserved=30_000, calls_of_a_tenant=4000)
"""Open streams and waits: an idle stream costs a write in each interval, and 4,000 about a twentieth of a core."""

_WAIT: Final = re.compile(r"\bwait\s*=\s*(\d{1,6})\b")
_EVENT_ID: Final = re.compile(r"\d{1,18}-\d{1,18}")

PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=n`: reply when the job has ended, or after n seconds with the job as it is then.",
    "example": "wait=30",
    "schema": {"type": "string"},
}
LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The stream continues after this entry.",
    "example": "1795000000123-0",
    "schema": {"type": "string", "pattern": r"^\d{1,18}-\d{1,18}$"},
}


def preferred_wait(headers: Mapping[str, str], parts: Parts) -> float | None:
    """Read the seconds that the caller would wait for the job's end, cut to the longest allowed; None: no waiting."""
    found = _WAIT.search(headers.get("prefer", ""))
    return min(float(found[1]), parts.settings.api.longest_wait_s) if found and int(found[1]) else None


def last_event_id(headers: Mapping[str, str]) -> str:
    """Read the id of the entry after which the stream continues."""
    given = headers.get("last-event-id") or START
    if not _EVENT_ID.fullmatch(given):
        error = ErrorDetail("header.Last-Event-ID", "must be the id of an event, such as 1795000000123-0")
        raise Problem(Code.INVALID_REQUEST, "Correct the header.", errors=[error])
    return given


async def wait_for_end(parts: Parts, job_id: str, *, tenant: str | None, within_s: float) -> None:
    """Wait until the job ends, the time is up, or the process ends; other requests of the tenant go on meanwhile.

    Raises:
        Problem: too many of the tenant wait already.
    """
    end_turn()
    try:
        async with parts.watchers.place(tenant), asyncio.timeout(within_s):
            async for _ in parts.event_stream.follow(job_id, after=START, heartbeat_s=within_s):
                pass
    except TimeoutError:
        return


class WatchersReply(StreamingResponse):
    """A stream that holds a place of its tenant's while it is open."""

    def __init__(self, place: AbstractAsyncContextManager[None], lines: AsyncIterator[str]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # so that no proxy buffers the stream
        super().__init__(lines, headers=headers, media_type="text/event-stream")
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the place, or refuse; a stream that was never begun holds none."""
        async with self._place:
            await super().__call__(scope, receive, send)


def event_stream(
    parts: Parts, seen: Seen, *, tenant: str | None, after: str, is_admitted: Callable[[], Awaitable[bool]]
) -> StreamingResponse:
    """Stream a job's events after an entry as server-sent events, until the job ends or the caller's key does."""

    async def lines() -> AsyncIterator[str]:
        yield f"retry: {RECONNECT_MS}\n\n"
        checked_at, waiting = monotonic(), _Waiting(parts, seen, after)
        async for entry in parts.event_stream.follow(seen.job.id, after=after, heartbeat_s=HEARTBEAT_S):
            if monotonic() - checked_at >= HEARTBEAT_S:
                if not await is_admitted():
                    return
                checked_at = monotonic()
            if isinstance(entry, Heartbeat):
                waits = await waiting.changed()
                yield _event(waits) if waits else ": alive\n\n"
            else:
                waiting.see(entry)
                yield _event(entry)

    return WatchersReply(parts.watchers.place(tenant), lines())


class _Waiting:
    """What a streamed job waits for while it is queued; its row is read again when events have changed it."""

    def __init__(self, parts: Parts, seen: Seen, after: str) -> None:
        self._service = parts.service
        self._job = seen.job
        self._ahead_s = seen.at - monotonic()  # the fleet's clock
        self._after = after
        self._turn = seen.job.turn
        self._told = WaitingEvents()

    def see(self, entry: LogEntry) -> None:
        """Know of the job's latest event."""
        self._after, self._turn = entry.id, max(entry.turn, self._turn)

    async def changed(self) -> LogEntry | None:
        """Return an event if it now waits for something else."""
        is_held = self._job.state is State.QUEUED and self._job.hold is not None  # it may be tried earlier
        if self._job.turn < self._turn or is_held:
            try:
                seen = await self._service.seen_async(self._job.id)
            except (LedgerUnavailable, UnknownJob):  # the stream itself ends with the job, and tells what is wrong
                return None
            self._job, self._ahead_s = seen.job, seen.at - monotonic()
        at = self._ahead_s + monotonic()
        if self._job.state is not State.QUEUED:
            return self._told.changed(self._job, None, at=at)
        ask = partial(self._service.waiting_event, self._job, self._told, after=self._after, at=at)
        return ask() if self._service.is_beside_at_hand(self._job, at=at) else await run_in_threadpool(ask)


def _event(entry: LogEntry) -> str:
    """Format one event; JSON escapes line breaks, so nothing in it can end the event early."""
    return f"id: {entry.id}\nevent: {entry.event}\ndata: {json.dumps(entry_view(entry), separators=(',', ':'))}\n\n"
