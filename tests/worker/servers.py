"""A real HTTP server that misbehaves on demand, byte by byte."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

REFUSING: Final = "http://127.0.0.1:1"  # tcpmux: nobody listens there


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection = connection
        self._over = over

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self._over.wait(60)

    def pause(self, seconds: float) -> None:
        """Say nothing for so long, as a slow upstream."""
        self._over.wait(seconds)

    def trickle(self, data: bytes, every_s: float = 0.05) -> None:
        """Send the data again and again, a little at a time, until the client goes or the test is over."""
        while not self._over.wait(every_s):
            self.send(data)

    def has_another_request(self) -> bool:
        """Read the next request on the same connection; False: the client closed it."""
        return _read(self._connection) is not None

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Act = Callable[[Wire], None]


def answer(body: bytes = b"", *, status: str = "200 OK", length: int | None = None, **headers: str) -> Act:
    """One reply that ends with its connection; `length` announces another length, -1 none."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    if length != -1:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    return lambda wire: wire.send(head + body)


def say_nothing(_: Wire) -> None:
    """Read the request and close."""


def reset(wire: Wire) -> None:
    """Read the request and reset the connection."""
    wire.reset()


def hang(wire: Wire) -> None:
    """Read the request and never answer."""
    wire.hang()


def after(seconds: float, act: Act) -> Act:
    """Read the request, and act after this many seconds."""

    def late(wire: Wire) -> None:
        wire.pause(seconds)
        act(wire)

    return late


@dataclass
class Server:
    """Serves each path by its act (or all by "*"), and keeps the requests that it received."""

    url: str = ""
    acts: dict[str, Act] = field(default_factory=dict)
    received: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0

    def on(self, act: Act, path: str = "*") -> None:
        """Arrange what happens on a path."""
        self.acts[path] = act

    @classmethod
    @contextmanager
    def started(cls, context: ssl.SSLContext | None = None) -> Iterator[Self]:
        """Listen on a port of its own."""
        over = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            scheme = "http" if context is None else "https"
            server = cls(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
            threads: list[threading.Thread] = []

            def accept() -> None:
                while True:
                    with suppress(TimeoutError):
                        try:
                            connection, _ = listener.accept()
                        except OSError:
                            return
                        if over.is_set():
                            connection.close()
                            return
                        threads.append(threading.Thread(target=server._serve, args=(connection, context, over)))
                        threads[-1].start()

            acceptor = threading.Thread(target=accept)
            acceptor.start()
            try:
                yield server
            finally:
                over.set()
                with suppress(OSError):
                    socket.create_connection(listener.getsockname(), timeout=5).close()
                for thread in [acceptor, *threads]:
                    thread.join(20)

    def _serve(self, connection: socket.socket, context: ssl.SSLContext | None, over: threading.Event) -> None:
        self.connections += 1
        connection.settimeout(20)
        with suppress(OSError, ssl.SSLError), connection:
            secured = connection if context is None else context.wrap_socket(connection, server_side=True)
            with secured:
                request = _read(secured)
                if request is None:
                    return
                self.received.append(request)
                path = request.target.partition("?")[0]
                act = self.acts.get(path) or self.acts["*"]
                act(Wire(secured, over))


def _read(connection: socket.socket) -> ReceivedRequest | None:
    with connection.makefile("rb") as stream:
        if not stream.peek(1)[:1].isalpha():  # a TLS handshake on a plain server, or nobody
            return None
        first = stream.readline().decode("latin-1").split()
        headers: dict[str, Any] = {}
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return ReceivedRequest(first[0], first[1], headers, body)


@contextmanager
def slow_handshake() -> Iterator[int]:
    """A port on which a handshake of TLS begins and then trickles, for as long as the client stays."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KB
                    while not over.wait(0.1):
                        connection.sendall(b"\x02")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
