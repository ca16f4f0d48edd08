"""Middleware around every request: its id, size limits, metrics, and the headers of every reply.

It is plain ASGI: wrapping requests and responses in objects would cost more than a get.
"""

import logging
import math
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from producer.api.metrics import Metrics
from producer.api.problems import BrokenOff, Code, Problem
from producer.api.refusals import refusal
from producer.keys import Quota

log = logging.getLogger("rushes.api")

MOST_HEAD_BYTES: Final = 32_768
"""A request's URL and headers together."""

_SECURITY: Final[Mapping[bytes, bytes]] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


class Border:
    """Gives each request an id, limits its headers and body, and turns every exception into a reply."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        answer = _Answer(send, request_id, scope["state"], secure=scope["scheme"] == "https")
        try:
            self._check(scope)
            await self._app(scope, _Bounded(receive, self._body_bytes), answer)
        except Problem as problem:
            await self._refuse(problem, scope, receive, answer)
        except BrokenOff as why:
            log.info("the reply was broken off request=%s: %s", request_id, why)
        except ClientDisconnect:
            log.info("the client disconnected before it had sent its request request=%s", request_id)
        except Exception:
            log.exception("unexpected error request=%s method=%s path=%s", request_id, scope["method"], scope["path"])
            internal = Problem(Code.INTERNAL, f"Report the request id {request_id} to the operator.")
            await self._refuse(internal, scope, receive, answer)
        finally:
            self._metrics.served(scope, answer.status, time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        url_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if url_bytes + sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEAD_BYTES:
            raise head_too_large()
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > self._body_bytes:
            raise too_large(self._body_bytes)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        if answer.has_begun:
            return  # a reply that has begun cannot be replaced: the connection breaks off
        query = scope["query_string"].decode("latin-1")
        response = refusal(problem, path=scope["path"], query=query, request_id=answer.request_id)
        await response(scope, receive, answer)


def new_request_id() -> str:
    """Make the id that a reply and our logs name a request by."""
    return f"req_{str(ULID()).lower()}"


def head_too_large() -> Problem:
    """Make the refusal of a request whose URL and headers are too long."""
    return Problem(Code.HEADERS_TOO_LARGE, f"Send at most {MOST_HEAD_BYTES} bytes of headers, the URL included.")


def too_large(most_bytes: int) -> Problem:
    """Make the refusal of a body with more than `most_bytes` bytes."""
    return Problem(Code.TOO_LARGE, f"Send at most {most_bytes} bytes; give large pictures by URL.")


def _quota_headers(quota: Quota) -> list[tuple[bytes, bytes]]:
    """Report what is left of the key's rate limit, as the IETF's RateLimit draft defines it."""
    policy, level = f'"key";q={quota.per_min};w=60', f'"key";r={quota.left};t={math.ceil(quota.whole_in_s)}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", level.encode())]


class _Bounded:
    """Receives a body up to a size limit."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._left = most_bytes

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise too_large(self._most_bytes)
        return message


class _Answer:
    """Sends a reply with the headers that every reply has."""

    def __init__(self, send: Send, request_id: str, state: Mapping[str, Any], *, secure: bool) -> None:
        self._send = send
        self._state = state
        self._secure = secure
        self.request_id = request_id
        self.has_begun = False
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers += [(name, value) for name, value in _SECURITY.items() if name not in present]
            headers.append((b"x-request-id", self.request_id.encode()))
            if quota := self._state.get("quota"):
                headers += _quota_headers(quota)
            if self._secure:
                headers.append(_STRICT_TRANSPORT)
            message["headers"] = headers
        await self._send(message)
