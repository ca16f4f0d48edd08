"""The client against a server that misbehaves: what was never sent was not bought, everything else is unknown."""

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from config.sending import sending_s
from config.settings import CONNECT_S, UpstreamSettings
from jobs.facts import Accepted, Finished, NoResult, NotBought, Pending, PollResult, Receipt, Rejected, Unknown
from jobs.job import Family, Hold, VideoRequest
from tests.stage import Clock, a_request, eventually
from tests.worker.servers import REFUSING, Act, Server, Wire, after, answer, hang, reset, say_nothing
from worker.upstream.access import MOST_REPLY_BYTES, RETRY_AFTER_CEILING_S, UpstreamAccess
from worker.upstream.client import Upstream
from worker.upstream.poller import UNUSED_S, Poller, PollRequest, Seen

KEY: Final = "sk-0123456789abcdef"
CONNECTIONS: Final = 8
REQUEST_ID: Final = "job_01.a-1"
ELSEWHERE: Final = "http://api.invalid"  # RFC 6761: it never resolves, so that only a proxy can answer for it
ACCEPTED: Final = b'{"id":"gen-1","status":"queued","meta":{"usage":{"credits_used":1040000,"usd_spent":0.52}}}'


@contextmanager
def upstream_at(
    url: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    connect_s: float = CONNECT_S,
    reply_bytes: int = MOST_REPLY_BYTES,
    **settings: Any,
) -> Iterator[Upstream]:
    """A client with short time-outs."""
    choice = chosen(url, **settings)
    upstream = Upstream(UpstreamAccess.of(choice), choice, clock=clock, connect_s=connect_s, reply_bytes=reply_bytes)
    try:
        yield upstream
    finally:
        upstream.close()


@contextmanager
def poller_at(
    url: str, *, reply_bytes: int = MOST_REPLY_BYTES, unused_s: float = UNUSED_S, **settings: Any
) -> Iterator[Poller]:
    """A poller with short time-outs."""
    choice, sizes = chosen(url, **settings), {"connections": CONNECTIONS, "reply_bytes": reply_bytes}
    poller = Poller(UpstreamAccess.of(choice), choice, **sizes, unused_s=unused_s)
    try:
        yield poller
    finally:
        poller.close()


def chosen(url: str, **settings: Any) -> UpstreamSettings:
    """Settings with short time-outs."""
    short = {"total_timeout_s": 10, **settings}
    return UpstreamSettings.model_validate({"base_url": url, "api_key": KEY, **short})


def buy(url: str, **settings: Any) -> Receipt:
    """Submit the documentation's own request once."""
    with upstream_at(url, **settings) as upstream:
        return upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID)


def posts(server: Server) -> int:
    """How many purchases the server has read."""
    return sum(request.method == "POST" for request in server.received)


@pytest.mark.parametrize(
    ("family", "path"),
    [(Family.UNIVERSAL, "/v2/video/generations"), (Family.GOOGLE, "/v2/generate/video/google/generation")],
)
def test_a_purchase_carries_exactly_what_was_requested(server: Server, family: Family, path: str) -> None:
    """The upstream's schema is strict, and the request id is how a lost receipt is found again."""
    server.on(answer(ACCEPTED, status="201 Created"))
    request = VideoRequest("google/veo3", "дракон 🐉", {"duration": 4, "generate_audio": False}, {"mine": "alone"})

    with upstream_at(server.url) as upstream:
        receipt = upstream.submit(request, family, REQUEST_ID)

    assert receipt == Accepted("gen-1", 0.52)
    [received] = server.received
    assert (received.method, received.target) == ("POST", path)
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["x-client-request-id"] == REQUEST_ID
    assert received.headers["content-type"] == "application/json"
    assert json.loads(received.body) == {
        "model": "google/veo3",
        "prompt": "дракон 🐉",
        "duration": 4,
        "generate_audio": False,
    }


@pytest.mark.parametrize("base", ["", "/", "/prefix", "/prefix/"])
def test_a_base_url_may_have_a_path_and_a_closing_slash(server: Server, base: str) -> None:
    """A gateway in front of the upstream often lives below a path."""
    server.on(answer(ACCEPTED))
    assert buy(server.url + base) == Accepted("gen-1", 0.52)
    assert server.received[0].target == f"{base.rstrip('/')}/v2/video/generations"


@pytest.mark.parametrize(
    ("family", "path"),
    [(Family.UNIVERSAL, "/v2/video/generations"), (Family.GOOGLE, "/v2/generate/video/google/generation")],
)
@pytest.mark.parametrize(
    "generation_id", ["df43b636:google/veo3", "a:b/c?&=#", "-R5w9EV", "12345", "cgt-1", "a b%20+ü"]
)
def test_a_poll_escapes_the_generation_id(server: Server, family: Family, path: str, generation_id: str) -> None:
    """Ids are opaque: one that reads as a piece of a URL must arrive as it was given."""
    server.on(answer(b'{"status":"generating"}'))

    with poller_at(server.url) as poller:
        assert poller.poll(generation_id, family) == Pending("generating")

    [request] = server.received
    address = urlsplit(request.target)
    assert (request.method, address.path, address.fragment) == ("GET", path, "")
    assert parse_qs(address.query, strict_parsing=True) == {"generation_id": [generation_id]}
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_finished_generation_is_read_with_its_video(server: Server) -> None:
    """The poll returns the video's address with everything known of it."""
    server.on(answer(b'{"id":"g","status":"completed","video":{"url":"https://cdn/x.mp4"}}'))
    with poller_at(server.url) as poller:
        seen = poller.poll("g", Family.UNIVERSAL)
    assert isinstance(seen, Finished)
    assert seen.video.url == "https://cdn/x.mp4"


# What was never sent


def test_a_refused_connection_buys_nothing() -> None:
    """Nobody listened, so nothing was sent."""
    receipt = buy(REFUSING)
    assert isinstance(receipt, NotBought)
    assert receipt.hold is Hold.UNREACHABLE


def test_a_name_that_does_not_resolve_buys_nothing() -> None:
    """RFC 6761 promises that .invalid never resolves."""
    receipt = buy("https://api.invalid")
    assert isinstance(receipt, NotBought)
    assert receipt.hold is Hold.UNREACHABLE


@contextmanager
def full_backlog() -> Iterator[str]:
    """An address at which a connection is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as queued:
            queued.setblocking(False)
            queued.connect_ex(address)
            yield f"http://127.0.0.1:{address[1]}"


def test_a_connection_that_is_never_made_buys_nothing() -> None:
    """A full backlog answers nothing at all: the connect time-out proves that nothing was sent."""
    with full_backlog() as url:
        receipt = buy(url, total_timeout_s=0.3)
    assert receipt == NotBought(Hold.UNREACHABLE, "no connection to the upstream (ConnectTimeout)")


def test_a_plain_server_on_a_secure_address_buys_nothing(server: Server) -> None:
    """The TLS handshake fails before a byte of the request leaves."""
    server.on(answer(ACCEPTED))
    receipt = buy(server.url.replace("http", "https"))
    assert isinstance(receipt, NotBought)
    assert not server.received


def test_a_certificate_that_nobody_signed_buys_nothing(secured_server: Server) -> None:
    """Neither the request nor the key goes to somebody unproven."""
    secured_server.on(answer(ACCEPTED))
    receipt = buy(secured_server.url)
    assert isinstance(receipt, NotBought)
    assert "SSLError" in receipt.message
    assert not secured_server.received


def test_a_ca_bundle_of_ones_own_is_trusted(secured_server: Server, certificate: Path) -> None:
    """Many companies inspect TLS with a CA of their own."""
    secured_server.on(answer(ACCEPTED))
    assert buy(secured_server.url, ca_bundle=certificate) == Accepted("gen-1", 0.52)


def test_a_poll_trusts_a_ca_bundle_wherever_it_lies(secured_server: Server, certificate: Path, tmp_path: Path) -> None:
    """A folder's name may hold any character."""
    bundle = tmp_path / "josé" / "ca.pem"
    bundle.parent.mkdir()
    bundle.write_bytes(certificate.read_bytes())
    secured_server.on(answer(b'{"status":"queued"}'))
    with poller_at(secured_server.url, ca_bundle=bundle) as poller:
        assert poller.poll("g", Family.UNIVERSAL) == Pending("queued")
    with poller_at(secured_server.url) as stranger:
        assert isinstance(stranger.poll("g", Family.UNIVERSAL), NoResult)


def test_a_purchase_over_tls_whose_reply_is_lost_is_unknown(secured_server: Server, certificate: Path) -> None:
    """A handshake that succeeded makes the difference: now the request has left."""
    secured_server.on(reset)
    assert isinstance(buy(secured_server.url, ca_bundle=certificate), Unknown)
    assert posts(secured_server) == 1


def test_a_poll_without_a_connection_decides_nothing() -> None:
    """The generation goes on without us."""
    with poller_at(REFUSING) as poller:
        seen = poller.poll("g", Family.UNIVERSAL)
    assert isinstance(seen, NoResult)
    assert seen.hold is Hold.UNREACHABLE


# What was sent, and then


def broken_status_line(wire: Wire) -> None:
    """Send what is no HTTP."""
    wire.send(b"\x00\x01\x02 what?\r\n\r\n")


def half_a_status_line(wire: Wire) -> None:
    """Ends within the first line."""
    wire.send(b"HTTP/1.1 20")


def half_the_headers(wire: Wire) -> None:
    """Ends within the headers, resetting."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.reset()


def two_lengths(wire: Wire) -> None:
    """Announces two lengths."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 7\r\n\r\n{}")


def countless_headers(wire: Wire) -> None:
    """More headers than any client reads."""
    wire.send(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500 + b"\r\n{}")


def nothing_but_continue(wire: Wire) -> None:
    """Send 100 Continue, and close."""
    wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")


LOST: Final[list[Act]] = [
    reset,
    say_nothing,
    broken_status_line,
    half_a_status_line,
    half_the_headers,
    two_lengths,
    countless_headers,
    nothing_but_continue,
]


@pytest.mark.parametrize("act", LOST, ids=lambda act: act.__name__)
def test_a_lost_reply_leaves_the_purchase_unknown_and_is_not_repeated(server: Server, act: Act) -> None:
    """There is no idempotency key: a second POST may buy a second video."""
    server.on(act)
    assert isinstance(buy(server.url), Unknown)
    assert posts(server) == 1
    assert server.connections == 1


@pytest.mark.parametrize("act", [act for act in LOST if act is not countless_headers], ids=lambda act: act.__name__)
def test_a_lost_reply_to_a_poll_decides_nothing(server: Server, act: Act) -> None:
    """Polling is free: once more over a fresh connection at the most, then the next poll is the repetition."""
    server.on(act)
    with poller_at(server.url) as poller:
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)
    assert len(server.received) <= 2


def test_silence_past_the_read_time_out_is_unknown(server: Server) -> None:
    """The video may be in the making; only the upstream's log shows it."""
    server.on(hang)
    assert buy(server.url, total_timeout_s=0.4) == Unknown(
        "the reply was lost after the request was sent (ReadTimeout)"
    )
    assert posts(server) == 1


def test_silence_past_the_read_time_out_of_a_poll_decides_nothing(server: Server) -> None:
    """A silent upstream must not hold a thread."""
    server.on(hang)
    with poller_at(server.url, total_timeout_s=0.4) as poller:
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)


def slow_headers(wire: Wire) -> None:
    """Send headers slowly, without an end."""
    wire.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    wire.trickle(b"z")


def slow_body(wire: Wire) -> None:
    """Send the body slowly, without an end."""
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    wire.trickle(b" ")


@pytest.mark.parametrize("act", [slow_headers, slow_body])
def test_a_trickling_reply_ends_with_its_total_time(server: Server, act: Act) -> None:
    """The rescuer counts on it: past the lease no worker may still be reading its receipt."""
    server.on(act)
    started = time.monotonic()
    receipt = buy(server.url, total_timeout_s=0.5)
    assert isinstance(receipt, Unknown)
    assert time.monotonic() - started < 15
    assert posts(server) == 1


@pytest.mark.parametrize("act", [slow_headers, slow_body])
def test_a_trickling_poll_ends_with_its_total_time(server: Server, act: Act) -> None:
    """Sixteen trickling polls would block every thread of a worker."""
    server.on(act)
    with poller_at(server.url, total_timeout_s=0.5) as poller:
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)


def test_the_total_time_goes_by_the_clock_given(server: Server) -> None:
    """Time is an argument: a test need not wait a minute."""
    clock = Clock()

    def late(wire: Wire) -> None:
        clock.advance(60 + sending_s(1000))
        answer(ACCEPTED)(wire)

    server.on(late)
    assert isinstance(buy(server.url, clock=clock), Unknown)


def test_a_reply_longer_than_allowed_is_not_read(server: Server) -> None:
    """A stranger's reply must not fill our memory; what the headers prove still counts."""
    server.on(answer(b'{"id":"gen-1","pad":"' + b"x" * 10_000 + b'"}'))
    assert isinstance(buy(server.url, reply_bytes=4096), Unknown)


def test_a_compressed_reply_is_measured_unpacked(server: Server) -> None:
    """Fifty kilobytes of gzip unpack to fifty megabytes."""
    server.on(answer(gzip.compress(b" " * 5_000_000 + ACCEPTED), Content_Encoding="gzip"))
    assert isinstance(buy(server.url), Unknown)


def test_a_compressed_reply_is_read(server: Server) -> None:
    """We offer gzip, so we must understand it."""
    server.on(answer(gzip.compress(ACCEPTED), Content_Encoding="gzip"))
    assert buy(server.url) == Accepted("gen-1", 0.52)


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(answer(b'{"id":"gen', length=500, x_inference_id="gen-9"), id="cut short"),
        pytest.param(answer(b"z\r\n", length=-1, Transfer_Encoding="chunked", x_inference_id="gen-9"), id="bad chunk"),
        pytest.param(answer(b"no gzip", Content_Encoding="gzip", x_inference_id="gen-9"), id="bad gzip"),
        pytest.param(answer(b"{" * 9999, x_inference_id="gen-9"), id="no JSON"),
        pytest.param(answer(b"", x_inference_id="gen-9"), id="empty"),
        pytest.param(answer(b"x" * 2_000_000, x_inference_id="gen-9"), id="too long"),
    ],
)
def test_an_acceptance_whose_body_broke_is_still_an_acceptance(server: Server, act: Act) -> None:
    """Status and header came whole: the generation's id is known and paid for."""
    server.on(act)
    assert buy(server.url) == Accepted("gen-9", None)
    assert posts(server) == 1


# Redirects, and who sees the key


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(server: Server, other_server: Server, status: str) -> None:
    """A redirected POST is a second POST, and the key would go wherever the reply points."""
    other_server.on(answer(ACCEPTED))
    server.on(answer(b"", status=status, Location=f"{other_server.url}/v2/video/generations"))

    with upstream_at(server.url) as upstream, poller_at(server.url) as poller:
        receipt = upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID)
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)

    assert isinstance(receipt, NotBought)
    assert receipt.hold is Hold.MISCONFIGURED
    assert f"redirects to {other_server.url};" in receipt.message
    assert len(server.received) == 2
    assert other_server.connections == 0


def test_a_303_is_not_followed_and_leaves_the_purchase_unknown(server: Server, other_server: Server) -> None:
    """It shows what came of a request that was carried out."""
    server.on(answer(b"", status="303 See Other", Location=f"{other_server.url}/elsewhere"))
    assert isinstance(buy(server.url), Unknown)
    assert other_server.connections == 0


@pytest.mark.parametrize("location", ["http://[", "\udcff\udcfe", "//", "ftp://x", "http://a:b"])
def test_a_redirect_to_nowhere_is_only_a_status(server: Server, location: str) -> None:
    """`requests` parses a redirect's target even when it is not to be followed, and raises for these."""
    server.on(answer(b"", status="302 Found", Location=location))
    with upstream_at(server.url) as upstream, poller_at(server.url) as poller:
        receipt = upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID)
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)
    assert isinstance(receipt, NotBought)
    assert receipt.hold is Hold.MISCONFIGURED


def test_the_body_of_a_redirect_is_bounded_too(server: Server) -> None:
    """`requests` reads a redirect's body to its end before it hands out the status."""

    def endless(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")
        wire.trickle(b"x" * 65_536, every_s=0.001)

    server.on(endless)
    assert buy(server.url, reply_bytes=100_000) == NotBought(
        Hold.MISCONFIGURED, "302: the address redirects to /x; set RUSHES_UPSTREAM__BASE_URL to the API's own"
    )


def test_what_the_environment_says_later_changes_nothing(
    server: Server, other_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or a .netrc that turns up under way must not carry a request or replace the key."""
    server.on(answer(ACCEPTED))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 0.0.0.0 login somebody password else\n")
    url = server.url.replace("127.0.0.1", "0.0.0.0")  # this machine too, by an address that may be proxied
    with upstream_at(url) as upstream, poller_at(url) as poller:
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other_server.url)
        assert upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID) == Accepted("gen-1", 0.52)
        poller.poll("g", Family.UNIVERSAL)

    assert [request.headers["authorization"] for request in server.received] == [f"Bearer {KEY}"] * 2
    assert other_server.connections == 0


def test_a_reply_that_a_proxy_loses_is_unknown(other_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a company's proxy there is no other way out; a reply that it loses is as unknown as any."""
    monkeypatch.setenv("http_proxy", other_server.url)
    other_server.on(answer(ACCEPTED))
    assert buy(ELSEWHERE) == Accepted("gen-1", 0.52)
    assert other_server.received[0].target == f"{ELSEWHERE}/v2/video/generations"

    other_server.on(reset)
    assert isinstance(buy(ELSEWHERE), Unknown)
    assert posts(other_server) == 2


def test_a_proxy_that_makes_no_tunnel_buys_nothing(other_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected to the proxy is not connected to the upstream."""
    monkeypatch.setenv("https_proxy", other_server.url)
    other_server.on(answer(b"no", status="403 Forbidden"))
    receipt = buy("https://api.invalid")
    assert isinstance(receipt, NotBought)
    assert [request.method for request in other_server.received] == ["CONNECT"]


def test_what_a_proxy_says_of_a_tunnel_is_not_what_the_upstream_says(
    other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its word alone nothing is known of a generation."""
    monkeypatch.setenv("https_proxy", other_server.url)
    for word in ("403 Forbidden", "200 Connection established"):
        other_server.on(answer(b"", status=word))
        with poller_at("https://api.invalid") as poller:
            seen = poller.poll("g", Family.UNIVERSAL)
        assert isinstance(seen, NoResult)
        assert "no answer from the upstream" in seen.message


KEY_PLAYS: Final = {
    "accepted": answer(ACCEPTED),
    "reset": reset,
    "broken": broken_status_line,
    "refused, quoting it": answer(f'{{"message":"{KEY} is no key"}}'.encode(), status="401 Unauthorized"),
    "rejected, quoting it": answer(f'{{"message":"{KEY}?"}}'.encode(), status="400 Bad Request"),
    "broken page, quoting it": answer(f"<p>Bearer {KEY}</p>".encode(), status="502 Bad Gateway"),
    "failed, quoting it": answer(f'{{"status":"error","error":"key {KEY}"}}'.encode()),
}


@pytest.mark.parametrize("act", KEY_PLAYS.values(), ids=KEY_PLAYS)
def test_the_key_is_shown_to_nobody(server: Server, act: Act, caplog: pytest.LogCaptureFixture) -> None:
    """Messages go to the ledger, the terminal and the logs; the key belongs in none of them."""
    caplog.set_level(logging.DEBUG)
    server.on(act)
    with upstream_at(server.url) as upstream, poller_at(server.url) as poller:
        receipt = upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID)
        seen = poller.poll("g", Family.UNIVERSAL)
        shown = [repr(receipt), repr(seen), repr(upstream), str(upstream), caplog.text, repr(caplog.records)]
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize("key", ["sk-line\n", "sk two words", "", "ключ-от-всего"])
def test_a_key_that_no_header_can_carry_stops_the_worker_at_start(key: str) -> None:
    """A line break from a secret file would otherwise fail each purchase as if the network were down."""
    settings = UpstreamSettings.model_validate({"base_url": REFUSING, "api_key": key})
    with pytest.raises(ValueError, match="RUSHES_UPSTREAM__API_KEY") as caught:
        UpstreamAccess.of(settings)
    assert not key or key not in str(caught.value)


def test_without_a_key_there_is_no_client() -> None:
    """An error at the start is better than one at the first purchase."""
    with pytest.raises(ValueError, match="RUSHES_UPSTREAM__API_KEY is not set"):
        UpstreamAccess.of(UpstreamSettings.model_validate({"base_url": REFUSING}))


# What the reply says


def test_a_wait_is_obeyed_up_to_the_ceiling(server: Server) -> None:
    """A mistaken Retry-After of a year must not park a job for a year."""
    server.on(answer(b"{}", status="429 Too Many Requests", Retry_After="99999999"))
    with upstream_at(server.url) as upstream, poller_at(server.url) as poller:
        receipt = upstream.submit(a_request(), Family.UNIVERSAL, REQUEST_ID)
        seen = poller.poll("g", Family.UNIVERSAL)
    assert receipt == NotBought(Hold.THROTTLED, "429", RETRY_AFTER_CEILING_S)
    assert seen == NoResult(Hold.THROTTLED, "429", RETRY_AFTER_CEILING_S)


def test_a_refusal_over_http_is_a_rejection(server: Server) -> None:
    """The request can never go through; the reason is the producer's to read."""
    server.on(answer(b'{"message":"no such model"}', status="404 Not Found"))
    assert buy(server.url) == Rejected("404 no such model")


def test_polls_survive_that_the_server_closes_its_connections(server: Server) -> None:
    """Keep-alive saves a handshake a poll; the server may close at any time."""
    server.on(answer(b'{"status":"queued"}'))
    with poller_at(server.url) as poller:
        assert [poller.poll("g", Family.UNIVERSAL) for _ in range(3)] == [Pending("queued")] * 3


def test_a_poll_reads_what_is_packed_unasked_and_measures_it_unpacked(server: Server) -> None:
    """We ask for plain bytes; a server between us and the upstream may know better."""
    with poller_at(server.url, reply_bytes=4096) as poller:
        server.on(answer(gzip.compress(b'{"status":"queued"}'), Content_Encoding="gzip"))
        assert poller.poll("g", Family.UNIVERSAL) == Pending("queued")
        server.on(answer(gzip.compress(b'{"status":"queued"}' + b" " * 5_000_000), Content_Encoding="gzip"))
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)


def test_all_are_polled_with_no_more_connections_than_chosen(server: Server) -> None:
    """Threads that poll at the same time share them."""
    lock, now, most = threading.Lock(), 0, 0

    def counted(wire: Wire) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        eventually(lambda: now == CONNECTIONS or len(server.received) > 60, what="a full house")
        with lock:
            now -= 1
        answer(b'{"status":"queued"}')(wire)

    server.on(counted)
    requests_to_poll = [PollRequest(f"g{number}", Family.UNIVERSAL, 30) for number in range(40)]
    with poller_at(server.url) as poller, ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: list(chain(*poller.poll_many(requests_to_poll))), range(2)))

    assert [sorted(index for index, _ in seen) for seen in both] == [list(range(40))] * 2
    assert {seen for found in both for _, seen in found} == {Pending("queued")}
    assert most == CONNECTIONS


def test_what_more_than_usual_needed_is_not_kept(server: Server) -> None:
    """Connections belong to the process, not to each thread that polls; those no longer in use are closed."""
    both, lock, open_now = threading.Barrier(2, timeout=20), threading.Lock(), set[Wire]()
    is_crowded = threading.Event()

    def kept_alive(wire: Wire) -> None:
        with lock:
            open_now.add(wire)
        has_request = True
        while has_request:
            if is_crowded.is_set():
                both.wait()
            wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"status":"queued"}')
            has_request = wire.has_another_request()
        with lock:
            open_now.remove(wire)

    def one_alone() -> int:
        assert poller.poll("g", Family.UNIVERSAL) == Pending("queued")
        return len(open_now)

    server.on(kept_alive)
    with poller_at(server.url, unused_s=0.5) as poller, ThreadPoolExecutor(2) as pool:
        is_crowded.set()
        for _ in range(3):
            assert list(pool.map(lambda _: poller.poll("g", Family.UNIVERSAL), range(2))) == [Pending("queued")] * 2
        assert (len(open_now), server.connections) == (2, 2)
        is_crowded.clear()
        eventually(lambda: one_alone() == 1, what="one that is used")
        assert server.connections == 2
    eventually(lambda: not open_now, what="the end of the last")


SLOW_PATH: Final = "/v2/generate/video/google/generation"
SLOW: Final = PollRequest("slow", Family.GOOGLE, 2)
OTHERS: Final = [PollRequest("g", Family.UNIVERSAL, 2)] * 2
ANSWERED: Final = {0: Pending("queued"), 1: Pending("queued")}
TIMED_OUT: Final = NoResult(Hold.UNREACHABLE, "no answer from the upstream (Timeout was reached)", timed_out=True)


def timed(groups: Iterable[Sequence[Seen]]) -> list[tuple[float, dict[int, PollResult]]]:
    """The groups of results, each with the seconds until it came."""
    began = time.monotonic()
    return [(time.monotonic() - began, dict(group)) for group in groups]


def test_a_poll_that_hangs_ends_after_its_own_time_and_holds_up_no_other(server: Server) -> None:
    """One machine behind the balancer is stuck: the others' videos must not wait for it."""
    server.on(after(0.5, answer(b'{"status":"queued"}')))
    server.on(hang, SLOW_PATH)
    with poller_at(server.url) as poller:
        *others, (hung_s, hung) = timed(poller.poll_many([*OTHERS, SLOW]))

    assert {index: seen for _, group in others for index, seen in group.items()} == ANSWERED
    assert all(0.5 <= came_s < 1.5 for came_s, _ in others)
    assert hung == {2: TIMED_OUT}
    assert 2 <= hung_s < 3.5


def test_an_upstream_that_is_slow_is_answered_with_a_longer_time_out(server: Server) -> None:
    """It answers after three seconds: two are too short, four are not."""
    server.on(after(3, answer(b'{"status":"generating"}')))
    with poller_at(server.url) as poller:
        tries = [dict(chain(*poller.poll_many([PollRequest("g", Family.UNIVERSAL, s)]))) for s in (2, 4)]

    assert tries == [{0: TIMED_OUT}, {0: Pending("generating")}]


@pytest.mark.parametrize(
    ("act", "timed_out"),
    [(slow_headers, True), (slow_body, True), (hang, True), (reset, False), (answer(b"", status="504 Late"), False)],
)
def test_a_poll_says_whether_its_own_time_out_ended_it(server: Server, act: Act, timed_out: bool) -> None:
    """Only then may a longer time-out help."""
    server.on(act)
    with poller_at(server.url) as poller:
        [(_, seen)] = chain(*poller.poll_many([PollRequest("g", Family.UNIVERSAL, 0.5)]))
    assert isinstance(seen, NoResult)
    assert seen.timed_out is timed_out


def test_a_status_that_came_before_the_time_out_counts(server: Server) -> None:
    """A wait that the upstream asks for is obeyed, even if the rest of its reply trickles."""

    def busy(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 100000\r\n\r\n")
        wire.trickle(b" ")

    server.on(busy)
    with poller_at(server.url) as poller:
        [(_, seen)] = chain(*poller.poll_many([PollRequest("g", Family.UNIVERSAL, 0.5)]))
    assert seen == NoResult(Hold.THROTTLED, "429", 7)


@pytest.mark.parametrize(("total_timeout_s", "timed_out"), [(60, True), (0.3, False)])
def test_a_connection_that_is_never_made_ends_a_poll(total_timeout_s: float, timed_out: bool) -> None:
    """The shorter of the two time-outs ends it, and a time-out for connecting would be no longer the next time."""
    with full_backlog() as url, poller_at(url, total_timeout_s=total_timeout_s) as poller:
        [(took_s, group)] = timed(poller.poll_many([PollRequest("g", Family.UNIVERSAL, 1)]))
    [seen] = group.values()
    assert isinstance(seen, NoResult)
    assert seen.timed_out is timed_out
    assert took_s < 3


def test_a_poller_that_stops_leaves_room_for_others(server: Server) -> None:
    """A ledger that cannot be written to ends a wake in the middle of its polls."""
    server.on(answer(b'{"status":"queued"}'))
    server.on(hang, SLOW_PATH)
    with poller_at(server.url) as poller:
        stuck = poller.poll_many([OTHERS[0], *[SLOW] * CONNECTIONS])
        assert next(stuck) == [(0, Pending("queued"))]
        stuck.close()  # type: ignore[attr-defined]  # a generator, typed as what it yields
        assert poller.poll("g", Family.UNIVERSAL) == Pending("queued")
