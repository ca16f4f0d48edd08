"""Every request takes the same way, through the environment's proxy or directly, and it is the right one."""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from config.settings import ArchiveSettings, UpstreamSettings, WebhooksSettings
from config.store import FolderStore
from config.webhook_endpoints import secret_of
from jobs.facts import Fetched, NotBought
from jobs.job import Family, Hold, Video
from producer.client import AsyncRushes, Rushes, RushesError
from producer.client.proxies import Proxies
from tests.stage import a_request
from tests.worker.films import MP4
from tests.worker.servers import Server, answer
from worker.archive.archive import Archive
from worker.receivers.webhooks import WebhookSender
from worker.upstream.access import MOST_REPLY_BYTES, UpstreamAccess
from worker.upstream.client import Upstream
from worker.upstream.poller import Poller

HOST: Final = "http://api.invalid"  # RFC 6761: it never resolves, so that nobody but a proxy can answer for it


@contextmanager
def upstream_at(url: str, *, reply_bytes: int = MOST_REPLY_BYTES, **chosen: Any) -> Iterator[tuple[Upstream, Poller]]:
    """The client that buys and the one that polls."""
    settings = UpstreamSettings.model_validate({"base_url": url, "api_key": "sk-0123456789abcdef", **chosen})
    access = UpstreamAccess.of(settings)
    poller = Poller(access, settings, connections=2, reply_bytes=reply_bytes)
    with closing(Upstream(access, settings)) as upstream, closing(poller):
        yield upstream, poller


def purchase(url: str, _: Path) -> None:
    """Buy one generation."""
    with upstream_at(url) as (upstream, _poller):
        upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1")


def poll(url: str, _: Path) -> None:
    """Poll one generation."""
    with upstream_at(url) as (_upstream, poller):
        poller.poll("g", Family.UNIVERSAL)


def log_page(url: str, _: Path) -> None:
    """Read the request log."""
    with upstream_at(url) as (upstream, _poller):
        upstream.log_page("google/veo3", 0)


def download(url: str, folder: Path) -> None:
    """Fetch a video."""
    archive = Archive(FolderStore(folder), folder, ArchiveSettings(), permits=lambda _: True)
    with closing(archive):
        archive.fetch("job_01jd8hwz80qx3c5v7m9k2n4p6r", 1, Video(f"{url}/x.mp4"))


def webhook(url: str, _: Path) -> None:
    """Call a receiver."""
    sender = WebhookSender(WebhooksSettings(allow_private=True), connections=1)
    sender.send(url, "job_1.completed", "{}", [secret_of(b"k" * 32, "wh_1", 1)], now=datetime.now(UTC))


def client(url: str, _folder: Path) -> None:
    """Ask the API with the client library."""
    with Rushes(url, pause=lambda _: None) as rushes, suppress(RushesError, KeyError):
        rushes.job("job_1").status()


def async_client(url: str, _: Path) -> None:
    """Ask the API with the asynchronous client."""

    async def ask() -> None:
        async with AsyncRushes(url, pause=lambda _: asyncio.sleep(0)) as rushes:
            with suppress(RushesError, KeyError):
                await rushes.job("job_1").status()

    asyncio.run(ask())


WAYS: Final[list[Callable[[str, Path], None]]] = [
    purchase,
    poll,
    log_page,
    download,
    webhook,
    client,
    async_client,
]

PROXIED: Final = {
    "http_proxy": {"http_proxy": "PROXY"},
    "HTTP_PROXY": {"HTTP_PROXY": "PROXY"},
    "all_proxy": {"all_proxy": "PROXY"},
    "ALL_PROXY": {"ALL_PROXY": "PROXY"},
    "without a scheme": {"all_proxy": "HOSTPORT"},
    "in capitals": {"all_proxy": "HTTP://HOSTPORT/"},
    "with a path and spaces": {"all_proxy": " PROXY/some/where "},
    "for http before all": {"http_proxy": "PROXY", "all_proxy": "http://127.0.0.1:1"},
    "lower case before upper": {"all_proxy": "PROXY", "ALL_PROXY": "http://127.0.0.1:1"},
    "set to nothing for http": {"http_proxy": "", "all_proxy": "PROXY"},
    "a visitor's header in CGI": {"HTTP_PROXY": "http://127.0.0.1:1", "REQUEST_METHOD": "GET", "all_proxy": "PROXY"},
    "exempt: another domain": {"all_proxy": "PROXY", "no_proxy": "example.com,notapi.invalid,i.invalid"},
    "exempt: another port": {"all_proxy": "PROXY", "no_proxy": "api.invalid:8080"},
    "exempt: a subdomain": {"all_proxy": "PROXY", "no_proxy": "eu.api.invalid"},
    "exempt: networks": {"all_proxy": "PROXY", "NO_PROXY": "10.0.0.0/8,::1,fd00::/8"},
    "exempt: upper case, but lower case says no": {"all_proxy": "PROXY", "NO_PROXY": "*", "no_proxy": ""},
}
DIRECT: Final = {
    "no proxy": {},
    "only for https": {"https_proxy": "PROXY", "HTTPS_PROXY": "PROXY"},
    "lower case set to nothing": {"all_proxy": "", "ALL_PROXY": "PROXY"},
    "all are exempt": {"all_proxy": "PROXY", "no_proxy": "*"},
    "all are exempt, among others": {"http_proxy": "PROXY", "NO_PROXY": "localhost, *"},
    "the host": {"all_proxy": "PROXY", "no_proxy": "example.com,api.invalid"},
    "the host, between spaces": {"all_proxy": "PROXY", "NO_PROXY": "example.com api.invalid"},
    "the host in capitals": {"all_proxy": "PROXY", "no_proxy": "API.Invalid"},
    "the host with its port": {"all_proxy": "PROXY", "no_proxy": "api.invalid:80"},
    "the domain": {"http_proxy": "PROXY", "no_proxy": "invalid"},
    "the domain behind a dot": {"http_proxy": "PROXY", "no_proxy": ".invalid"},
    "the domain behind a star": {"http_proxy": "PROXY", "no_proxy": "*.invalid"},
    "the domain with a port": {"http_proxy": "PROXY", "no_proxy": ".invalid:80"},
}


@pytest.fixture(autouse=True)
def _no_cgi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUEST_METHOD", raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str) -> None:
    """Set the variables, with the proxy's address in them."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("HOSTPORT", proxy.rpartition("/")[2]).replace("PROXY", proxy))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("variables", PROXIED.values(), ids=PROXIED)
def test_every_way_goes_through_the_proxy_that_the_environment_names(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Callable[..., None], variables: dict[str, str]
) -> None:
    """Where purchases got out and polls did not, paid jobs expired."""
    set_all(monkeypatch, variables, server.url)
    server.on(answer(b"{}"))
    way(HOST, tmp_path)
    assert {request.target.startswith(f"{HOST}/") for request in server.received} == {True}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("variables", DIRECT.values(), ids=DIRECT)
def test_every_way_goes_directly_where_the_environment_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Callable[..., None], variables: dict[str, str]
) -> None:
    """A host of one's own behind the proxy's back must not be asked for at the proxy."""
    set_all(monkeypatch, variables, server.url)
    way(HOST, tmp_path)
    assert server.connections == 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("127.0.0.1", ""),
        ("localhost", ""),
        ("0.0.0.0", "0.0.0.0"),  # this machine, by an address that may be proxied
        ("0.0.0.0", "10.0.0.0/8,0.0.0.0/8"),
        ("0.0.0.0", "0.0.0.0:PORT"),
        ("[::ffff:0.0.0.0]", "0.0.0.0/8"),
    ],
)
def test_every_way_reaches_this_machine_and_exempt_addresses_without_the_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Callable[..., None], host: str, exempt: str
) -> None:
    """The sandbox and `rushes up` live here."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    port = server.url.rpartition(":")[2]
    monkeypatch.setenv("no_proxy", exempt.replace("PORT", port))
    server.on(answer(b"{}"))
    way(f"http://{host}:{port}", tmp_path)
    assert server.received


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_goes_through_a_socks_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Callable[..., None], scheme: str
) -> None:
    """`ssh -D`, Tor and desktops offer one."""
    server.on(answer(b"{}"))
    port = int(server.url.rpartition(":")[2])
    with socks_proxy(port) as (address, asked):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:pass%20word@{address}")
        way("http://0.0.0.0:81" if scheme == "socks5" else HOST, tmp_path)
    assert asked
    assert server.received


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_the_client_says_in_a_sentence_what_it_cannot_use(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The error is no traceback of a library that the caller does not know; this machine is reached all the same."""
    monkeypatch.setenv("all_proxy", f"{scheme}://user:hunter2@127.0.0.1:1")
    for client in (Rushes, AsyncRushes):
        with pytest.raises(RushesError, match="socks5:// or http://") as refused:
            client(HOST)
        assert "hunter2" not in str(refused.value)
        client("http://localhost:8000")


def test_the_client_says_what_to_install_for_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx2 brings no SOCKS of its own."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(RushesError, match=r"pip install 'httpx2\[socks\]'"):
        Rushes(HOST)
    Rushes("http://127.0.0.1:8000").close()


@pytest.mark.parametrize("kind", ["socks4", "socks4a"])
def test_a_worker_goes_through_socks4(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """Both libcurl and PySocks speak it."""
    server.on(answer(b"{}"))
    with socks_proxy(int(server.url.rpartition(":")[2])) as (address, asked):
        monkeypatch.setenv("ALL_PROXY", f"{kind}://{address}")
        for way in (purchase, poll, log_page, download, webhook):
            way("http://0.0.0.0:81" if kind == "socks4" else HOST, tmp_path)
            assert asked.pop()
    assert len(server.received) == 5


def test_a_purchase_that_a_socks_proxy_refuses_is_not_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected to the proxy is not connected to the upstream."""
    with socks_proxy(1) as (address, _):
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{address}")
        with upstream_at(HOST) as (upstream, _):
            receipt = upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    assert isinstance(receipt, NotBought)
    assert receipt.hold is Hold.UNREACHABLE


def test_a_certificate_is_judged_behind_a_socks_proxy_too(
    secured_server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is the upstream's, whatever is between."""
    secured_server.on(answer(b'{"id":"gen-1","status":"queued"}'))
    with socks_proxy(int(secured_server.url.rpartition(":")[2])) as (address, _):
        monkeypatch.setenv("https_proxy", f"socks5h://{address}")
        settings = UpstreamSettings.model_validate(
            {"base_url": "https://0.0.0.0", "api_key": "sk-0123456789abcdef", "ca_bundle": certificate}
        )
        with closing(Upstream(UpstreamAccess.of(settings), settings)) as upstream:
            receipt = upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    assert isinstance(receipt, NotBought), "the certificate is for 127.0.0.1"
    assert "SSLError" in receipt.message
    assert not secured_server.received


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"https_proxy": "p.example"}, "https://x.example", "http://p.example:80"),
        ({"https_proxy": "https://u:p%40@p.example"}, "https://x.example", "https://u:p%40@p.example:443"),
        ({"all_proxy": "socks://[fd00::1]"}, "https://x.example", "socks5h://[fd00::1]:1080"),
        ({"all_proxy": "http://p", "no_proxy": "[fd00::1]:443"}, "https://[fd00::1]", None),
        ({"all_proxy": "http://p", "no_proxy": "[fd00::1]:443"}, "https://[fd00::1]:8443", "http://p:80"),
        ({"all_proxy": "http://p", "no_proxy": "fd00::/8"}, "https://[fd12::9]:8443/x", None),
        ({"all_proxy": "http://p", "no_proxy": "[fd00::1]"}, "https://[fd00::1]", None),
        ({"all_proxy": "http://p", "no_proxy": "10.0.0.0/8:8080"}, "http://10.1.1.1:8080", None),
        ({"all_proxy": "http://p", "no_proxy": "10.0.0.0/8:8080"}, "http://10.1.1.1", "http://p:80"),
        ({"all_proxy": "http://p", "no_proxy": "10.0.0.0/33,0.1,"}, "http://10.0.0.1", "http://p:80"),
        ({"all_proxy": "http://p", "no_proxy": "x.example."}, "http://X.example./y", None),
        ({"all_proxy": "http://p"}, "http://[::1]:8000", None),
        ({"all_proxy": "http://p"}, "http://127.9.9.9", None),
        ({"all_proxy": "http://p"}, "http://shop.localhost", None),
        ({"all_proxy": "http://p"}, "http://localhost.example", "http://p:80"),
    ],
)
def test_the_rule(variables: dict[str, str], url: str, proxy: str | None) -> None:
    """Networks, brackets and ports, which no two libraries read alike."""
    assert Proxies.of_environment(variables).for_url(url) == proxy


@pytest.mark.parametrize(
    "value", ["ftp://u:hunter2@p", "http://", "http://u:hunter2@p:99999", "http://[hunter2", "://p", "http://a b"]
)
def test_a_variable_that_is_no_proxy_stops_the_worker_at_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Better than a queue that waits for a connection for ever; a password in it is not repeated."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ValueError, match="HTTPS_PROXY is no proxy's address") as refused:
        UpstreamAccess.of(UpstreamSettings.model_validate({"api_key": "sk-0123456789abcdef"}))
    assert "hunter2" not in str(refused.value)


def test_an_address_in_a_url_is_judged_before_a_proxy_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy may reach what a stranger must not be shown; names are the proxy's to resolve."""
    monkeypatch.setenv("http_proxy", server.url)
    server.on(answer(MP4))
    archive = Archive(FolderStore(tmp_path), tmp_path, ArchiveSettings(), permits=lambda address: address == "8.8.8.8")
    with closing(archive):
        for host in ("10.0.0.1", "[fd00::1]", "0x0a.1", "167772161", "[::ffff:10.0.0.1]"):
            archive.fetch("job_01jd8hwz80qx3c5v7m9k2n4p6r", 1, Video(f"http://{host}/x.mp4"))
        assert server.connections == 0
        for host in ("cdn.invalid", "8.8.8.8"):
            assert isinstance(archive.fetch("job_01jd8hwz80qx3c5v7m9k2n4p6r", 1, Video(f"http://{host}/x")), Fetched)


@contextmanager
def socks_proxy(target: int) -> Iterator[tuple[str, list[bytes]]]:
    """A SOCKS 4, 4a and 5 proxy that leads everybody to one port here; what it was asked for."""
    asked: list[bytes] = []

    def serve(near: socket.socket) -> None:
        with suppress(OSError), near:
            stream = near.makefile("rb")
            reply = _socks5(near, stream, asked) if stream.read(1) == b"\5" else _socks4(stream, asked)
            try:
                far = socket.create_connection(("127.0.0.1", target), timeout=10)
            except OSError:
                near.sendall(reply[:1] + b"\5" + reply[2:])
                return
            near.sendall(reply)
            with far:
                back = threading.Thread(target=_pump, args=(far, near))
                back.start()
                _pump(near, far)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)


def _socks5(near: socket.socket, stream: Any, asked: list[bytes]) -> bytes:
    """RFC 1928, with RFC 1929's password if one is offered."""
    methods = stream.read(stream.read(1)[0])
    near.sendall(b"\5\2" if b"\2" in methods else b"\5\0")
    if b"\2" in methods:
        stream.read(1)
        assert (stream.read(stream.read(1)[0]), stream.read(stream.read(1)[0])) == (b"user", b"pass word")
        near.sendall(b"\1\0")
    kind = stream.read(4)[3]
    asked.append(stream.read(4 if kind == 1 else stream.read(1)[0]) + stream.read(2))
    return b"\5\0\0\1" + bytes(6)


def _socks4(stream: Any, asked: list[bytes]) -> bytes:
    """SOCKS 4, and 4a's name behind an address that is none."""
    _command, _port, address = stream.read(1), stream.read(2), stream.read(4)
    user = _until_zero(stream)
    asked.append(_until_zero(stream) if address[:3] == bytes(3) and address[3] else address + user)
    return b"\0\x5a" + bytes(6)


def _until_zero(stream: Any) -> bytes:
    return b"".join(iter(lambda: stream.read(1), b"\0"))


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
