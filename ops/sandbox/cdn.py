"""The CDN: the finished mp4s, whole, in ranges, or in the ways in which a download goes wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Message, Receive, Scope, Send

from ops.sandbox import connection
from ops.sandbox.authentication import authorization
from ops.sandbox.clips import Clip, Clips
from ops.sandbox.envelopes import access_denied, html_error
from ops.sandbox.faults import DROPS, SLOW_S, Dropped, hang, with_retry_after
from ops.sandbox.generation import Phase
from ops.sandbox.links import LinkExpiredError, Links, LinkUnknownError
from ops.sandbox.polls import subject_of
from ops.sandbox.studio import now_ms
from ops.sandbox.tally import Tally
from ops.sandbox.trouble import HTTP_STATUSES, Trouble
from ops.sandbox.troublemaker import Troublemaker

CHUNK = bytes(64 * 1024)
EXPIRED = (403, "AccessDenied", "Request has expired")
UNKNOWN = (404, "NoSuchKey", "The specified key does not exist.")


class Partial(Response):
    """Promises a whole body, sends a part of it, then hangs up: politely, or with a reset."""

    def __init__(self, body: bytes, promised_bytes: int, *, with_reset: bool) -> None:
        super().__init__(body, media_type="video/mp4")
        self.headers["content-length"] = str(promised_bytes)
        self.with_reset = with_reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is and break off."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        await (connection.reset if self.with_reset else connection.close)(scope, receive)


class Endless(Response):
    """Zeros without end, or nearly: as many as were asked for, with no length given beforehand."""

    media_type = "video/mp4"

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send until the size is reached or the caller has gone."""
        caller = asyncio.ensure_future(connection.gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        left = self.size_bytes
        while left > 0 and not caller.done():
            chunk = CHUNK[:left]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            left -= len(chunk)
            await asyncio.sleep(0)  # a send to a caller who has gone returns at once
        await send({"type": "http.response.body", "body": b""})
        caller.cancel()


class SlowFile(FileResponse):
    """A file that arrives in drops."""

    def __init__(self, clip: Clip, over_s: float) -> None:
        super().__init__(clip.path, media_type="video/mp4")
        self.chunk_size = max(1, -(-clip.size_bytes // DROPS))
        self.over_s = over_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pause before each drop."""

        async def paced(message: Message) -> None:
            if message.get("body"):
                await asyncio.sleep(self.over_s / DROPS)
            await send(message)

        await super().__call__(scope, receive, paced)


@dataclass(frozen=True, slots=True)
class Cdn:
    """Serves a finished video to any request for its URL; it wants no key, and counts the keys it is shown."""

    clips: Clips
    links: Links
    troublemaker: Troublemaker
    tally: Tally

    async def serve(self, request: Request) -> Response:
        """Find the video behind a URL and send it."""
        self.tally.cdn_gets += 1
        if authorization(request.scope) is not None:
            self.tally.key_leaks += 1
        try:
            generation = self.links.generation(request.path_params["name"])
        except LinkExpiredError:
            return access_denied(*EXPIRED)
        except LinkUnknownError:
            return access_denied(*UNKNOWN)
        if generation.phase(now_ms()) is not Phase.COMPLETED:
            return access_denied(*UNKNOWN)
        trouble = self.troublemaker.cdn(generation.troubles, lambda: subject_of(generation), owner=generation.id)
        if trouble and (instead := stand_in(trouble)):
            return instead
        clip = await self.clips.fetch(generation)
        return await spoilt_file(clip, trouble) if trouble else whole_file(clip, request)


def stand_in(trouble: Trouble) -> Response | None:
    """What is sent instead of a video, if the trouble needs none."""
    if trouble.kind in STAND_INS:
        return STAND_INS[trouble.kind](trouble)
    if trouble.kind in HTTP_STATUSES:
        return with_retry_after(html_error(int(trouble.kind), "The file could not be delivered"), trouble)
    return None


STAND_INS: dict[str, Callable[[Trouble], Response]] = {
    "drop": lambda _: Dropped(),
    "expired": lambda _: access_denied(*EXPIRED),
    "403": lambda _: access_denied(*EXPIRED),
    "404": lambda _: access_denied(*UNKNOWN),
    "html": lambda _: HTMLResponse("<!DOCTYPE html><title>Welcome</title><p>This is not the video you want.</p>\n"),
    "garbage": lambda _: Response(b"not a video " * 4096, media_type="video/mp4"),
    "empty": lambda _: Response(b"", media_type="video/mp4"),
    "huge": lambda trouble: Endless(trouble.size_bytes),
}


async def spoilt_file(clip: Clip, trouble: Trouble) -> Response:
    """The real file, gone bad on its way."""
    match trouble.kind:
        case "truncated" | "reset":
            half = clip.beginning(clip.size_bytes // 2)
            return Partial(half, clip.size_bytes, with_reset=trouble.kind == "reset")
        case "malformed":
            return Response(clip.beginning(clip.size_bytes // 2), media_type="video/mp4")
        case "slow":
            return SlowFile(clip, SLOW_S if trouble.seconds is None else trouble.seconds)
        case _:
            await hang(trouble)
            return FileResponse(clip.path, media_type="video/mp4")


def whole_file(clip: Clip, request: Request) -> Response:
    """The file, or the range of it that was asked for."""
    if clip.in_memory is not None and "range" not in request.headers:
        return Response(clip.in_memory, media_type="video/mp4", headers={"accept-ranges": "bytes"})
    return FileResponse(clip.path, media_type="video/mp4")
