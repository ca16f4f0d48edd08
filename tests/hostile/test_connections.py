"""A stranger's connections cost the others nothing: they are limited, timed and cut off while they send."""

import asyncio
import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from threading import Thread
from typing import Any, ClassVar, Final

import pytest
import redis
import requests
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import Settings
from ops.stack.recipe import free_port
from producer.api.application import make_app
from producer.api.border import MOST_HEAD_BYTES
from producer.api.connection import Connection
from producer.keys import Keys, Scope
from tests.api.conftest import Api
from tests.hostile.attackers import HEAD, KINDS, Attack, Script
from tests.stage import eventually

AS_JSON: Final = {"content-type": "application/json"}
MEGABYTE: Final = 1_000_000
KERNEL_BYTES: Final = 16 * MEGABYTE
"""More than both kernels' buffers of a connection hold beside what the server reads."""


class Quick(Connection):
    """The API's connection with short times."""

    head_s: ClassVar[float] = 0.5
    body_s: ClassVar[float] = 0.5
    unread_s: ClassVar[float] = 0.5
    drain_s: ClassVar[float] = 0.5
    check_s: ClassVar[float] = 0.2
    made: ClassVar[int] = 0
    parsed: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Count connections since the start."""
        Quick.made += 1
        super().connection_made(transport)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers since the start."""
        Quick.parsed += 1
        super().on_header(name, value)


class Server:
    """The API with short times, in a thread."""

    def __init__(self, redis_url: str, **options: Any) -> None:
        app = make_app(Settings.model_validate({"redis": {"url": redis_url}, "api": {"auth": "off"}}))
        self.port = free_port()
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app, port=self.port, http=Quick, ws="none", log_config=None, timeout_keep_alive=1,
                timeout_graceful_shutdown=1, **options,
            )
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections it holds."""
        return len(self._uvicorn.server_state.connections)

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Serve meanwhile."""

        def serve() -> None:
            with asyncio.Runner(loop_factory=self._uvicorn.config.get_loop_factory()) as runner:
                runner.run(self._uvicorn.serve())

        thread = Thread(target=serve)
        thread.start()
        try:
            eventually(lambda: self._uvicorn.started, what="the server's start")
            yield self
        finally:
            self._uvicorn.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def quick(redis_url: str) -> Iterator[Server]:
    """One server with short times for all tests of this module."""
    with Server(redis_url).running() as server:
        yield server


@pytest.fixture(scope="module")
def real_process(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API as operators start it, with keys."""
    folder = tmp_path_factory.mktemp("api")
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(folder / "state"),
        "RUSHES_API__AUTH": "keys",
        "RUSHES_API__REQUESTS_PER_MIN": "100000",
    }
    with Api.started(folder, environment) as started:
        yield started


@pytest.fixture
def tenant(real_process: Api, client: "redis.Redis") -> Api:
    """The API as a tenant with a key calls it, over an empty Redis."""
    issued = Keys(client).issue("shop", (Scope.SUBMIT, Scope.READ))
    return Api(real_process.url, real_process.log, issued.token)


def port_of(api: Api) -> int:
    """Return an API's port."""
    return int(api.url.rpartition(":")[2])


def check_that_all_end(quick: Server, scripts: Sequence[Script]) -> None:
    """Play the scripts until the server has taken all their connections and holds none any more."""
    all_made = Quick.made + len(scripts)
    with Attack(quick.port, scripts):
        eventually(lambda: Quick.made == all_made and not quick.connections, what="the end of all", within_s=20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_of_any_kind_ends_soon(quick: Server, kind: str) -> None:
    """Without its client's help, and with nothing of it left behind."""
    check_that_all_end(quick, [KINDS[kind]() for _ in range(10)])


PIECES: Final = st.one_of(
    st.sampled_from([
        HEAD, b"GET / HTTP/1.1\r\n", b"GET /v1/videos HTTP/1.1\r\n\r\n", b"HEAD /docs HTTP/1.0\r\n\r\n", b"\r\n", b"\r",
        b"content-length: 5\r\n\r\n", b"content-length: 99999999999\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n",
        b"expect: 100-continue\r\n", b"connection: upgrade\r\nupgrade: websocket\r\n", b"upgrade: h2c\r\n\r\n",
        b"0\r\n", b"ffff\r\n", b"\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"{}", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ]),
    st.binary(max_size=40),
    st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=1), st.integers(1, 100_000)),
)  # fmt: skip
SCRIPTS: Final = st.lists(st.one_of(PIECES, st.floats(0, 0.3)), max_size=10)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=st.lists(SCRIPTS, min_size=5, max_size=20))
def test_a_connection_of_a_kind_that_nobody_listed_ends_soon(quick: Server, scripts: list[Script]) -> None:
    """Whatever bytes it sends, with whatever pauses."""
    check_that_all_end(quick, scripts)


def test_a_body_that_comes_slowly_but_fast_enough_is_taken(quick: Server) -> None:
    """The time for a body grows with what came of it."""
    body = json.dumps({"prompt": "a boat", "metadata": {"long": "x" * 300_000}}).encode()

    def parts() -> Iterator[bytes]:
        for start in range(0, len(body), 30_000):
            time.sleep(0.1)  # this is what is tested: a sender with pauses
            yield body[start : start + 30_000]

    began = time.monotonic()
    answer = requests.post(f"{quick.url}/v1/videos", parts(), headers=AS_JSON, timeout=30)

    assert time.monotonic() - began > Quick.body_s
    assert answer.json()["code"] == "invalid_request"  # read to its end: the label is too long


def test_one_address_has_half_of_the_connections_and_all_have_no_more(redis_url: str) -> None:
    """Another address is still served, until the server is full; then it says when to try again."""

    def asked(source: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10, source_address=(source, 0))
        held.enter_context(closing(connection))
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    with Server(redis_url, limit_concurrency=8).running() as server:
        with ExitStack() as held:
            for source in ("127.0.0.1", "127.0.0.2"):
                assert [asked(source)[0] for _ in range(4)] == [200] * 4
                assert asked(source)[1]["code"] == "too_many_connections"
            assert asked("127.0.0.3")[0] == 503
        eventually(lambda: server.connections == 0, what="the end of all connections")
        with ExitStack() as held:
            assert asked("127.0.0.1")[0] == 200


def accepted(port: int, parts: Iterator[bytes]) -> tuple[int, bytes]:
    """Send until the server cuts the connection off; returns how many bytes the kernels took, and the reply."""
    sent = 0
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as opened:
        try:
            for part in parts:
                opened.sendall(part)
                sent += len(part)
        except OSError:
            pass
        try:
            return sent, opened.recv(65_536)
        except OSError:
            return sent, b""


@pytest.mark.parametrize(
    ("beginning", "megabytes", "part"),
    [
        (b"GET /", 100, b"a" * 100_000),
        (b"GET /healthz HTTP/1.1\r\n", 300, b"x-a: %s\r\n" % (b"b" * 1000) * 100),
        (b"GET /healthz HTTP/1.1\r\nx-a: ", 300, b"b" * 100_000),
        (b"GET /healthz HTTP/1.1\r\n", 300, b"\xff" * 100_000),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", 300, b"x-a: %s\r\n" % (b"b" * 1000) * 100),
    ],
    ids=["URL", "headers", "one header", "rubbish", "trailers"],
)
def test_an_endless_head_is_cut_off(tenant: Api, beginning: bytes, megabytes: int, part: bytes) -> None:
    """The server reads little more than the limit, before it knows any key."""
    parts = itertools.chain([beginning], itertools.repeat(part, megabytes * MEGABYTE // len(part)))

    sent, _ = accepted(port_of(tenant), parts)

    assert sent < KERNEL_BYTES


def test_of_headers_without_end_few_are_parsed(quick: Server) -> None:
    """What arrives at once may be eight times as long as a head may be, and is parsed on the event loop."""
    before = Quick.parsed
    accepted(quick.port, iter([b"GET /healthz HTTP/1.1\r\n" + b"a:b\r\n" * 200_000]))
    assert 0 < Quick.parsed - before <= MOST_HEAD_BYTES / len(b"a:b\r\n") + 1


def test_a_head_just_above_the_limit_gets_a_problem(quick: Server) -> None:
    """Also while it is still arriving."""
    _, reply = accepted(quick.port, iter([b"GET /healthz HTTP/1.1\r\nx-a: ", b"b" * 32_800]))

    assert reply.startswith(b"HTTP/1.1 431 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["code"] == "headers_too_large"


def with_bodies(document: dict[str, Any]) -> list[tuple[str, str]]:
    """List the method and path of each route with a body."""
    return [
        (method.upper(), path.replace("{job_id}", f"job_{'0' * 26}").replace("{endpoint_id}", "wh_1"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


def first_reply(port: int, head: str) -> tuple[int, bytes]:
    """Send the head of a request, and no byte of its body."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as opened:
        opened.sendall(head.encode())
        reply = http.client.HTTPResponse(opened)
        reply.begin()
        return reply.status, reply.read()


def test_a_caller_is_admitted_before_the_body_is_read(tenant: Api) -> None:
    """On every route: without a key, and with one whose body is declared too long."""
    routes = with_bodies(requests.get(f"{tenant.url}/openapi.json", timeout=10).json())
    assert len(routes) > 6
    for method, path in routes:
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
        keyed = f"\r\nauthorization: Bearer {tenant.key}\r\n\r\n"

        assert first_reply(port_of(tenant), f"{head}10000000\r\n\r\n")[0] == 401, path
        assert first_reply(port_of(tenant), f"{head}{10**12}{keyed}")[0] == 413, path


def test_who_sends_a_long_body_without_a_key_sees_why_it_is_refused(tenant: Api) -> None:
    """The rest of the body is still taken, so that the reply isn't lost; the connection serves the next request."""
    with requests.Session() as session:
        for _ in range(2):
            answer = session.post(f"{tenant.url}/v1/keys", b"[" * 5 * MEGABYTE, headers=AS_JSON, timeout=10)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        *((path, "json", b'{"requests": [%s1]}' % (b"1," * 5_000_000)) for path in ("/v1/videos", "/v1/videos/batch")),
        ("/v2/video/generations", "json", b'{"a": %s' % (b"[" * 10 * MEGABYTE)),
        ("/v1/videos", "x-www-form-urlencoded", b"a=" + b"%41" * 3_000_000),
    ],
)
def test_a_body_that_would_take_seconds_to_parse_is_refused(tenant: Api, path: str, kind: str, body: bytes) -> None:
    """A tenant must not stop the others either."""
    headers = {"content-type": f"application/{kind}", "authorization": f"Bearer {tenant.key}"}
    answer = requests.post(tenant.url + path, body, headers=headers, timeout=10)

    assert answer.status_code == 413
    assert "of the signs" in answer.text


def delays(call: Callable[[], None], times: int) -> list[float]:
    """Measure how long each of these calls takes, in seconds, ascending."""
    measured = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        measured.append(time.perf_counter() - began)
    return sorted(measured)


def test_long_bodies_without_a_key_delay_nobody(tenant: Api) -> None:
    """Twenty callers send 10 MB of JSON each, again and again."""
    body = json.dumps([[{"a": 1}]] * 900_000).encode()
    head = b"POST /v1/keys HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

    def again() -> Iterator[bytes | float]:
        while True:
            yield head % len(body)
            yield body
            yield 1.0  # else the attackers, not the API, would use up this machine

    with Attack(port_of(tenant), [again() for _ in range(20)]):
        slowest = delays(lambda: requests.get(f"{tenant.url}/healthz", timeout=10).raise_for_status(), 30)[-1]

    assert slowest < 1.0


def test_two_hundred_slow_connections_delay_nobody(tenant: Api) -> None:
    """Another caller's gets and creates all succeed meanwhile."""

    def create_and_get() -> None:
        job = tenant.submit()
        assert tenant.get(f"/v1/videos/{job['id']}").status_code == 200

    quiet = delays(create_and_get, 50)
    kinds = itertools.islice(itertools.cycle(KINDS.values()), 200)
    with Attack(port_of(tenant), [kind() for kind in kinds]):
        beside = delays(create_and_get, 100)

    assert beside[98] < max(3.0, 10 * quiet[48])
