"""Clients that send slowly, without end, or never read: each is a sequence of bytes to send and pauses in seconds."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from threading import Event, Thread
from typing import Final, Self

Script = Iterable[bytes | float]
"""Bytes are sent, numbers are waited for; after the last the client stays, and reads nothing."""

PAUSE_S: Final = 0.1
HEAD: Final = b"POST /v1/videos HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
CHUNKED: Final = HEAD + b"transfer-encoding: chunked\r\n\r\n"
DOCUMENT: Final = b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def trickle(beginning: bytes, part: bytes) -> Iterator[bytes | float]:
    """Send a beginning, then small parts for ever."""
    yield beginning
    while True:
        yield part
        yield PAUSE_S


def flood(beginning: bytes, part: bytes) -> Iterator[bytes | float]:
    """Send a beginning, then large parts for ever, at up to 2 MB/s."""
    yield beginning
    while True:
        yield part * 5
        yield PAUSE_S / 10


KINDS: Final[dict[str, Callable[[], Script]]] = {
    "silent": tuple,
    "half a request line": lambda: (b"GET /v1/vid",),
    "half of the headers": lambda: (HEAD,),
    "trickling URL": lambda: trickle(b"GET /", b"a"),
    "trickling headers": lambda: trickle(HEAD, b"x-a: b\r\n"),
    "trickling blank lines": lambda: trickle(b"", b"\r\n"),
    "silent after a request": lambda: (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"\r\n"),
    "body that never comes": lambda: (HEAD + b"content-length: 1000\r\n\r\n",),
    "trickling body": lambda: trickle(HEAD + b"content-length: 100000\r\n\r\n", b" "),
    "trickling chunks": lambda: trickle(CHUNKED, b"1\r\n \r\n"),
    "never-ending chunks": lambda: flood(CHUNKED, b"1000\r\n%s\r\n" % (b" " * 4096)),
    "never-ending extension": lambda: flood(CHUNKED + b"1;a=", b"a" * 4096),
    "never-ending trailers": lambda: flood(CHUNKED + b"0\r\n", b"x-a: %s\r\n" % (b"b" * 4096)),
    "body after its refusal": lambda: trickle(b"GET /v1/no HTTP/1.1\r\ncontent-length: 10000\r\n\r\n", b" "),
    "half a TLS handshake": lambda: (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",),
    "unread replies": lambda: (DOCUMENT * 100,),
}  # fmt: skip


class Attack:
    """Plays each script on a connection of its own, from a thread with an event loop."""

    def __init__(self, port: int, scripts: Sequence[Script]) -> None:
        self._port, self._scripts = port, scripts
        self._opened, self._over = Event(), Event()
        self._thread = Thread(target=lambda: asyncio.run(self._play_all()))

    def __enter__(self) -> Self:
        """Return when every connection is open."""
        self._thread.start()
        assert self._opened.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    async def _play_all(self) -> None:
        sockets = [await self._connected() for _ in self._scripts]
        self._opened.set()
        plays = [
            asyncio.create_task(self._play(each, script)) for each, script in zip(sockets, self._scripts, strict=True)
        ]
        await asyncio.to_thread(self._over.wait)
        for play in plays:
            play.cancel()
        await asyncio.gather(*plays, return_exceptions=True)

    async def _connected(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        opened.setblocking(False)
        return opened

    async def _play(self, opened: socket.socket, script: Script) -> None:
        loop = asyncio.get_running_loop()
        with closing(opened), suppress(OSError):
            for step in script:
                if isinstance(step, bytes):
                    await loop.sock_sendall(opened, step)
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(step)
            await asyncio.Event().wait()
