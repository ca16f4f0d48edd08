"""Many open pages cost Redis what one costs, and all of them are told."""

import socket
from contextlib import ExitStack
from typing import Final

import redis
from playwright.sync_api import Browser, expect

from producer.api.event_stream import MOST_AT_FULL_PACE
from tests.api.conftest import Api
from tests.page.conftest import a_tab
from tests.stage import eventually

STREAMS: Final = 2 * MOST_AT_FULL_PACE
TABS: Final = 3


def opened(api: Api) -> socket.socket:
    """Open the stream of an operator's page, as its script does."""
    host, _, port = api.url.removeprefix("http://").rpartition(":")
    stream = socket.create_connection((host, int(port)), timeout=30)
    stream.sendall(f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    told(stream, b"retry:")
    return stream


def told(stream: socket.socket, words: bytes) -> bytes:
    """Read on until these words come; return what came until then."""
    read = b""
    while words not in read:
        came = stream.recv(4096)
        assert came, "the stream ended"
        read += came
    return read


def readers(client: "redis.Redis") -> int:
    """How many connections wait in Redis for events."""
    return sum("b" in found["flags"] for found in client.client_list())


def reads(client: "redis.Redis") -> int:
    """How often the event stream was read so far."""
    return int(client.info("commandstats").get("cmdstat_xread", {}).get("calls", 0))


def test_open_pages_share_one_reader_of_redis(chromium: Browser, api: Api, client: "redis.Redis") -> None:
    """Also while events come: the reader reads them once for all."""
    with ExitStack() as stack:
        tabs = [stack.enter_context(a_tab(chromium, api.url)) for _ in range(TABS)]
        for tab in tabs:
            tab.open("/")
        eventually(lambda: readers(client) == 1, what="the reader")
        connections = len(client.client_list())

        streams = [stack.enter_context(opened(api)) for _ in range(STREAMS)]
        assert readers(client) <= 1
        assert len(client.client_list()) == connections
        before = reads(client)
        api.submit("a boat")
        for stream in streams:
            told(stream, b"event: change")
        for tab in tabs:
            expect(tab.page.locator(".job")).to_have_count(1)

        assert reads(client) - before < STREAMS / 2
        assert readers(client) <= 1
        api.submit("another boat")
        assert b": alive" in told(streams[0], b"event: change"), "so many are told less often"
