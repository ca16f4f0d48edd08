"""The CDN: serves finished mp4s, whole or in ranges, and injects download faults."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Message, Receive, Scope, Send

from ops.sandbox import connection
from ops.sandbox.authentication import authorization
from ops.sandbox.clip_cache import Clip, ClipCache
from ops.sandbox.counters import Counters
from ops.sandbox.envelopes import access_denied, html_error
from ops.sandbox.fault import HTTP_STATUSES, Fault
from ops.sandbox.fault_replies import PIECES, SLOW_S, Dropped, hang, with_retry_after
from ops.sandbox.fault_schedule import FaultSchedule
from ops.sandbox.generation import Phase
from ops.sandbox.links import LinkExpiredError, Links, LinkUnknownError
from ops.sandbox.polls import target_of
from ops.sandbox.state import now_ms

CHUNK = bytes(64 * 1024)
EXPIRED = (403, "AccessDenied", "Request has expired")
UNKNOWN = (404, "NoSuchKey", "The specified key does not exist.")


class Partial(Response):
    """Announces the full length, sends part of the body, then closes or resets the connection."""

    def __init__(self, body: bytes, announced_bytes: int, *, with_reset: bool) -> None:
        super().__init__(body, media_type="video/mp4")
        self.headers["content-length"] = str(announced_bytes)
        self.with_reset = with_reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the partial body, then close or reset the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        await (connection.reset if self.with_reset else connection.close)(scope, receive)


class Endless(Response):
    """Sends `size_bytes` zeros without a Content-Length."""

    media_type = "video/mp4"

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send until the size is reached or the client disconnects."""
        disconnected = asyncio.ensure_future(connection.disconnect(receive))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        left = self.size_bytes
        while left > 0 and not disconnected.done():
            chunk = CHUNK[:left]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            left -= len(chunk)
            await asyncio.sleep(0)  # a send after a disconnect returns at once, so let the loop notice it
        await send({"type": "http.response.body", "body": b""})
        disconnected.cancel()


class SlowFile(FileResponse):
    """A file that is sent in ten pieces, with a pause before each."""

    def __init__(self, clip: Clip, over_s: float) -> None:
        super().__init__(clip.path, media_type="video/mp4")
        self.chunk_size = max(1, -(-clip.size_bytes // PIECES))
        self.over_s = over_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pause before each piece."""

        async def paced(message: Message) -> None:
            if message.get("body"):
                await asyncio.sleep(self.over_s / PIECES)
            await send(message)

        await super().__call__(scope, receive, paced)


@dataclass(frozen=True, slots=True)
class Cdn:
    """Serves finished videos without a key, and counts requests that send one anyway."""

    clips: ClipCache
    links: Links
    fault_schedule: FaultSchedule
    counters: Counters

    async def serve(self, request: Request) -> Response:
        """Find the video of a URL and send it."""
        self.counters.cdn_gets += 1
        if authorization(request.scope) is not None:
            self.counters.key_leaks += 1
        try:
            generation = self.links.generation(request.path_params["name"])
        except LinkExpiredError:
            return access_denied(*EXPIRED)
        except LinkUnknownError:
            return access_denied(*UNKNOWN)
        if generation.phase(now_ms()) is not Phase.COMPLETED:
            return access_denied(*UNKNOWN)
        fault = self.fault_schedule.cdn(generation.faults, lambda: target_of(generation), owner=generation.id)
        if fault and (instead := substitute(fault)):
            return instead
        clip = await self.clips.fetch(generation)
        return await faulty_file(clip, fault) if fault else whole_file(clip, request)


def substitute(fault: Fault) -> Response | None:
    """Return the reply that replaces the video, if the fault needs no clip."""
    if fault.kind in SUBSTITUTES:
        return SUBSTITUTES[fault.kind](fault)
    if fault.kind in HTTP_STATUSES:
        return with_retry_after(html_error(int(fault.kind), "The file could not be delivered"), fault)
    return None


SUBSTITUTES: dict[str, Callable[[Fault], Response]] = {
    "drop": lambda _: Dropped(),
    "expired": lambda _: access_denied(*EXPIRED),
    "403": lambda _: access_denied(*EXPIRED),
    "404": lambda _: access_denied(*UNKNOWN),
    "html": lambda _: HTMLResponse("<!DOCTYPE html><title>Welcome</title><p>This is not the video you want.</p>\n"),
    "garbage": lambda _: Response(b"not a video " * 4096, media_type="video/mp4"),
    "empty": lambda _: Response(b"", media_type="video/mp4"),
    "huge": lambda fault: Endless(fault.size_bytes),
}


async def faulty_file(clip: Clip, fault: Fault) -> Response:
    """Return the file, damaged or delayed as the fault says."""
    match fault.kind:
        case "truncated" | "reset":
            half = clip.beginning(clip.size_bytes // 2)
            return Partial(half, clip.size_bytes, with_reset=fault.kind == "reset")
        case "malformed":
            return Response(clip.beginning(clip.size_bytes // 2), media_type="video/mp4")
        case "slow":
            return SlowFile(clip, SLOW_S if fault.seconds is None else fault.seconds)
        case _:
            await hang(fault)
            return FileResponse(clip.path, media_type="video/mp4")


def whole_file(clip: Clip, request: Request) -> Response:
    """Return the file or the requested range."""
    if clip.in_memory is not None and "range" not in request.headers:
        return Response(clip.in_memory, media_type="video/mp4", headers={"accept-ranges": "bytes"})
    return FileResponse(clip.path, media_type="video/mp4")
