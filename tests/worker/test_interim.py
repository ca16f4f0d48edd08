"""Interim replies (1xx) come before the reply and are not it, whatever their number and whichever client asked."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from config.replies import MOST_INTERIM
from config.settings import ArchiveSettings, WebhooksSettings
from config.store import FolderStore
from config.webhook_endpoints import secret_of
from jobs.delivery import Delivered, NotDelivered, Outcome
from jobs.facts import Accepted, Fetched, NoResult, NotBought, NotFetched, Pending, Unknown
from jobs.job import Family, Video
from producer.client import Rushes
from tests.stage import a_request
from tests.worker.films import MP4
from tests.worker.servers import Act, Server, Wire, answer
from tests.worker.test_ways import upstream_at
from worker.archive.archive import Archive
from worker.receivers.webhooks import WebhookSender
from worker.upstream.wire import LogPage

JOB: Final = "job_01jd8hwz80qx3c5v7m9k2n4p6r"
INTERIM: Final = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 7\r\n\r\n",
    "unknown": b"HTTP/1.1 199\r\n\r\n",
    "mixed": b"HTTP/1.1 102 \r\n\r\nHTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nX-Inference-Id: no\r\n\r\n",
    "as many as may be": b"HTTP/1.1 102 Processing\r\n\r\n" * MOST_INTERIM,
}
before = pytest.mark.parametrize("interim", INTERIM.values(), ids=INTERIM)


def behind(interim: bytes, act: Act) -> Act:
    """Send the interim replies, then act."""

    def both(wire: Wire) -> None:
        wire.send(interim)
        act(wire)

    return both


def call(url: str) -> Outcome:
    """Call a receiver."""
    sender = WebhookSender(WebhooksSettings(allow_private=True, timeout_s=2), connections=1)
    return sender.send(url, "job_1.completed", "{}", [secret_of(b"k" * 32, "wh_1", 1)], now=datetime.now(UTC))


@before
def test_a_purchase_is_accepted_behind_them(server: Server, interim: bytes) -> None:
    """An interim reply that was read as the reply would put a paid video in doubt."""
    server.on(behind(interim, answer(b'{"id":"gen-1"}', status="201 Created")))
    with upstream_at(server.url) as (upstream, _):
        assert upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1") == Accepted("gen-1", None)


@before
def test_a_poll_and_a_page_of_the_log_are_read_behind_them(server: Server, interim: bytes) -> None:
    """On kept connections a reply that is left over would be the next request's."""
    with upstream_at(server.url) as (upstream, poller):
        server.on(behind(interim, answer(b'{"status":"generating"}')))
        assert poller.poll("g", Family.UNIVERSAL) == Pending("generating")
        server.on(behind(interim, answer(b'{"data":[]}')))
        assert isinstance(upstream.log_page("google/veo3", 0), LogPage)


@before
def test_a_video_is_fetched_behind_them(server: Server, tmp_path: Path, interim: bytes) -> None:
    """CDNs send early hints."""
    server.on(behind(interim, answer(MP4)))
    with closing(Archive(FolderStore(tmp_path), tmp_path, ArchiveSettings(), permits=lambda _: True)) as archive:
        assert isinstance(archive.fetch(JOB, 1, Video(server.url)), Fetched)


@before
def test_a_webhook_is_delivered_behind_them(server: Server, interim: bytes) -> None:
    """A receiver that answered 200 was called again."""
    server.on(behind(interim, answer(status="200 OK")))
    assert isinstance(call(server.url), Delivered)


@before
def test_the_client_library_reads_behind_them(server: Server, interim: bytes) -> None:
    """Our API may stand behind a server that sends them."""
    server.on(behind(interim, answer(status="204 No Content")))
    with Rushes(server.url, pause=lambda _: None) as rushes:
        rushes.job("job_1").delete()
    assert len(server.received) == 1


@before
def test_a_tunnel_stands_behind_them(server: Server, monkeypatch: pytest.MonkeyPatch, interim: bytes) -> None:
    """A proxy's refusal behind one is a refusal, and what is behind its consent is TLS."""
    monkeypatch.setenv("https_proxy", server.url)
    server.on(behind(interim, answer(status="403 Forbidden")))
    with upstream_at("https://api.invalid") as (upstream, _):
        receipt = upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    assert isinstance(receipt, NotBought)
    assert [request.method for request in server.received] == ["CONNECT"]


def one_too_many(wire: Wire) -> None:
    """More interim replies than are read."""
    wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * (MOST_INTERIM + 1))
    answer(b'{"id":"gen-1","status":"generating"}')(wire)


def endless(wire: Wire) -> None:
    """Nothing but interim replies."""
    wire.trickle(b"HTTP/1.1 102 Processing\r\n\r\n" * 100, every_s=0.001)


def endless_headers(wire: Wire) -> None:
    """An interim reply whose headers have no end."""
    wire.send(b"HTTP/1.1 103 Early Hints\r\n")
    wire.trickle(b"Link: </a.css>\r\n" * 100, every_s=0.001)


def switching(wire: Wire) -> None:
    """From here on the connection speaks something else."""
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x00\x01")


def nothing_else(wire: Wire) -> None:
    """An interim reply, and the end."""
    wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")


@pytest.mark.parametrize("act", [one_too_many, endless, endless_headers, switching, nothing_else])
def test_what_is_no_reply_behind_them_is_bounded_and_lost(server: Server, tmp_path: Path, act: Act) -> None:
    """Memory and time of a worker are not a stranger's."""
    server.on(act)
    with upstream_at(server.url, total_timeout_s=2) as (upstream, _):
        assert isinstance(upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1"), Unknown)
        assert isinstance(upstream.log_page("google/veo3", 0), NoResult)
    with closing(Archive(FolderStore(tmp_path), tmp_path, ArchiveSettings(), permits=lambda _: True)) as archive:
        assert isinstance(archive.fetch(JOB, 1, Video(server.url)), NotFetched)
    assert isinstance(call(server.url), NotDelivered)


@pytest.mark.parametrize("act", [endless, endless_headers, switching, nothing_else])
def test_a_poll_behind_which_nothing_comes_decides_nothing(server: Server, act: Act) -> None:
    """Polling is free: the next one asks again."""
    server.on(act)
    with upstream_at(server.url, total_timeout_s=2) as (_, poller):
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)
