"""Carrying out the troubles that any endpoint can have: bad statuses, silence, dripping and nonsense."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ops.sandbox.connection import reset
from ops.sandbox.envelopes import html_error, old_problem, problem
from ops.sandbox.trouble import HTTP_STATUSES, Trouble

HANG_S = 600.0
SLOW_S = 10.0
DROPS = 10

MESSAGES = {
    400: "Invalid payload provided",
    401: "This request requires a valid API key. You can create one in your account.",
    403: "You've run out of credits. Please top up your balance to continue.",
    404: "Inference not found",
    429: "Too many requests. Please slow down.",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable",
    504: "Upstream timed out",
}
OUT_OF_CREDITS = {"kind": "err_insufficent_credits"}


class Dropped(Response):
    """No reply at all: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Reset the connection."""
        await reset(scope, receive)


class Dripping(Response):
    """A reply whose body arrives in drops."""

    def __init__(self, whole: Response, over_s: float) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)
        self.raw_headers = whole.raw_headers
        self.over_s = over_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send a tenth of the body at a time."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        step = max(1, -(-len(body) // DROPS))
        for start in range(0, len(body), step):
            await asyncio.sleep(self.over_s / DROPS)
            await send({"type": "http.response.body", "body": body[start : start + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def refusal(scope: Scope, trouble: Trouble) -> Response | None:
    """The reply that stands in for the real one, if the trouble is of that sort."""
    if trouble.kind == "drop":
        return Dropped()
    if trouble.kind == "card":
        data = {"kind": "err_unverified_card"}
        return dressed(scope, trouble, 403, "Please verify your card to use this model.", data)
    if trouble.kind == "moderation":
        return dressed(scope, trouble, 403, "Content policy violation: the prompt was refused.", None)
    if trouble.kind == "524":
        return with_retry_after(html_error(524, "A timeout occurred"), trouble)
    if trouble.kind in ("400", *HTTP_STATUSES):
        status = int(trouble.kind)
        return dressed(scope, trouble, status, MESSAGES[status], refusal_data(status))
    return None


def refusal_data(status: int) -> object:
    """What an error of that status carries besides its message."""
    if status == 400:  # noqa: PLR2004 - an HTTP status reads best as its number
        return [{"code": "custom", "path": ["prompt"], "message": "The prompt was refused", "received": "…"}]
    return OUT_OF_CREDITS if status == 403 else None  # noqa: PLR2004 - likewise


def dressed(scope: Scope, trouble: Trouble, status: int, message: str, data: object) -> Response:
    """An error in the envelope that the trouble asks for."""
    if trouble.old_envelope:
        return with_retry_after(old_problem(scope, status, message), trouble)
    return with_retry_after(problem(scope, status, message, data=data), trouble)


def with_retry_after(reply: Response, trouble: Trouble) -> Response:
    """The reply, with the Retry-After that the trouble asks for."""
    if trouble.retry_after is not None:
        reply.headers["retry-after"] = trouble.retry_after
    return reply


def spoilt(reply: Response, trouble: Trouble) -> Response:
    """A good reply, gone bad on its way."""
    match trouble.kind:
        case "slow":
            return Dripping(reply, SLOW_S if trouble.seconds is None else trouble.seconds)
        case "malformed":
            return altered(reply, bytes(reply.body)[:-2] + b',"')
        case "empty":
            return altered(reply, b"")
        case _:
            return reply


def altered(reply: Response, body: bytes) -> Response:
    """The reply with another body."""
    reply.body = body
    reply.headers["content-length"] = str(len(body))
    return reply


async def hang(trouble: Trouble) -> None:
    """Say nothing for as long as the trouble asks for."""
    await asyncio.sleep(HANG_S if trouble.seconds is None else trouble.seconds)
