"""Polls many generations together with libcurl, over kept-alive connections.

A polling task drives the exchanges in its own thread: it only waits for sockets.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Final, TypeAlias
from urllib.parse import quote

import pycurl

from config.settings import UpstreamSettings
from jobs.facts import NoResult, PollResult
from jobs.job import Family, Hold
from worker import metrics
from worker.upstream.access import MOST_REPLY_BYTES, UpstreamAccess
from worker.upstream.polls import read_poll
from worker.upstream.wire import PATHS

LINGER_S: Final = 0.05
"""Polls that end within this many seconds of each other are returned, and so written, together."""

UNUSED_S: Final = 30.0
"""Connections unused for this many seconds are closed: more than usual were open at once."""

_FINAL_STATUS: Final = 200
_REDIRECT_STATUS: Final = 300


@dataclass(frozen=True, slots=True)
class PollRequest:
    """A generation to poll, on the endpoints where it was bought; the whole poll may take `timeout_s` seconds."""

    generation_id: str
    family: Family
    timeout_s: float


Seen: TypeAlias = tuple[int, PollResult]
"""A request's index, and its poll result."""


class Poller:
    """Polls generations, many at once, and never raises for the network. Polling is free.

    At most `connections` polls of the whole process are under way at any moment.
    """

    def __init__(
        self,
        access: UpstreamAccess,
        settings: UpstreamSettings,
        *,
        connections: int,
        reply_bytes: int = MOST_REPLY_BYTES,
        unused_s: float = UNUSED_S,
    ) -> None:
        self._unused_s = unused_s
        self.longest_timeout_s = settings.total_timeout_s
        """The longest time-out of a poll; one that runs into it says that the upstream is down rather than slow."""
        self._terms = _Terms(access, settings, connections, reply_bytes)
        self._handles = _Handles(self._terms)
        self._idle: deque[_Exchanges] = deque()  # the last used is the next: its connections are the warmest

    def poll(self, generation_id: str, family: Family) -> PollResult:
        """Poll one generation, with the longest time-out."""
        groups = self.poll_many([PollRequest(generation_id, family, self.longest_timeout_s)])
        return next(seen for group in groups for _, seen in group)

    def poll_many(self, requests_to_poll: Sequence[PollRequest]) -> Iterator[Sequence[Seen]]:
        """Yield the results in groups as they come in."""
        exchanges = self._unused()
        try:
            yield from exchanges.poll_many(requests_to_poll)
        finally:
            exchanges.drop()  # a caller that stopped early does not want the rest
            exchanges.used_at = monotonic()
            self._idle.append(exchanges)
            self._close_unused()

    def close(self) -> None:
        """Close unused connections."""
        while self._idle:
            self._idle.pop().close()
        self._handles.close()

    def _close_unused(self) -> None:
        """Close connections that have been unused for long."""
        with suppress(IndexError):  # other threads pop from the end meanwhile
            while (oldest := self._idle.popleft()).used_at < monotonic() - self._unused_s:
                oldest.close()
            self._idle.appendleft(oldest)

    def _unused(self) -> "_Exchanges":
        """Return exchanges that no other thread uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Exchanges(self._terms, self._handles)


@dataclass(frozen=True, slots=True)
class _Terms:
    """The terms of every poll."""

    access: UpstreamAccess
    settings: UpstreamSettings
    connections: int
    reply_bytes: int

    def handle(self) -> pycurl.Curl:
        """Make a handle that lacks only what differs from poll to poll."""
        access, settings, curl = self.access, self.settings, pycurl.Curl()
        headers = {**access.headers, "Accept-Encoding": "identity"}
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
        curl.setopt(pycurl.ACCEPT_ENCODING, "")  # understand a server that compresses its reply unasked
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CAINFO, os.fsencode(access.ca_file))  # text would have to be ASCII, here and below
        # Set even if empty: libcurl would read the environment.
        curl.setopt(pycurl.PROXY, (access.proxies.for_url(access.base_url) or "").encode())
        curl.setopt(pycurl.PROXY_CAINFO, os.fsencode(access.ca_file))
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)  # less than a byte a second
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, math.ceil(settings.read_timeout_s)))
        return curl

    def prepare(self, curl: pycurl.Curl, request: PollRequest) -> None:
        """Set a handle's address and time-outs."""
        curl.setopt(pycurl.URL, self._address(request))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(min(self.settings.connect_timeout_s, request.timeout_s)))
        curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(request.timeout_s))

    def _address(self, request: PollRequest) -> str:
        """Return the poll's URL; ids contain colons and slashes, so they are escaped whole."""
        escaped = quote(request.generation_id, safe="", errors="replace")
        return f"{self.access.base_url}{PATHS[request.family]}?generation_id={escaped}"


class _Handles:
    """The handles of the whole process, one for each poll that may be under way.

    Pollers share them: handles of its own would stay with each for ever.
    """

    def __init__(self, terms: _Terms) -> None:
        self._terms = terms
        self._room = threading.Semaphore(terms.connections)
        self._free: list[pycurl.Curl] = []  # the last used is the next: no more are made than are needed at once

    def borrowed(self, *, within_s: float) -> pycurl.Curl | None:
        """Return a free handle, or None if there is none in time."""
        if not self._room.acquire(timeout=within_s):
            return None
        try:
            return self._free.pop()
        except IndexError:
            return self._terms.handle()

    def back(self, curl: pycurl.Curl) -> None:
        """Give a handle back."""
        self._free.append(curl)
        self._room.release()

    def close(self) -> None:
        """Close free handles."""
        while self._free:
            self._free.pop().close()


class _Exchange:
    """One poll under way, with the received part of its reply."""

    __slots__ = ("_headers_left", "_most_bytes", "_until", "body", "index", "lines")

    def __init__(self, index: int, timeout_s: float, most_bytes: int) -> None:
        self.index = index
        self._until = monotonic() + timeout_s
        self.lines: list[bytes] = []
        self.body = bytearray()
        self._most_bytes = self._headers_left = most_bytes

    def add_header(self, line: bytes) -> int:
        """Keep a line before the body, interim replies among them, or refuse it as below."""
        self._headers_left -= len(line)
        if self._headers_left < 0:
            return 0
        self.lines.append(line)
        return len(line)

    def add_body(self, part: bytes) -> int:
        """Keep a part of the body, or refuse it: a reply must not fill our memory."""
        if len(self.body) + len(part) > self._most_bytes:
            return 0
        self.body += part
        return len(part)

    def result(self, access: UpstreamAccess, status: int, error: int | None) -> PollResult:
        """Return the poll's result; half a reply proves no more than its status and headers."""
        headers = _headers(self.lines)
        timed_out = error == pycurl.E_OPERATION_TIMEDOUT and monotonic() >= self._until
        decisive_from = _REDIRECT_STATUS if timed_out else _FINAL_STATUS  # a success is in the body that was awaited
        if error is not None and (headers is None or status < decisive_from):
            why = pycurl.easy_strerror(error)
            return NoResult(Hold.UNREACHABLE, f"no answer from the upstream ({why})", timed_out=timed_out)
        body = bytes(self.body) if error is None else b""
        return read_poll(status, headers or {}, access.redacted(body))


def _headers(lines: Sequence[bytes]) -> dict[str, str] | None:
    """Parse the headers, or None if they broke off; of several replies (interim ones, a proxy's) the last one's."""
    found: dict[str, str] | None = None
    under_way: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if line.startswith(b"HTTP/"):
            found, under_way = None, {}
        elif not line.strip():
            found = under_way
        elif colon and found is None:
            under_way[name.strip().lower()] = value.strip()
    return found


class _Exchanges:
    """Many exchanges at once, over connections of their own; used by one thread at a time.

    libcurl names the sockets and the moment to wait for, and we wait: its own `select` fails with more than
    a thousand open files in the process.
    """

    def __init__(self, terms: _Terms, handles: _Handles) -> None:
        self._terms = terms
        self._handles = handles
        self.used_at = monotonic()
        self._selector = DefaultSelector()
        self._act_at = math.inf
        self._under_way: dict[pycurl.Curl, _Exchange] = {}
        self._took_s: list[float] = []
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, terms.connections)

    def poll_many(self, requests_to_poll: Sequence[PollRequest]) -> Iterator[Sequence[Seen]]:
        """Poll as the Poller does."""
        waiting, seen = deque(enumerate(requests_to_poll)), list[Seen]()
        yielded_at = monotonic()
        while waiting or self._under_way:
            self._begin(waiting)
            seen += self._go_on()
            is_last = not (waiting or self._under_way)
            if seen and (is_last or monotonic() - yielded_at >= LINGER_S):
                self._count(seen)
                yield seen
                seen, yielded_at = [], monotonic()

    def _count(self, seen: Sequence[Seen]) -> None:
        took_s, self._took_s = self._took_s, []
        metrics.answered("poll", took_s, [result for _, result in seen])

    def drop(self) -> None:
        """End the polls under way."""
        for curl in list(self._under_way):
            self._end(curl)

    def close(self) -> None:
        """Close the connections."""
        self._multi.close()
        self._selector.close()

    def _begin(self, waiting: deque[tuple[int, PollRequest]]) -> None:
        """Begin as many polls as there is room for; their time-outs begin now."""
        while waiting and (curl := self._handles.borrowed(within_s=0 if self._under_way else LINGER_S)):
            index, request = waiting.popleft()
            exchange = _Exchange(index, request.timeout_s, self._terms.reply_bytes)
            self._terms.prepare(curl, request)
            curl.setopt(pycurl.HEADERFUNCTION, exchange.add_header)
            curl.setopt(pycurl.WRITEFUNCTION, exchange.add_body)
            self._under_way[curl] = exchange
            self._multi.add_handle(curl)

    def _go_on(self) -> list[Seen]:
        """Wait a moment for sockets, and return the polls that have ended."""
        wait_s = min(max(self._act_at - monotonic(), 0), LINGER_S) if self._under_way else 0
        for key, events in self._selector.select(wait_s):
            ready = pycurl.CSELECT_IN if events & EVENT_READ else 0
            ready |= pycurl.CSELECT_OUT if events & EVENT_WRITE else 0
            self._multi.socket_action(key.fd, ready)
        if monotonic() >= self._act_at:
            self._act_at = math.inf
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return list(self._ended())

    def _ended(self) -> Iterator[Seen]:
        left = 1
        while left:
            left, whole, broken = self._multi.info_read()
            for curl, error in [*((curl, None) for curl in whole), *((curl, code) for curl, code, _ in broken)]:
                status = curl.getinfo(pycurl.RESPONSE_CODE)
                self._took_s.append(curl.getinfo(pycurl.TOTAL_TIME))
                exchange, access = self._end(curl), self._terms.access
                yield exchange.index, access.bounded(exchange.result(access, status, error))

    def _end(self, curl: pycurl.Curl) -> _Exchange:
        exchange = self._under_way.pop(curl)
        self._multi.remove_handle(curl)
        self._handles.back(curl)
        return exchange

    def _watch(self, what: int, sock: int, _multi: object, _data: object) -> None:
        """Watch a socket for libcurl."""
        if what == pycurl.POLL_REMOVE:
            with suppress(KeyError):
                self._selector.unregister(sock)
            return
        events = EVENT_READ if what & pycurl.POLL_IN else 0
        events |= EVENT_WRITE if what & pycurl.POLL_OUT else 0
        try:
            self._selector.modify(sock, events)
        except (KeyError, OSError):  # OSError: its number is that of a closed one
            self._selector.register(sock, events)

    def _set_timer(self, milliseconds: int) -> None:
        """Set libcurl's next deadline, which counts even if no socket is ready."""
        self._act_at = monotonic() + milliseconds / 1000 if milliseconds >= 0 else math.inf


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
