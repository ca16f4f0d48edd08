"""A stranger's URL makes no process of ours call inside our network, and its owner reads why."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread

import pytest

from producer.receivers import make_receivers
from tests.api.conftest import Api
from tests.stage import Stage, a_request, eventually

HOSTS = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "169.254.169.254",
    "[fe80::1]",
    "10.0.0.1",
)


class Inside:
    """A service of our network, on every loopback address, that counts who calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._over = Event()
        self._listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._listeners[0].getsockname()[1]
        with suppress(OSError):  # a machine may have no IPv6
            self._listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self._threads = [Thread(target=self._count, args=(listener,)) for listener in self._listeners]
        for thread in self._threads:
            thread.start()

    def _count(self, listener: socket.socket) -> None:
        listener.settimeout(0.1)
        while not self._over.is_set():
            with suppress(TimeoutError):
                listener.accept()[0].close()
                self.calls += 1

    def close(self) -> None:
        """Stop counting."""
        self._over.set()
        for thread, listener in zip(self._threads, self._listeners, strict=True):
            thread.join()
            listener.close()


@pytest.fixture
def inside() -> Iterator[Inside]:
    """A service that nobody outside may reach."""
    service = Inside()
    yield service
    service.close()


def test_a_worker_calls_no_private_receiver(stage: Stage, inside: Inside) -> None:
    """Unless the operator allows it: the log of the delivery says so."""
    stage.environment |= {"RUSHES_WEBHOOKS__KEYS": "k" * 32}
    service, receivers = stage.service, make_receivers(stage.settings)
    urls = [f"https://{host}:{inside.port}/hook" for host in HOSTS]
    jobs = [service.submit(replace(a_request(), webhook_url=url)) for url in urls]
    for job in jobs:
        service.cancel(job.job_id)

    def said() -> list[str]:
        known = [service.get(job.job_id) for job in jobs]
        logs = [receivers.own_log(job, request, tenant=None) for job, request in known]
        return [line.message for log in logs for _, line in log[-1:]]

    with stage.worker():
        eventually(lambda: len(said()) == len(HOSTS), what="an attempt at each")

    assert set(said()) == {"its address is not a public one (RUSHES_WEBHOOKS__ALLOW_PRIVATE)"}
    assert inside.calls == 0


def test_the_api_fetches_no_private_picture(stage: Stage, inside: Inside) -> None:
    """It is refused before it is accepted, and the field is named."""
    with Api.started(stage.folder, stage.environment | {"RUSHES_API__AUTH": "off"}) as api:
        answers = [
            api.post("/v1/videos", {"prompt": "a boat", "input_reference": {"image_url": url}})
            for url in [f"https://{host}:{inside.port}/boat.png" for host in HOSTS]
        ]

    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["errors"][0]["message"] for answer in answers} == {"is not on the public internet"}
    assert inside.calls == 0


def test_a_worker_downloads_no_private_video(stage: Stage) -> None:
    """Whatever the upstream says where it is; the job waits, paid for, and says why."""
    job_id = stage.service.submit(a_request()).job_id
    stage.environment["RUSHES_ARCHIVE__PRIVATE_ADDRESSES"] = "false"

    with stage.worker():
        eventually(lambda: stage.ledger.get(job_id).downloads, what="a refused download")

    assert "leads to a private address" in (stage.ledger.get(job_id).message or "")
