"""Whatever a stranger sends, the answer is theirs to mend: no request makes an error of ours."""

import http.client
import json
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Api

AS_JSON: Final = {"content-type": "application/json"}
AS_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
BOUNDARY: Final = "b0undary"
OTHER: Final = '"model": "other/one", "prompt": "x"'
NESTED: Final = '{"a":'
PATHS: Final = ("/v1/videos", "/v2/video/generations", "/v1/videos/batch")
MANY: Final = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

NUMBERS: Final = st.one_of(
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**64, 2**63, -(2**63), 10**19, 1e300, -1e308, 5e-324]),
    st.floats(allow_nan=True, allow_infinity=True),
)
TEXTS: Final = st.one_of(
    st.text(st.characters(), max_size=20),  # lone surrogates too
    st.sampled_from(["\ud800", "a\x00b", "data:image/png;base64,", "https://[", "http://::1]", "9" * 5000, "veo"]),
)
VALUES: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
NAMES: Final = st.one_of(
    st.sampled_from([
        "prompt", "model", "seconds", "size", "input_reference", "metadata", "dedupe", "deadline_s", "webhook_url",
        "duration", "aspect_ratio", "resolution", "seed", "image_url", "image_urls", "generate_audio", "parameters",
    ]),
    TEXTS,
)  # fmt: skip
MODELS: Final = st.sampled_from(["google/veo3", "google/veo-3.0-i2v", "vendor/model", "google/veo4", ""])
BODIES: Final = st.one_of(
    VALUES,
    st.builds(
        lambda model, fields: {"model": model, "prompt": "a boat", **fields},
        MODELS,
        st.dictionaries(NAMES, VALUES, max_size=6),
    ),
)


def sent(
    api: Api, body: bytes, headers: dict[str, str], path: str = "/v1/videos", method: str = "POST"
) -> tuple[int, bytes]:
    """Send these bytes and read the answer; a header goes as it stands."""
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_theirs(status: int, body: bytes) -> bool:
    """Accepted, or refused for a reason; so is each request of a batch."""
    if status == 207:
        return all(result["status"] < 500 for result in json.loads(body)["data"])
    return status < 500


@MANY
@given(video=BODIES, path=st.sampled_from(PATHS))
@example(video={"model": "vendor/model", "prompt": "a boat", "strength": 1e300}, path="/v1/videos")
def test_no_json_makes_an_error_of_ours(api: Api, video: Any, path: str) -> None:
    """Any structure, any number, any text; alone, in a batch, and on the upstream's own face."""
    body = json.dumps({"requests": [video, {"prompt": "a boat"}]} if path.endswith("batch") else video).encode()

    status, answer = sent(api, body, AS_JSON, path)

    assert is_theirs(status, answer), answer
    if status in {201, 202}:  # and the job can be read
        assert sent(api, b"", {}, f"/v1/videos/{json.loads(answer)['id']}", "GET")[0] == 200


@MANY
@given(body=st.binary(max_size=200), path=st.sampled_from(PATHS), kind=st.sampled_from(["json", "form", "multipart"]))
def test_no_bytes_make_an_error_of_ours(api: Api, body: bytes, path: str, kind: str) -> None:
    """Whatever they are called."""
    headers = {
        "json": AS_JSON,
        "form": AS_FORM,
        "multipart": {"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
    }

    status, answer = sent(api, body, headers[kind], path)

    assert is_theirs(status, answer), answer


@MANY
@given(
    fields=st.lists(st.tuples(st.one_of(NAMES, st.text("ab[]0", max_size=12)), TEXTS), max_size=8), parts=st.booleans()
)
def test_no_form_makes_an_error_of_ours(api: Api, fields: list[tuple[str, str]], parts: bool) -> None:
    """Names with any brackets, values of any text."""
    clean = [(name.encode(errors="surrogatepass"), text.encode(errors="surrogatepass")) for name, text in fields]
    if parts:
        body = b"".join(
            b'--%s\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (BOUNDARY.encode(), name.replace(b'"', b"").replace(b"\r", b"").replace(b"\n", b""), text)
            for name, text in clean
        )
        body += b"--%s--\r\n" % BOUNDARY.encode()
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    else:
        body, headers = urlencode(clean).encode(), AS_FORM

    status, answer = sent(api, body, headers)

    assert is_theirs(status, answer), answer


HEADER_TEXT: Final = st.lists(
    st.one_of(
        st.sampled_from([
            "[", "]", ":", "::1", "@", "/", "//", "http://", "127.0.0.1", "localhost", ";", ",", "=", '"', " ",
            "application/json", "multipart/form-data", "boundary=b", "charset=", "undefined", "idna", "wait=", "9" * 30,
            "-1", "Bearer ", "100-continue", "bytes=", "W/", "*",
        ]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=5),
    ),
    max_size=4,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["host", "origin", "content-type", "prefer", "idempotency-key", "authorization", "x-client-request-id", "expect"],
)
@settings(MANY, max_examples=60)
@given(text=HEADER_TEXT, path=st.sampled_from([*PATHS, "/v1/nothing"]))
def test_no_header_makes_an_error_of_ours(api: Api, name: str, text: str, path: str) -> None:
    """One odd header beside good ones."""
    status, answer = sent(api, b'{"prompt": "a boat"}', {**AS_JSON, name: text.strip()}, path)

    assert is_theirs(status, answer), answer


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "["},
        {"host": "[::1"},
        {"host": "127.0.0.1:99999999"},
        {"origin": "http://["},
        {"origin": "http://[::1"},
        {"origin": "http://℀".encode().decode("latin-1")},
        {"host": "a/b?c#d@[e"},
        {"content-type": "multipart/form-data; boundary=b; charset=undefined"},
        {"content-type": "multipart/form-data; boundary=b; charset=idna"},
        {"content-type": "multipart/form-data; boundary=b; charset=punycode"},
        {"content-type": "multipart/form-data; boundary=b; charset=utf-16"},
        {"content-type": "multipart/form-data; boundary=b; charset=base64"},
        {"content-type": "multipart/form-data; boundary=b; charset=unicode_escape"},
        {"content-type": "multipart/form-data; boundary=b; charset=" + "x" * 5000},
        {"content-type": "multipart/form-data; boundary=" + "b" * 5000},
        {"content-type": 'multipart/form-data; boundary=""'},
        {"content-type": "multipart/form-data; boundary=\xff"},
        {"content-type": "application/x-www-form-urlencoded; charset=undefined"},
        {"content-type": "application/json; charset=undefined"},
        {"prefer": "wait=" + "9" * 5000},
        {"content-length": "9" * 5000},
        {"content-length": "-1"},
        {"transfer-encoding": "chunked, undefined"},
    ],
)
@pytest.mark.parametrize("path", [*PATHS, "/v1/nothing"])
def test_odd_headers_are_refused_or_passed_over(api: Api, headers: dict[str, str], path: str) -> None:
    """Also where there is no route, and on the upstream's face."""
    body = b'--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n\xff\x80 a boat\r\n--b--\r\n'

    status, answer = sent(api, body, {**AS_JSON, **headers}, path)

    assert 400 <= status < 500 or status == 202, answer


@pytest.mark.parametrize(
    ("video", "location"),
    [
        (f'{{{OTHER}, "duration": {10**400}}}', "body.duration"),
        (f'{{{OTHER}, "seconds": {10**400}}}', "body.seconds"),
        ('{"model": "other/one", "prompt": "x", "duration": -18446744073709551616}', "body.duration"),
        ('{"model": "other/one", "prompt": "x", "a": [{"b": 1e999}]}', "body.a"),
        ('{"model": "other/one", "prompt": "x", "a": NaN}', "body.a"),
        ('{"model": "other/one", "prompt": "x", "a": -Infinity}', "body.a"),
        (f'{{{OTHER}, "a": {"[" * 40}1{"]" * 40}}}', "body.a"),
        (f'{{{OTHER}, "a": {NESTED * 700}1{"}" * 700}}}', "body.a"),
        ('{"model": "other/one", "prompt": "x", "a": "\\ud800"}', "body.a"),
        ('{"model": "other/one", "prompt": "x", "\\udfff": 1}', "body"),
        ('{"prompt": "x", "\\udfff": 1}', "body"),
        ('{"prompt": "\\ud800"}', "body.p"),
        ('{"prompt": "x", "metadata": {"a": "\\ud800"}}', "body."),
        ('{"prompt": "x", "deadline_s": NaN}', "body.deadline_s"),
        (f'{{"prompt": "x", "deadline_s": {10**400}}}', "body.deadline_s"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", PATHS)
def test_what_would_break_a_reader_further_on_is_refused_here(
    api: Api, client: "redis.Redis", video: str, location: str, path: str
) -> None:
    """A row that nobody can read again would strand what was paid for."""
    body = f'{{"requests": [{video}]}}' if path.endswith("batch") else video

    status, answer = sent(api, body.encode(), AS_JSON, path)

    problem = json.loads(answer)
    if path.endswith("batch"):
        (result,) = problem["data"]
        status, problem = result["status"], result["error"]
    assert 400 <= status < 500, answer
    if path != "/v2/video/generations":
        assert [error for error in problem["errors"] if error["location"].startswith(location)], problem
    assert client.dbsize() == 0


@pytest.mark.parametrize("number", ["1e300", "18446744073709551615", "-0.0", "9007199254740993"])
def test_what_every_reader_takes_is_taken(api: Api, number: str) -> None:
    """Large, but a double or 64 bits."""
    status, answer = sent(api, b'{"model": "other/one", "prompt": "x", "duration": %s}' % number.encode(), AS_JSON)

    assert (status, json.loads(answer)["parameters"]["duration"]) == (202, json.loads(number))
