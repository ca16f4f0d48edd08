"""A large order on a slow uplink is bought, not left in doubt: sending has a time of its own."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest
import requests

from config.outbound import PunctualAdapter
from jobs.facts import Accepted
from jobs.job import Family, VideoRequest
from tests.worker.test_client import REQUEST_ID, upstream_at

BODY: Final = 8_000_000
CONNECT_S: Final = 0.5
READING_S: Final = 2.0
REPLY: Final = b'{"id": "generation-1", "status": "queued"}'
LARGE: Final = VideoRequest("google/veo3", "a boat", {"image_url": "A" * BODY})


@pytest.fixture
def slow_reader() -> Iterator[str]:
    """A server that takes two seconds to read a request, and then sells."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        thread = threading.Thread(target=_serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


def _serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    left, rounds = BODY, 20
    with connection:
        while left > 0:
            time.sleep(READING_S / rounds)  # the uplink's speed, which is what is tested
            wanted, left = BODY // rounds, left - BODY // rounds
            while wanted > 0 and (got := connection.recv(min(wanted, 65_536))):
                wanted -= len(got)
            if wanted:
                return
        connection.settimeout(1)
        rest = connection.recv(65_536)
        assert rest
        connection.sendall(
            b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(REPLY), REPLY)
        )


def test_a_large_order_is_sent_for_longer_than_a_connection_may_take(slow_reader: str) -> None:
    """It counted against the time to connect, and its purchase ended in doubt."""
    with upstream_at(slow_reader, connect_s=CONNECT_S) as upstream:
        receipt = upstream.submit(LARGE, Family.UNIVERSAL, REQUEST_ID)

    assert isinstance(receipt, Accepted), receipt


def test_sending_is_bounded_in_all(slow_reader: str) -> None:
    """By the request's size: a server that hardly reads holds no thread for ever."""
    adapter = PunctualAdapter(connections=1, reply_s=5, sending_s=lambda size: size / BODY)
    began = time.monotonic()

    with pytest.raises(requests.RequestException):
        adapter.ask("POST", slow_reader, data=bytes(BODY), headers={}, timeout=(5, 5))

    assert time.monotonic() - began < READING_S
