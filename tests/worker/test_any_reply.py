"""Any bytes in a reply give one item its outcome; no exception reaches the caller."""

import gzip
import json
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.delivery import Delivered, NotDelivered
from jobs.facts import Accepted, NoResult, NotBought, Pending, PollResult, Rejected, Unknown
from jobs.job import Family, Hold
from tests.stage import a_request
from tests.worker.servers import Server, Wire, answer
from tests.worker.test_interim import call
from tests.worker.test_ways import upstream_at
from worker.upstream.client import Upstream
from worker.upstream.poller import Poller
from worker.upstream.wire import LogPage

LONG: Final = b"9" * 5000  # more digits than Python makes a number of
BODIES: Final = [
    b"",
    b"{}",
    b'{"id":"g","status":"completed","video":{"url":"http://x/y.mp4"}}',
    b'{"data":[{"client_request_id":"a","inference_id":"g","created":"' + LONG + b'"}]}',
    b'{"id":' + LONG + b',"meta":{"usage":{"usd_spent":' + LONG + b',"credits_used":1e999}}}',
    b'{"status":"error","error":{"detail":[{"loc":[null,{}],"msg":' + LONG + b"}]}}",
    b'{"status":"error","error":' + b"[" * 100_000,
    b'{"a":' * 2000,
    b"\xff\xfe\x00\x00",
    b'{"status":"\\ud800","video":{"url":"http://[\\udfff"}}',
    gzip.compress(b'{"id":"g"}'),
    gzip.compress(b'{"id":"g"}')[:-4] + b"junk",
    gzip.compress(bytes(5_000_000)),
    zlib.compress(b'{"id":"g"}') + b"\x00",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n",
    b"5;x=" + b"y" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"f" * 6000 + b"\r\n",
    b"0x5\r\nhello\r\n",
    b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 300 + b"\r\n",
]
HEADERS: Final = [
    b"Content-Length: " + LONG,
    b"Content-Length: -1",
    b"Content-Length: 5, 7",
    b"Content-Length: \xd9\xa3",
    b"Content-Length: 1e3",
    b"Content-Length: 18446744073709551617",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate",
    b"Content-Encoding: br",
    b"Content-Encoding: zstd",
    b"Content-Encoding: gzip, gzip, deflate, br",
    b"Content-Encoding: " + b", ".join([b"gzip"] * 50),
    b"Content-Type: application/json; charset=undefined",
    b"Content-Type: text/html; charset=\xff\xfe",
    b"Retry-After: " + LONG,
    b"Retry-After: \xb2",
    b"Retry-After: Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    b"Retry-After: Sun, 06 Nov 0000 08:49:37 -9999999999",
    b"Date: Sun, 31 Dec 9999 23:59:59 -2359",
    b"Location: http://[\xff",
    b"Location: //\x00",
    b"Set-Cookie: \xff=\xfe; expires=" + LONG + b"; domain=[; path=\x00",
    b"X-Inference-Id: \xff\xfe\x85",
    b"x-aimlapi-usd-spent: 1e309",
    b"x-aimlapi-credits-used: " + LONG,
    b"Connection: keep-alive",
    b"Keep-Alive: timeout=" + LONG,
    b"Upgrade: h2c",
    b": nameless",
    b"no colon",
    b" folded: first",
    b"X-\xff\x00: \x85\x0b",
    b"X: " + b"y" * 70_000,
    b"\r\n".join([b"X: y"] * 300),
]
STATUS_LINES: Final = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 201",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 206 Partial",
    b"HTTP/1.1 302 Found",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 402 Pay",
    b"HTTP/1.1 429 Slow",
    b"HTTP/1.1 503 Busy",
    b"HTTP/1.1 999 What",
    b"HTTP/1.1 000 Nothing",
    b"HTTP/1.1 -20 Less",
    b"HTTP/1.1 \xc2\xb2\xc2\xb2\xc2\xb2 Squared",
    b"HTTP/1.1 " + LONG,
    b"HTTP/1.1 200 " + b"x" * 70_000,
    b"HTTP/1.0 200 OK",
    b"HTTP/9.9 200 OK",
    b"HTTP/2 200",
    b"HTTP/",
    b"ICY 200 OK",
    b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK",
    b"\x16\x03\x01\x00\x05",
]
REPLIES: Final = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda line, headers, body, cut: (b"\r\n".join([line, *headers]) + b"\r\n\r\n" + body)[: cut or None],
        st.sampled_from(STATUS_LINES) | st.binary(max_size=20).map(lambda junk: b"HTTP/1.1 " + junk),
        st.lists(st.sampled_from(HEADERS) | st.binary(max_size=40), max_size=5),
        st.sampled_from(BODIES)
        | st.binary(max_size=100)
        | st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["id", "status", "video", "url", "error", "data", "detail", "meta", "usage", "models"]
                    )
                    | st.text(max_size=3),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
        st.just(0) | st.integers(0, 200),
    ),
)
anything = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Server]:
    """Answers with the reply that the test chose."""
    with Server.started() as server:
        yield server


@pytest.fixture(scope="module")
def clients(stranger: Server) -> Iterator[tuple[Upstream, Poller]]:
    """Clients that send one request after the other: what one reply leaves behind must not hurt the next."""
    with upstream_at(stranger.url, total_timeout_s=2) as both:
        yield both


Clients = tuple[Upstream, Poller]


@anything
@given(reply=REPLIES)
def test_a_purchase(stranger: Server, clients: Clients, reply: bytes) -> None:
    """Once it was sent, what is not understood is a doubt: never an exception, and never a proof."""
    stranger.on(lambda wire: wire.send(reply))
    receipt = clients[0].submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    assert isinstance(receipt, Accepted | NotBought | Rejected | Unknown)
    assert not (isinstance(receipt, NotBought) and "no connection" in receipt.message)


@anything
@given(reply=REPLIES)
def test_a_poll(stranger: Server, clients: Clients, reply: bytes) -> None:
    """A reply that is not understood decides nothing about the generation."""
    stranger.on(lambda wire: wire.send(reply))
    seen = clients[1].poll("g", Family.UNIVERSAL)
    assert isinstance(seen, PollResult)


@anything
@given(reply=REPLIES)
def test_a_page_of_the_log(stranger: Server, clients: Clients, reply: bytes) -> None:
    """An unreadable page leaves a purchase in doubt."""
    stranger.on(lambda wire: wire.send(reply))
    assert isinstance(clients[0].log_page("google/veo3", 0), LogPage | NoResult)


@anything
@given(reply=REPLIES)
@example(reply=b"HTTP/1.1 500 No\r\nRetry-After: Sun, 06 Nov 99999999999999999999 08:49:37 GMT\r\n\r\n")
def test_a_webhook(stranger: Server, reply: bytes) -> None:
    """One receiver's answer is that receiver's trouble."""
    stranger.on(lambda wire: wire.send(reply))
    outcome = call(stranger.url)
    assert isinstance(outcome, Delivered | NotDelivered)
    assert "could not be read" not in outcome.message


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header[:40]))
def test_a_status_that_came_whole_counts_whatever_else_came(stranger: Server, clients: Clients, header: bytes) -> None:
    """A 429 with a strange header still proves that nothing was bought; where HTTP itself broke, it is a doubt."""
    stranger.on(lambda wire: wire.send(b"HTTP/1.1 429 Slow\r\n" + header + b"\r\n\r\n{}"))
    receipt = clients[0].submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    if isinstance(receipt, Unknown):
        assert "the reply was lost" in receipt.message
    else:
        assert isinstance(receipt, NotBought)
        assert receipt.hold is Hold.THROTTLED


class NobodyThoughtOfThis(Exception):
    """What a library may raise one day."""


def test_whatever_a_library_raises_over_a_reply_is_that_items_outcome(
    stranger: Server, clients: Clients, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No bytes are known that do it today; the log then has the traceback."""

    def surprised(_: HTTPResponse) -> None:
        raise NobodyThoughtOfThis

    stranger.on(answer(b"{}"))
    monkeypatch.setattr(HTTPResponse, "begin", surprised)
    upstream, _ = clients

    receipt = upstream.submit(a_request(), Family.UNIVERSAL, "job_1.a-1")
    page, outcome = upstream.log_page("google/veo3", 0), call(stranger.url)

    assert receipt == Unknown("the reply was lost after the request was sent (NobodyThoughtOfThis)")
    assert page == NoResult(Hold.UNREACHABLE, "no answer from the upstream (NobodyThoughtOfThis)")
    assert isinstance(outcome, NotDelivered)
    assert outcome.message == "its answer could not be read (NobodyThoughtOfThis)"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [NobodyThoughtOfThis] * 3


def test_a_poll_reads_no_more_headers_than_it_may_keep(stranger: Server) -> None:
    """A stranger's headers must not fill our memory, over however many interim replies they are spread."""

    def act(wire: Wire) -> None:
        for _ in range(40):
            wire.send(b"HTTP/1.1 103 Hints\r\nX: " + b"y" * 5000 + b"\r\n\r\n")
        answer(b'{"status": "generating"}')(wire)

    stranger.on(act)
    with upstream_at(stranger.url, reply_bytes=100_000) as (_, poller):
        assert isinstance(poller.poll("g", Family.UNIVERSAL), NoResult)
    with upstream_at(stranger.url) as (_, poller):
        assert poller.poll("g", Family.UNIVERSAL) == Pending("generating")
