"""A client's connection: how much it may send before a request is whole, how slowly, and how many there may be.

uvicorn has neither limits nor time-outs before a request's head is whole; these act while bytes arrive
(docs/decisions/0038).
"""

import asyncio
import math
from collections import Counter
from ipaddress import ip_network
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from producer.api.border import MOST_HEAD_BYTES, head_too_large, new_request_id
from producer.api.problems import Code, Problem

DRAIN_BYTES: Final = 16_777_216
"""What is still taken of a body that was refused unread."""

FRAMING_BYTES: Final = 1_048_576
"""Sizes, extensions and trailers of a chunked body, which are not part of the body that the app limits."""

_LATER: Final = {"retry-after": "5"}


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits. `limit_concurrency` bounds all connections; one address may have half of them."""

    head_s: ClassVar[float] = 10.0
    """From a connection, or a request's first byte, to the end of its headers."""

    body_s: ClassVar[float] = 60.0
    slowest_bytes_per_s: ClassVar[int] = 16_384
    """A body may take `body_s`, and a second more for each `slowest_bytes_per_s` that came."""

    unread_s: ClassVar[float] = 60.0
    """For a client to read 48 KB of its reply, or what is left of it."""

    drain_s: ClassVar[float] = 5.0
    """To send the rest of a body that was refused unread: a client that is cut off earlier never sees the refusal."""

    check_s: ClassVar[float] = 5.0

    _by_address: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_connections = self.limit_concurrency or math.inf
        self.limit_concurrency = None  # uvicorn's own refusal is no problem document, and comes after the head
        self._address: str | None = None  # until the connection is counted
        self._next_check: asyncio.TimerHandle | None = None
        self._replies = 0  # under way; more than one if the client pipelines its requests
        self._is_in_body = False
        self._came = 0  # bytes of the head, or of the body with its framing, that is arriving
        self._body = 0  # bytes of the body alone
        self._since = self._unread_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count the connection, and refuse it if there are too many."""
        super().connection_made(transport)
        self._address = _network(self.client[0]) if self.client else ""
        self._by_address[self._address] += 1
        if len(self.connections) > self._most_connections:
            self._refuse(Problem(Code.TOO_MANY_CONNECTIONS, "Try again in a moment.", headers=_LATER))
        elif self._by_address[self._address] > self._most_connections / 2:
            detail = "Half of all that are possible are your address's: close some, and use each for many requests."
            self._refuse(Problem(Code.TOO_MANY_CONNECTIONS, detail, headers=_LATER))
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        super().connection_lost(exc)
        if self._next_check is not None:
            self._next_check.cancel()
        if self._address is not None:  # uvloop also calls this if `connection_made` failed
            self._by_address[self._address] -= 1
            if not self._by_address[self._address]:
                del self._by_address[self._address]

    def data_received(self, data: bytes) -> None:
        """Feed the parser, a head no further than it may be long, and cut off what is too long."""
        while data and not self.transport.is_closing():
            size = len(data) if self._is_in_body else MOST_HEAD_BYTES + 1
            self._feed(data[:size])
            data = data[size:]

    def _feed(self, data: bytes) -> None:
        if not self._is_in_body and not self._came:
            self._since = self.loop.time()
        self._came += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_body:
            if self._came - self._body > FRAMING_BYTES or (not self._replies and self._came > DRAIN_BYTES):
                self.transport.abort()
        elif self._came > MOST_HEAD_BYTES:
            self._refuse(head_too_large())

    def on_headers_complete(self) -> None:
        """Start to time the body."""
        self._begin(is_in_body=True)
        super().on_headers_complete()
        self._replies += 1

    def on_body(self, body: bytes) -> None:
        """Count what comes of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Start to time the next request."""
        super().on_message_complete()
        self._begin(is_in_body=False)

    def on_response_complete(self) -> None:
        """Start to time the rest of the body, or the client's reading."""
        super().on_response_complete()
        self._replies -= 1
        self._begin(is_in_body=self._is_in_body)

    def pause_writing(self) -> None:
        """Start to time a client that does not read."""
        super().pause_writing()
        self._unread_since = self.loop.time()

    def _begin(self, *, is_in_body: bool) -> None:
        self._is_in_body, self._came, self._body, self._since = is_in_body, 0, 0, self.loop.time()

    def _check(self) -> None:
        """Cut the connection off if its time is up, else check again later: cheaper than a timer for each request."""
        now, late_at = self.loop.time(), self._late_at()
        if now < late_at:
            self._next_check = self.loop.call_at(min(late_at, now + self.check_s), self._check)
        else:
            self.transport.abort()

    def _late_at(self) -> float:
        if self.transport.is_closing():
            return self._since + self.unread_s
        if self.flow.write_paused:
            return self._unread_since + self.unread_s
        if not self._replies:
            return self._since + (self.drain_s if self._is_in_body else self.head_s)
        return self._since + self.body_s + self._body / self.slowest_bytes_per_s if self._is_in_body else math.inf

    def _refuse(self, problem: Problem) -> None:
        """Reply before there is a request that the app could reply to, and close."""
        request_id = new_request_id()
        response = problem.response(path="", request_id=request_id)
        response.headers["x-request-id"] = request_id
        headers = {**response.headers, "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body))
        self.transport.close()


def _network(address: str) -> str:
    """Return an IPv4 address, or the network of an IPv6 address whose 64 lower bits its host may choose."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address
