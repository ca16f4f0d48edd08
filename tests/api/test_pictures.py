"""A picture's URL is a stranger's word: where it leads is checked before it is followed, hop by hop."""

import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import Settings
from jobs.job import Terms, VideoRequest
from jobs.ledger import Ledger
from producer.api.pictures import PictureCheck
from producer.service import make_service
from tests.api.conftest import Api
from tests.stage import inputs_of
from tests.worker.servers import slow_handshake

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MOST = 1000


class Gallery(BaseHTTPRequestHandler):
    """Serves pictures, and what is none."""

    def do_GET(self) -> None:
        """One path for each story."""
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to/").replace("PORT", str(port)))
            self.end_headers()
            return
        if self.path == "/interim":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            self.path = "/boat.png"
        if self.path == "/to-raw":
            self.wfile.write("HTTP/1.1 302 Found\r\nLocation: /schönes boot.png\r\n\r\n".encode())
            return
        if self.path == "/trickle":
            for _ in range(200):
                self.wfile.write(b"H")
                time.sleep(0.05)
            return
        body = {
            "/boat.png": PNG,
            "/sch%C3%B6nes%20boot.png?%C3%BC=1&a=%26": PNG,
            "/sch%C3%B6nes%20boot.png": PNG,
            "/page": b"<html>",
            "/large": PNG + bytes(2 * MOST),
        }.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_ignored: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with a certificate of its own, and what trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    made += [
        "-days",
        "2",
        "-subj",
        "/CN=gallery",
        "-addext",
        "subjectAltName=IP:127.0.0.1,IP:127.0.0.2,DNS:localhost,DNS:xn--bcher-kva.example",
    ]
    subprocess.run(made, check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Gallery) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that disconnects is normal
        server.socket = serving.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", str(certificate)
        server.shutdown()
        thread.join()


def refused(check: PictureCheck, url: str) -> str:
    """Why a picture is refused."""
    (wrong,) = check.check({"image_url": url})
    assert wrong.field == "image_url"
    return wrong.message


@pytest.fixture
def lenient(gallery: tuple[str, str]) -> PictureCheck:
    """A check that takes 127.0.0.1, and nothing else, for the public internet."""
    return PictureCheck(MOST, within_s=3, permits=lambda address: address == "127.0.0.1", ca_bundle=gallery[1])


def test_a_picture_is_a_picture_also_behind_a_redirect(lenient: PictureCheck, gallery: tuple[str, str]) -> None:
    """Relative or absolute."""
    for path in ("/boat.png", "/to//boat.png", "/to/https://127.0.0.1:PORT/boat.png"):
        assert not lenient.check({"image_url": gallery[0] + path, "image_urls": [gallery[0] + path]})


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/page", "must lead to a picture"),
        ("/nothing", "its server answers 404"),
        ("/large", "may have 1000 bytes"),
        ("/to/https://127.0.0.2:PORT/boat.png", "not on the public internet"),
        ("/to/https://169.254.169.254/latest/meta-data", "not on the public internet"),
        ("/to/http://127.0.0.1:PORT/boat.png", "must be, and stay, an https URL"),
        ("/to/file:///etc/passwd", "must be, and stay, an https URL"),
        ("/to//to//to//to//to//boat.png", "redirects more than 3 times"),
    ],
)
def test_what_a_url_leads_to_is_checked(lenient: PictureCheck, gallery: tuple[str, str], path: str, why: str) -> None:
    """At each hop."""
    assert why in refused(lenient, gallery[0] + path)


def test_a_server_that_trickles_is_given_up(lenient: PictureCheck, gallery: tuple[str, str]) -> None:
    """It may not hold a thread for as long as it likes."""
    assert "cannot be fetched" in refused(lenient, f"{gallery[0]}/trickle")


def test_a_handshake_that_trickles_is_given_up() -> None:
    """The bound holds for the whole of a connection, and not anew for each byte of it."""
    with slow_handshake() as port:
        check, began = PictureCheck(MOST, within_s=2, permits=lambda _: True), time.monotonic()
        assert "cannot be fetched" in refused(check, f"https://127.0.0.1:{port}/boat.png")
        assert time.monotonic() - began < 4


def test_a_proxy_of_the_environment_is_not_asked(
    lenient: PictureCheck, gallery: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would resolve names itself, and reach what only the operator may."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert not lenient.check({"image_url": f"{gallery[0]}/boat.png"})


def test_a_host_that_is_not_known_is_said_so(lenient: PictureCheck) -> None:
    """It is a slip of the pen, mostly."""
    assert refused(lenient, "https://pictures.invalid/boat.png") == "its host is not known"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "2130706433", "0x7f.1"],
)
def test_a_private_address_is_refused_however_it_is_spelt(host: str) -> None:
    """As a number, as a name, or inside another family."""
    assert "not on the public internet" in refused(PictureCheck(MOST), f"https://{host}/boat.png")


def test_a_name_that_is_rebound_leads_nowhere_else(
    lenient: PictureCheck, gallery: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is looked up once: the checked address is called, though the next lookup would give a private one."""
    answers, resolve = iter(["127.0.0.1", "169.254.169.254"]), socket.getaddrinfo
    asked: list[str] = []

    def rebinding(host: str, port: int, *more: Any, **how: Any) -> Any:
        if host == "localhost":
            asked.append(host := next(answers))
        return resolve(host, port, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)

    assert not lenient.check({"image_url": f"{gallery[0].replace('127.0.0.1', 'localhost')}/boat.png"})

    assert asked == ["127.0.0.1"]


@pytest.mark.parametrize(
    "path",
    [
        "/schönes boot.png",
        "/sch%C3%B6nes%20boot.png",
        "/schönes boot.png?ü=1&a=%26",
        "/schönes%20boot.png#bild",
        "/to-raw",
        "/interim",
    ],
)
@pytest.mark.parametrize("host", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_a_url_may_be_written_in_any_letters(
    lenient: PictureCheck, gallery: tuple[str, str], monkeypatch: pytest.MonkeyPatch, host: str, path: str
) -> None:
    """Shops name their pictures in their own language; a browser asks for them all the same."""
    leads_to(monkeypatch, "xn--bcher-kva.example", ["127.0.0.1"])
    assert not lenient.check({"image_url": gallery[0].replace("127.0.0.1", host) + path})


@pytest.mark.parametrize("dead", ["refuses", "is silent"])
def test_a_dead_address_of_a_name_is_passed_over(
    gallery: tuple[str, str], monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    """IPv6 without a route, or a machine of several that is down."""
    port = int(gallery[0].rpartition(":")[2])
    leads_to(monkeypatch, "localhost", ["127.0.0.9", "127.0.0.9", "127.0.0.8", "127.0.0.1"])
    check = PictureCheck(MOST, within_s=3, permits=lambda address: address.startswith("127."), ca_bundle=gallery[1])
    with socket.socket() as listener, socket.socket() as queued, socket.socket() as waiting:
        if dead == "is silent":
            listener.bind(("127.0.0.9", port))
            listener.listen(0)
            queued.connect(("127.0.0.9", port))
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.9", port))
        assert not check.check({"image_url": f"{gallery[0].replace('127.0.0.1', 'localhost')}/boat.png"})


def test_a_name_of_dead_addresses_is_refused_in_time(gallery: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; and one that is not allowed spoils them all."""
    leads_to(monkeypatch, "localhost", [f"127.0.0.{n}" for n in range(2, 60)])
    check = PictureCheck(MOST, within_s=3, permits=lambda address: address != "127.0.0.59", ca_bundle=gallery[1])
    url = f"{gallery[0].replace('127.0.0.1', 'localhost')}/boat.png"
    assert "not on the public internet" in refused(check, url)

    leads_to(monkeypatch, "localhost", [f"127.0.0.{n}" for n in range(2, 59)])
    assert "cannot be fetched (ConnectionError)" in refused(check, url)


def leads_to(monkeypatch: pytest.MonkeyPatch, name: str, addresses: list[str]) -> None:
    """Let a name stand for these addresses."""
    resolve = socket.getaddrinfo

    def resolving(host: str, port: int, *more: Any, **how: Any) -> Any:
        hosts = addresses if host == name else [host]
        return [found for address in hosts for found in resolve(address, port, *more, **how)]

    monkeypatch.setattr(socket, "getaddrinfo", resolving)


@pytest.mark.parametrize(
    "url",
    [
        "https://user@example.com/a.png",
        "https://[::1",
        "https://x:99999/",
        "https://bü cher.example/",
        "https://ü\udcff/",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    """A user in it would hide the host."""
    assert refused(PictureCheck(MOST), url)


def test_base64_is_known_by_its_bytes_too() -> None:
    """With or without the head of a data URL."""
    text = b64encode(PNG).decode()
    for picture in (text, f"data:image/png;base64,{text}", f"data:text/html;base64,{text}"):
        assert not PictureCheck(MOST).check({"image_url": picture})
    assert "must lead to a picture" in refused(PictureCheck(MOST), b64encode(b"<svg onload=alert(1)>").decode())
    assert refused(PictureCheck(MOST), "data:image/png;base64,!!!!")


def test_a_replay_asks_nothing_of_the_world(api: Api, redis_url: str) -> None:
    """The picture may be gone by then; the job is there."""
    body = {"prompt": "it sails", "model": "google/veo-3.0-i2v", "image_url": "https://127.0.0.1/boat.png"}
    refused_first = api.post("/v1/videos", body, Idempotency_Key="order-1")
    settings = Settings.model_validate({"redis": {"url": redis_url}})
    request = VideoRequest("google/veo-3.0-i2v", "it sails", {"image_url": "https://127.0.0.1/boat.png"})
    taken = make_service(settings).submit(request, Terms(idempotency_key="order-1"))

    assert refused_first.status_code == 422
    assert refused_first.json()["errors"] == [
        {"location": "body.image_url", "message": "is not on the public internet"}
    ]
    assert api.post("/v1/videos", body, Idempotency_Key="order-1").json()["id"] == taken.job_id


def test_no_reply_carries_the_picture(api: Api, real_ledger: Ledger, client: "redis.Redis", archive: Path) -> None:
    """A small one is 36 KB, a large one 8 MB, in each poll; the request itself stays whole."""
    picture = f"data:image/png;base64,{b64encode(PNG + bytes(27_000)).decode()}"
    body = {"prompt": "it sails", "model": "google/veo-3.0-i2v", "input_reference": {"image_url": picture}}
    created = api.post("/v1/videos", body)
    job_id = created.json()["id"]
    batch = api.post("/v1/videos/batch", {"requests": [body]})
    cancelled = api.post(f"/v1/videos/{job_id}/cancel")
    retried = api.post(f"/v1/videos/{job_id}/retry", {"pay_again": True})
    replies = [
        created, batch, cancelled, retried,
        api.get(f"/v1/videos/{job_id}"), api.get("/v1/videos"), api.get(f"/v1/videos/{job_id}/events"),
    ]  # fmt: skip

    assert [reply.ok for reply in replies] == [True] * len(replies)
    assert max(len(reply.content) for reply in replies) < 8000
    shown = created.json()["parameters"]["image_url"]
    assert shown == f"data:image/png;base64,… ({len(picture):,} bytes, sha256 {sha256(picture.encode()).hexdigest()})"
    ((_, request),) = real_ledger.get_many([retried.json()["id"]])
    whole = inputs_of(client, Settings.model_validate({"archive": {"dir": archive}})).whole(request)
    assert whole.parameters["image_url"] == picture
