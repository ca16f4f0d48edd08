"""A fast upstream as a process: it costs far less CPU than any client, and it counts and times requests.

It implements what a contender needs: buy, poll, fetch. It knows when each generation was bought, polled and ready, so
lateness is measured here, in the same way for all contenders.
"""

import asyncio
import json
import math
import random
import statistics
import struct
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
import uvloop

POLL_QUERY: Final = b"generation_id="
_HEAD: Final = (
    "HTTP/1.1 {status} {phrase}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: {kind}\r\n"
    "Content-Length: {length}\r\nConnection: keep-alive\r\nServer: bench\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How generations behave."""

    latency_s: float = 0.0
    """Added to each reply."""
    polls: int = 0
    """Done at this poll; 0: done after `render_s`."""
    render_s: float = 12.0
    """Duration of a generation; its median if `spread` is not 0."""
    spread: float = 0.0
    """Sigma of the lognormal distribution of durations."""
    interval_s: float = 1.0
    """The contenders' poll interval; the lateness of a poll is counted from it."""
    hangs: int = 0
    """One poll in this many is never answered; 0: none. The lateness of the poll after it is not counted."""
    seed: int = 1


class Generation:
    """One purchase."""

    __slots__ = ("found_at", "polls", "ready_at", "seen_at")

    def __init__(self, now: float, render_s: float) -> None:
        self.ready_at = now + render_s
        self.seen_at = now
        self.polls = 0
        self.found_at = 0.0


@dataclass(slots=True)
class Counters:
    """Counts and times since the last reset."""

    reset_at: float
    submits: int = 0
    polls: int = 0
    fetches: int = 0
    finished: int = 0
    unknown: int = 0
    poll_lateness: "array[float]" = field(default_factory=lambda: array("d"))
    video_lateness: "array[float]" = field(default_factory=lambda: array("d"))
    polls_of_finished: "array[int]" = field(default_factory=lambda: array("l"))

    def as_json(self, now: float) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "open_s": now - self.reset_at,
            "submits": self.submits,
            "polls": self.polls,
            "fetches": self.fetches,
            "finished": self.finished,
            "unknown": self.unknown,
            "poll_lateness_s": _spread(self.poll_lateness),
            "video_lateness_s": _spread(self.video_lateness),
            "polls_per_video": statistics.fmean(self.polls_of_finished) if self.polls_of_finished else None,
        }


def _spread(found: "array[float]") -> dict[str, float] | None:
    if not found:
        return None
    ordered = sorted(found)
    last = len(ordered) - 1
    cuts = {name: ordered[round(last * share)] for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {"mean": statistics.fmean(ordered), **cuts, "max": ordered[-1]}


class FakeService:
    """The upstream's state and replies."""

    def __init__(self, clock: Callable[[], float], film: bytes) -> None:
        self.terms = Terms()
        self._clock = clock
        self._film = _reply(film, "video/mp4")
        self._film_bytes = len(film)
        self._generations: dict[bytes, Generation] = {}
        self._counters = Counters(clock())
        self._rng = random.Random(self.terms.seed)  # noqa: S311 (a bench must be repeatable)

    def answer(self, method: bytes, target: bytes, body: bytes, host: bytes) -> bytes:
        """Return the whole reply to a request; empty if it is never answered."""
        path, _, query = target.partition(b"?")
        match method, path:
            case b"GET", _ if query.startswith(POLL_QUERY):
                reply = self._poll(query.removeprefix(POLL_QUERY), host)
            case b"POST", b"/v2/video/generations" | b"/v2/generate/video/google/generation":
                reply = self._buy()
            case b"GET", _ if path.startswith(b"/films/"):
                reply = self._fetch()
            case b"GET", b"/bench/counters":
                reply = _json(self._counters.as_json(self._clock()))
            case b"POST", b"/bench/terms":
                reply = self._set(json.loads(body))
            case b"POST", b"/bench/reset":
                reply = self._reset()
            case _:
                self._counters.unknown += 1
                reply = _json({"message": "unknown"}, HTTPStatus.NOT_FOUND)
        return reply

    def _reset(self) -> bytes:
        self._counters = Counters(self._clock())
        return _json({})

    def _fetch(self) -> bytes:
        self._counters.fetches += 1
        return self._film

    def _set(self, terms: dict[str, Any]) -> bytes:
        """Set new terms, reset the counters and delete all generations."""
        self.terms = replace(Terms(), **terms)
        self._rng.seed(self.terms.seed)
        self._generations.clear()
        self._reset()
        return _json(asdict(self.terms))

    def _buy(self) -> bytes:
        terms = self.terms
        render_s = terms.render_s * math.exp(self._rng.gauss(0, terms.spread)) if terms.spread else terms.render_s
        self._counters.submits += 1
        name = b"gen-%d" % (len(self._generations) + 1)
        self._generations[name] = Generation(self._clock(), render_s)
        return _reply(b'{"id":"%s","status":"queued","meta":{"usage":{"usd_spent":3.36}}}' % name, "application/json")

    def _poll(self, name: bytes, host: bytes) -> bytes:
        generation, now, counters = self._generations.get(name), self._clock(), self._counters
        if generation is None:
            counters.unknown += 1
            return _json({"message": "Inference not found"}, HTTPStatus.NOT_FOUND)
        counters.polls += 1
        if generation.polls:
            counters.poll_lateness.append(now - generation.seen_at - self.terms.interval_s)
        if self.terms.hangs and not counters.polls % self.terms.hangs:
            generation.polls = 0  # the next poll is due when the contender gives this one up
            return b""
        generation.polls += 1
        generation.seen_at = now + self.terms.latency_s
        done = generation.polls >= self.terms.polls if self.terms.polls else now >= generation.ready_at
        return self._finished(name, generation, now, host) if done else _PENDING % (_PENDING_BYTES + len(name), name)

    def _finished(self, name: bytes, generation: Generation, now: float, host: bytes) -> bytes:
        if not generation.found_at:
            generation.found_at = now
            self._counters.finished += 1
            self._counters.video_lateness.append(now - generation.ready_at)
            self._counters.polls_of_finished.append(generation.polls)
        url = f"http://{host.decode()}/films/{name.decode()}.mp4"
        video = {"url": url, "content_type": "video/mp4", "file_size": self._film_bytes}
        return _json({"id": name.decode(), "status": "completed", "video": video})


_PENDING_BODY: Final = b'{"id":"%s","status":"generating"}'
_PENDING_BYTES: Final = len(_PENDING_BODY % b"")
_PENDING: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\nServer: bench\r\n\r\n" + _PENDING_BODY
)


def _reply(body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    return _HEAD.format(status=status.value, phrase=status.phrase, kind=kind, length=len(body)).encode() + body


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    return _reply(json.dumps(value).encode(), "application/json", status)


class Connection(asyncio.Protocol):
    """One kept-alive HTTP connection."""

    def __init__(self, service: FakeService, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        received = self._received + data if self._received else data
        while (end := received.find(b"\r\n\r\n")) >= 0:
            head, begins = received[:end], end + 4
            ends = begins + (_length(head) if head[:1] == b"P" else 0)
            if len(received) < ends:
                break
            method, target, _ = head.split(b" ", 2)
            self._send(self._service.answer(method, target, received[begins:ends], _host(head)))
            received = received[ends:]
        self._received = received

    def _send(self, reply: bytes) -> None:
        assert self._transport is not None
        if not reply:
            return
        if self._service.terms.latency_s:
            self._loop.call_later(self._service.terms.latency_s, self._transport.write, reply)
        else:
            self._transport.write(reply)


def _length(head: bytes) -> int:
    return int(_header(head, b"\r\ncontent-length:") or b"0")


def _host(head: bytes) -> bytes:
    return _header(head, b"\r\nhost:")


def _header(head: bytes, name: bytes) -> bytes:
    at = head.lower().find(name)
    if at < 0:
        return b""
    begins = at + len(name)
    ends = head.find(b"\r\n", begins)
    return head[begins : ends if ends >= 0 else len(head)].strip()


async def serve(port: int, report_port: Callable[[str], object], film: bytes) -> None:
    """Serve until killed; call `report_port` once it listens."""
    loop = asyncio.get_running_loop()
    service = FakeService(loop.time, film)
    server = await loop.create_server(lambda: Connection(service, loop), "127.0.0.1", port, backlog=4096)
    report_port(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


def film_of(size: int) -> bytes:
    """Build a valid mp4 of about `size` bytes (boxes as in ISO/IEC 14496-12 §4.2)."""
    boxes = [(b"ftyp", b"isom\0\0\2\0isom"), (b"moov", bytes(100)), (b"mdat", bytes(size))]
    return b"".join(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in boxes)


def main(
    ready_file: Annotated[Path, typer.Option(help="The port is written to this file.")],
    port: Annotated[int, typer.Option(help="0: a free port.")] = 0,
    film_bytes: Annotated[int, typer.Option(min=0, help="Size of each video in bytes.")] = 65_536,
) -> None:
    """Serve on 127.0.0.1."""
    uvloop.run(serve(port, ready_file.write_text, film_of(film_bytes)))


if __name__ == "__main__":
    typer.run(main)
