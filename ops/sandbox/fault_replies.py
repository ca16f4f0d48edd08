"""Replies for the faults of any endpoint: error statuses, hangs, slow, cut and malformed bodies."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ops.sandbox.connection import reset
from ops.sandbox.envelopes import html_error, old_problem, problem
from ops.sandbox.fault import HTTP_STATUSES, Fault

HANG_S = 600.0
SLOW_S = 10.0
PIECES = 10

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
    """Resets the connection instead of replying."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Reset the connection."""
        await reset(scope, receive)


class SlowReply(Response):
    """A reply whose body is sent in ten pieces, with a pause before each."""

    def __init__(self, whole: Response, over_s: float) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)
        self.raw_headers = whole.raw_headers
        self.over_s = over_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Pause before each piece."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        step = max(1, -(-len(body) // PIECES))
        for start in range(0, len(body), step):
            await asyncio.sleep(self.over_s / PIECES)
            await send({"type": "http.response.body", "body": body[start : start + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def refusal(scope: Scope, fault: Fault) -> Response | None:
    """Return the reply that replaces the real one, if the fault needs one."""
    if fault.kind == "drop":
        return Dropped()
    if fault.kind == "card":
        data = {"kind": "err_unverified_card"}
        return error_reply(scope, fault, 403, "Please verify your card to use this model.", data)
    if fault.kind == "moderation":
        return error_reply(scope, fault, 403, "Content policy violation: the prompt was refused.", None)
    if fault.kind == "524":
        return with_retry_after(html_error(524, "A timeout occurred"), fault)
    if fault.kind in ("400", *HTTP_STATUSES):
        status = int(fault.kind)
        return error_reply(scope, fault, status, MESSAGES[status], refusal_data(status))
    return None


def refusal_data(status: int) -> object:
    """Return the `data` of an error with this status."""
    if status == 400:  # noqa: PLR2004 - an HTTP status reads best as its number
        return [{"code": "custom", "path": ["prompt"], "message": "The prompt was refused", "received": "…"}]
    return OUT_OF_CREDITS if status == 403 else None  # noqa: PLR2004 - likewise


def error_reply(scope: Scope, fault: Fault, status: int, message: str, data: object) -> Response:
    """Build an error in the envelope that the fault asks for."""
    if fault.old_envelope:
        return with_retry_after(old_problem(scope, status, message), fault)
    return with_retry_after(problem(scope, status, message, data=data), fault)


def with_retry_after(reply: Response, fault: Fault) -> Response:
    """Add the fault's Retry-After to a reply."""
    if fault.retry_after is not None:
        reply.headers["retry-after"] = fault.retry_after
    return reply


def corrupted(reply: Response, fault: Fault) -> Response:
    """Make a good reply slow, malformed or empty, as the fault says."""
    match fault.kind:
        case "slow":
            return SlowReply(reply, SLOW_S if fault.seconds is None else fault.seconds)
        case "malformed":
            return with_body(reply, bytes(reply.body)[:-2] + b',"')
        case "empty":
            return with_body(reply, b"")
        case _:
            return reply


def with_body(reply: Response, body: bytes) -> Response:
    """Replace a reply's body."""
    reply.body = body
    reply.headers["content-length"] = str(len(body))
    return reply


async def hang(fault: Fault) -> None:
    """Wait as long as the fault says."""
    await asyncio.sleep(HANG_S if fault.seconds is None else fault.seconds)
