"""A worker's metrics port, which has no password: strangers hold a few of its threads, and never the scrape."""

import threading
from collections.abc import Callable, Iterator

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter

from ops.stack.recipe import free_port
from tests.hostile.attackers import Attack, Script, trickle
from tests.stage import eventually
from worker import metrics_server

STRANGERS = 200
HEAD = b"GET /metrics HTTP/1.1\r\n"
KINDS: dict[str, Callable[[], Script]] = {
    "silent": tuple,
    "half of the headers": lambda: (HEAD,),
    "trickling headers": lambda: trickle(HEAD, b"x-a: b\r\n"),
    "large headers": lambda: (HEAD + b"x: %s\r\n" % (b"a" * 60_000) * 50,),
    "unread replies": lambda: ((HEAD + b"\r\n") * 100,),
}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port with a metric, whose server waits a second for a silent client."""
    monkeypatch.setattr(metrics_server._Handler, "timeout", 1.0)
    registry, port = CollectorRegistry(), free_port()
    Counter("videos", "Stored videos.", registry=registry).inc()
    server = metrics_server.serve("127.0.0.1", port, registry)
    yield port
    server.shutdown()
    server.server_close()


def scraped(port: int) -> bool:
    """Whether Prometheus gets the metrics."""
    return "videos_total 1.0" in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text


@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_strangers_take_a_few_threads_and_no_scrape(port: int, kind: str) -> None:
    """Each would keep a thread and an open file of the process that buys."""
    before = threading.active_count()

    with Attack(port, [KINDS[kind]() for _ in range(STRANGERS)]):
        assert scraped(port)  # all who came before are connected now
        most = before + metrics_server.CONNECTIONS + 2  # the attack has two
        eventually(lambda: threading.active_count() <= most, within_s=5, what="few threads")

    eventually(lambda: threading.active_count() <= before, within_s=10, what="the end of their threads")


def test_a_silent_stranger_is_cut_off(port: int) -> None:
    """However few there are."""
    before = threading.active_count()

    with Attack(port, [(HEAD,)]):
        assert scraped(port)  # it is connected now
        eventually(lambda: threading.active_count() <= before + 2, within_s=10, what="the end of its thread")


def test_what_is_no_request_is_refused_and_not_logged(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A stranger fills no log."""
    many = {f"x-{number}": "a" for number in range(200)}

    refused = requests.get(f"http://127.0.0.1:{port}/", headers=many, timeout=5)
    with Attack(port, [(b"\x16\x03\x01\x02\x00",)]):
        assert scraped(port)

    assert refused.status_code == 431
    assert capfd.readouterr().err == ""
