"""`python -m ops.bench.attacks KIND PORT KEY`: a hostile tenant, or a stranger without a key, until it is stopped."""

import json
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Thread
from typing import Any, Final

from ops.stack.recipe import HOST

MEGABYTE: Final = 1_000_000
PICTURE: Final = f"data:image/png;base64,{b64encode(bytes.fromhex('89504e470d0a1a0a') + bytes(6 * MEGABYTE)).decode()}"
SOCKETS: Final = 200
STREAMS: Final = 500
NESTED: Final = 900
PAUSE_S: Final = 0.1
"""Between two rounds: what counts is the cost of each, and a flood of refused requests is a matter for the proxy."""


@dataclass(frozen=True, slots=True)
class Target:
    """The API, a key of the attacker's, and a server that accepts and then says nothing."""

    port: int
    key: str
    silent_port: int

    def send(self, method: str, path: str, body: str | bytes | None = None, *, with_key: bool = True) -> bytes:
        """Send one request on a connection of its own, and read the reply."""
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {self.key}"} if with_key else {})}
        with closing(HTTPConnection(HOST, self.port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            return connection.getresponse().read()

    def order(self, **parameters: Any) -> None:
        """Order a video of an unknown model, which takes any parameters."""
        self.send("POST", "/v1/videos", json.dumps({"model": "some/body", "prompt": "a boat", **parameters}))

    def pour(self, beginning: bytes, part: bytes, most: int) -> None:
        """Send bytes until the server closes the connection, or enough were sent."""
        with socket.create_connection((HOST, self.port), timeout=60) as opened:
            opened.sendall(beginning)
            for _ in range(most // len(part)):
                opened.sendall(part)
            opened.recv(65_536)


def _deep_json(target: Target) -> None:
    target.send("POST", "/v1/videos", b'{"prompt":"a boat","x":%s%s}' % (b"[" * NESTED, b"]" * NESTED))


def _dense_json(target: Target) -> None:
    target.send("POST", "/v1/videos", b'{"prompt":"a boat","x":[%s0]}' % (b"0," * 4 * MEGABYTE))


def _big_headers(target: Target) -> None:
    target.pour(b"GET /v1/videos HTTP/1.1\r\nhost: a\r\n", b"x-a: %s\r\n" % (b"b" * 4000), 100 * MEGABYTE)


def _bodies_without_key(target: Target) -> None:
    head = b"POST /v1/videos HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 8000000\r\n\r\n"
    target.pour(head, b"[" * 8000, 8 * MEGABYTE)


def _slow_pictures(target: Target) -> None:
    target.order(image_url=f"https://{HOST}:{target.silent_port}/boat.png")


def _pictures(target: Target) -> None:
    target.order(image_url=PICTURE)


def _empty_filters(target: Target) -> None:
    target.send("GET", "/v1/videos?limit=100&model=no/model&metadata[a]=b")


def _slow_connections(target: Target) -> None:
    held = [socket.create_connection((HOST, target.port), timeout=60) for _ in range(SOCKETS)]
    for each in held:
        each.sendall(b"POST /v1/videos HTTP/1.1\r\nhost: a\r\n")
    for _ in range(100):
        for each in held:
            with suppress(OSError):
                each.sendall(b"x")
        time.sleep(0.1)
    for each in held:
        each.close()


def _event_streams(target: Target) -> None:
    job_id = json.loads(target.send("POST", "/v1/videos", '{"prompt":"a boat"}'))["id"]
    head = f"GET /v1/videos/{job_id}/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {target.key}\r\n"
    held = []
    for _ in range(STREAMS):
        held.append(socket.create_connection((HOST, target.port), timeout=60))
        held[-1].sendall(f"{head}accept: text/event-stream\r\n\r\n".encode())
        held[-1].recv(65_536)  # one after the other: new connections are taken in the order in which they came
    time.sleep(60)


ATTACKS: Final[dict[str, tuple[str, Callable[[Target], None], int]]] = {
    "deep": ("JSON nested 900 deep, 8 at once", _deep_json, 8),
    "dense": ("8 MB of small values, 4 at once", _dense_json, 4),
    "headers": ("headers without end, 8 connections", _big_headers, 8),
    "slow": ("200 connections that trickle", _slow_connections, 1),
    "keyless": ("bodies of 8 MB without a key, 4 at once", _bodies_without_key, 4),
    "urls": ("40 pictures at once on a silent server", _slow_pictures, 40),
    "filters": ("lists that match none of 2,000 jobs, 4 at once", _empty_filters, 4),
    "pictures": ("pictures of 8 MB in base64, 4 at once", _pictures, 4),
    "streams": ("500 event streams", _event_streams, 1),
}
"""For each attack: what it is, one round of it, and how many of those go on at once."""


def main(arguments: Sequence[str]) -> None:
    """Attack until the process is killed."""
    kind, port, key, silent_port = arguments
    _, attack, threads = ATTACKS[kind]
    target = Target(int(port), key, int(silent_port))

    def repeat() -> None:
        while True:
            with suppress(OSError, HTTPException, ValueError, KeyError):
                attack(target)
            time.sleep(PAUSE_S)

    for _ in range(threads):
        Thread(target=repeat, daemon=True).start()
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1:])
