"""Every reply that the upstream is known to give, and what it proves. Source: docs and live bodies, August 2026."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.facts import Accepted, Finished, NoResult, NotBought, Receipt, Rejected, Unknown
from jobs.job import Hold
from worker.upstream.polls import read_poll
from worker.upstream.wire import read_log_page, read_receipt

BAD_RESOLUTION: Final = (
    b'{"title":"Bad Request","status":400,"message":"Invalid payload provided","instance":"/v2/video/generations?",'
    b'"timestamp":"2026-01-22T07:20:46.273Z","error":{"name":"BadRequestException","message":"Invalid payload provided"'
    b',"data":[{"received":"768P","code":"invalid_enum_value","options":["720P","1080P"],"path":["resolution"],'
    b"\"message\":\"Invalid enum value. Expected '720P' | '1080P', received '768P'\"}]}}"
)
NO_CREDITS: Final = (
    b'{"title":"Forbidden","status":403,"message":"You\'ve run out of credits. Top up.","error":{"name":'
    b'"ForbiddenException","message":"You\'ve run out of credits.","data":{"kind":"err_insufficent_credits"}}}'
)
OLD_BAD_KEY: Final = (
    b'{"requestId":"r","statusCode":401,"timestamp":"t","path":"/v2/video/generations",'
    b'"message":"This request requires a valid API key. Get one."}'
)
CLOUDFLARE: Final = b"<!DOCTYPE html>\n<html><head><title>524: A timeout occurred</title></head></html>"


def receipt(reply: Any, status: int = 200, **headers: str) -> Receipt:
    """Read a JSON reply to a purchase."""
    return read_receipt(status, _named(headers), json.dumps(reply).encode())


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def usage(**fields: Any) -> dict[str, Any]:
    """A reply that names its cost."""
    return {"id": "g", "status": "queued", "meta": {"usage": fields}}


# The receipt


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_2xx_with_an_id_is_an_acceptance(status: int) -> None:
    """Samples show 200 and 201; the next version may say 202."""
    assert receipt(usage(credits_used=1040000, usd_spent=0.52), status) == Accepted("g", 0.52)


@pytest.mark.parametrize(
    ("given_id", "read"),
    [
        pytest.param("df43b636-1234-4b6e-9f2e-8b4f5f9a8b2c:veo3", None, id="uuid and colon"),
        pytest.param("e7c9-11:google/veo3", None, id="colon and slash"),
        pytest.param("XXLhM-WwM1UXTVnR5w9EV", None, id="nanoid"),
        pytest.param("-XLhM-WwM1UXTVnR5w9EV", None, id="nanoid that begins with a dash"),
        pytest.param("60574747", None, id="digits"),
        pytest.param(60574747, "60574747", id="a number"),
        pytest.param("cgt-20260801-abcde", None, id="cgt"),
    ],
)
@pytest.mark.parametrize("field", ["id", "generation_id"])
def test_an_id_is_kept_as_it_is(field: str, given_id: str | int, read: str | None) -> None:
    """Ids are opaque: whatever form it has, it is what we must poll with."""
    assert receipt({field: given_id, "status": "queued"}) == Accepted(read or str(given_id), None)


def test_id_goes_before_generation_id_and_the_header_comes_last() -> None:
    """Documented first, seen second, last resort third."""
    both = {"id": "first", "generation_id": "second"}
    assert receipt(both, x_inference_id="third") == Accepted("first", None)
    assert receipt({"generation_id": "second"}, x_inference_id="third") == Accepted("second", None)
    assert receipt({}, x_inference_id="third") == Accepted("third", None)


@pytest.mark.parametrize("useless", [None, "", "  ", True, False, 1.5, [], {}, {"id": "x"}, "x" * 5000], ids=repr)
def test_a_useless_id_is_passed_over(useless: Any) -> None:
    """An id that is no id must not hide the one in the header."""
    assert receipt({"id": useless, "generation_id": useless}, x_inference_id="header") == Accepted("header", None)
    assert isinstance(receipt({"id": useless}), Unknown)


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b'[{"id":"g"}]', b'"g"', b"null", b"\xff\xfe\x00", b'{"id":"g"'])
def test_an_acceptance_without_a_readable_id_is_unknown(body: bytes) -> None:
    """Something was bought, but what? Only the upstream's log shows it, or the header."""
    assert isinstance(read_receipt(200, {}, body), Unknown)
    assert read_receipt(200, {"x-inference-id": "g"}, body) == Accepted("g", None)


@pytest.mark.parametrize(
    ("reply", "headers", "cost"),
    [
        pytest.param(usage(credits_used=1040000, usd_spent=0.52), {}, 0.52, id="both"),
        pytest.param(usage(credits_used=1040000), {}, 0.52, id="no usd_spent"),
        pytest.param(usage(tokens_used=6720000), {}, 3.36, id="tokens_used"),
        pytest.param(usage(usd_spent="0.52"), {}, 0.52, id="as text"),
        pytest.param({"id": "g"}, {}, None, id="no meta"),
        pytest.param({"id": "g", "meta": None}, {}, None, id="meta null"),
        pytest.param({"id": "g", "meta": []}, {}, None, id="meta array"),
        pytest.param({"id": "g", "meta": {"usage": 5}}, {}, None, id="usage number"),
        pytest.param({"id": "g"}, {"x-aimlapi-usd-spent": "0.52"}, 0.52, id="header in USD"),
        pytest.param({"id": "g"}, {"x-aimlapi-credits-used": "1040000"}, 0.52, id="header in credits"),
        pytest.param(usage(usd_spent=0.52), {"x-aimlapi-usd-spent": "9"}, 0.52, id="body before header"),
        pytest.param(usage(usd_spent=0, credits_used=0), {}, 0.0, id="free"),
        pytest.param(usage(usd_spent=None, credits_used=1040000), {}, 0.52, id="null"),
        pytest.param(usage(usd_spent=True), {}, None, id="boolean"),
        pytest.param(usage(usd_spent=-1), {}, None, id="negative"),
        pytest.param(usage(usd_spent=10**400), {}, None, id="huge integer"),
        pytest.param(usage(usd_spent=float("nan")), {}, None, id="NaN"),
        pytest.param(usage(usd_spent=float("inf")), {}, None, id="Infinity"),
        pytest.param(usage(usd_spent=1e300), {}, None, id="more than all money"),
        pytest.param(usage(usd_spent=1e300, credits_used=1040000), {}, 0.52, id="an absurd price beside credits"),
        pytest.param(usage(credits_used=1e300), {}, None, id="more than all credits"),
        pytest.param({"id": "g"}, {"x-aimlapi-usd-spent": "1e300"}, None, id="an absurd header"),
        pytest.param(usage(usd_spent="a lot"), {}, None, id="words"),
        pytest.param(usage(usd_spent={"usd": 1}), {"x-aimlapi-usd-spent": "dear"}, None, id="object"),
    ],
)
def test_the_cost_is_found_wherever_it_stands(reply: Any, headers: dict[str, str], cost: float | None) -> None:
    """Only the receipt holds a generation's cost; a strange one must not lose the receipt."""
    assert read_receipt(201, headers, json.dumps(reply).encode()) == Accepted("g", cost)


def test_a_bad_field_is_reported_with_its_name_and_allowed_values() -> None:
    """The message is all that the producer gets to mend the request."""
    receipt = read_receipt(400, {}, BAD_RESOLUTION)
    assert receipt == Rejected(
        "400 Invalid payload provided: resolution Invalid enum value. Expected '720P' | '1080P', received '768P'"
    )


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        pytest.param(400, b'{"statusCode":400,"message":"Bad prompt"}', "400 Bad prompt", id="2025 envelope"),
        pytest.param(400, b"", "400", id="empty"),
        pytest.param(400, b"no\n  way", "400 no way", id="not JSON"),
        pytest.param(400, b"[1]", "400 [1]", id="JSON array"),
        pytest.param(400, b"{}", "400", id="empty object"),
        pytest.param(400, b'{"error":"no prompt"}', "400 no prompt", id="error a string"),
        pytest.param(400, b'{"error":{"name":"BadRequestException"}}', "400 BadRequestException", id="only a name"),
        pytest.param(400, b'{"message":"m","error":{"data":["x",5,null,{"path":3}]}}', "400 m: x", id="odd data"),
        pytest.param(
            400,
            b'{"error":{"message":"m","data":[{"path":["image_urls",0],"message":"Bad"},{"message":"And"}]}}',
            "400 m: image_urls.0 Bad; And",
            id="nested path",
        ),
        pytest.param(
            422, b'{"detail":[{"loc":["body","seed"],"msg":"not int"}]}', "422 body.seed not int", id="detail list"
        ),
        pytest.param(404, b'{"detail":"Not Found"}', "404 Not Found", id="detail a string"),
        pytest.param(404, b'{"message":"Model withdrawn"}', "404 Model withdrawn", id="404"),
        pytest.param(405, b"", "405", id="405"),
        pytest.param(409, b"", "409", id="409"),
        pytest.param(413, b"<html>too large</html>", "413 <html>too large</html>", id="413"),
        pytest.param(415, b"", "415", id="415"),
        pytest.param(451, b"", "451", id="451"),
    ],
)
def test_a_refused_request_is_a_rejection(status: int, body: bytes, message: str) -> None:
    """The request is at fault: nothing was bought, and the same request never goes through."""
    assert read_receipt(status, {}, body) == Rejected(message)


HOLDS: Final = [
    pytest.param(401, OLD_BAD_KEY, Hold.BAD_KEY, id="401 in the 2025 envelope"),
    pytest.param(401, b"", Hold.BAD_KEY, id="401 empty"),
    pytest.param(402, b"", Hold.OUT_OF_CREDITS, id="402"),
    pytest.param(403, NO_CREDITS, Hold.OUT_OF_CREDITS, id="403 no credits"),
    pytest.param(403, b'{"error":{"data":{"kind":"err_unverified_card"}}}', Hold.UNVERIFIED, id="403 unverified card"),
    pytest.param(403, b'{"statusCode":403,"message":"scope"}', Hold.FORBIDDEN, id="403 key scope"),
    pytest.param(403, b'{"error":{"data":{"kind":["x"]}}}', Hold.FORBIDDEN, id="403 odd kind"),
    pytest.param(403, b"<html>WAF</html>", Hold.FORBIDDEN, id="403 HTML"),
    pytest.param(407, b"", Hold.UNAVAILABLE, id="407"),
    pytest.param(421, b"", Hold.UNAVAILABLE, id="421"),
    pytest.param(425, b"", Hold.UNAVAILABLE, id="425"),
    pytest.param(429, b'{"message":"slow down"}', Hold.THROTTLED, id="429"),
]


@pytest.mark.parametrize(("status", "body", "hold"), HOLDS)
def test_a_refusal_of_us_and_not_of_the_request_holds_it(status: int, body: bytes, hold: Hold) -> None:
    """A bad key fails every job alike: the queue waits for the operator, no job fails for it."""
    receipt = read_receipt(status, {}, body)
    assert isinstance(receipt, NotBought)
    assert receipt.hold is hold
    assert receipt.message.startswith(str(status))

    seen = read_poll(status, {}, body)
    assert isinstance(seen, NoResult)
    assert seen.hold is hold


def test_the_message_repeats_what_the_upstream_said() -> None:
    """Both envelopes carry a sentence for people."""
    assert read_receipt(401, {}, OLD_BAD_KEY) == NotBought(
        Hold.BAD_KEY, "401 This request requires a valid API key. Get one."
    )
    assert read_receipt(403, {}, NO_CREDITS) == NotBought(Hold.OUT_OF_CREDITS, "403 You've run out of credits.")


@pytest.mark.parametrize("status", [408, 499, 500, 501, 502, 503, 504, 520, 524, 599, 100, 101, 204 + 100, 302, 307, 0])
@pytest.mark.parametrize("body", [b"", CLOUDFLARE, BAD_RESOLUTION, b'{"id":"g"}'], ids=["empty", "HTML", "400", "id"])
def test_a_status_that_proves_nothing_is_unknown(status: int, body: bytes) -> None:
    """A gateway that gave up waiting may have passed the request on before."""
    assert isinstance(read_receipt(status, {"retry-after": "1"}, body), Unknown)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://api.new.example/v2/video/generations", "https://api.new.example"),
        ("https://new.example/prefix/v2/generate/video/google/generation/", "https://new.example/prefix"),
        ("https://new.example/v2/video/generations?token=hunter2#x", "https://new.example"),
        ("https://user:hunter2@new.example/v2/billing", "https://new.example"),
        ("//new.example/v2/video/generations", "//new.example"),
        ("https://login.example/sso?back=%2Fv2", "https://login.example/sso"),
        ("/login", "/login"),
        ("/v2/video/generations/", "another path of the same host"),
        ("http://[", "http://["),
        ("https://b\xc3\xbccher.example/\x1b[2J", "https://bücher.example/[2J"),
        ("https://x.example/" + "y" * 5000, "https://x.example/" + "y" * 182),
    ],
)
def test_a_redirect_of_a_purchase_proves_that_nothing_was_bought(status: int, location: str, named: str) -> None:
    """A server that says "ask there instead" has done nothing; the operator mends the address once for all jobs."""
    receipt = read_receipt(status, {"location": location}, CLOUDFLARE)
    said = f"{status}: the address redirects to {named}; set RUSHES_UPSTREAM__BASE_URL to the API's own"
    assert receipt == NotBought(Hold.MISCONFIGURED, said)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        pytest.param(303, {"location": "https://new.example/v2/video/generations"}, b"", id="303: it was done"),
        pytest.param(300, {"location": "https://new.example/"}, b"", id="300: a choice"),
        pytest.param(304, {"location": "https://new.example/"}, b"", id="304: no answer to a POST"),
        pytest.param(305, {"location": "https://new.example/"}, b"", id="305: use a proxy"),
        pytest.param(306, {"location": "https://new.example/"}, b"", id="306: unused"),
        pytest.param(399, {"location": "https://new.example/"}, b"", id="399: unknown"),
        pytest.param(308, {}, b"", id="without an address"),
        pytest.param(308, {"location": "  "}, b"", id="with an empty address"),
        pytest.param(302, {"location": "/v2/video/generations?generation_id=g"}, b"", id="to what was made"),
        pytest.param(302, {"location": "/x", "x-inference-id": "g"}, b"", id="with what was made"),
        pytest.param(307, {"location": "/x"}, b'{"id":"g"}', id="with what was made in its body"),
    ],
)
def test_a_3xx_that_does_not_say_ask_there_instead_is_unknown(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """Behind a web form, a redirect shows what was done: bought again, it would be paid twice."""
    assert isinstance(read_receipt(status, headers, body), Unknown)


def test_an_html_page_is_reported_in_one_short_line() -> None:
    """A message is for a table's cell."""
    receipt = read_receipt(524, {}, CLOUDFLARE * 50)
    assert isinstance(receipt, Unknown)
    assert "524 <!DOCTYPE html> <html>" in receipt.message
    assert len(receipt.message) < 200


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(403, b'{"error":{"message":"Content policy violation"}}', id="403 in words"),
        pytest.param(403, b'{"error":{"name":"ForbiddenException","code":"moderation_blocked"}}', id="403 by its code"),
        pytest.param(403, b'{"statusCode":403,"message":"Prompt was rejected by our safety filter"}', id="403 of 2025"),
        pytest.param(400, b'{"error":{"type":"content_policy_violation","message":"no"}}', id="400 by its type"),
        pytest.param(422, b'{"detail":[{"loc":["body"],"msg":"no","type":"content_filter"}]}', id="422 by a detail"),
        pytest.param(400, b'{"error":{"code":"InputTextSensitiveContentDetected"}}', id="Seedance's code"),
        pytest.param(400, b'{"error":{"data":[{"path":["prompt"],"message":"Prohibited content"}]}}', id="of a field"),
    ],
)
def test_a_request_that_the_safety_filter_refuses_is_refused_and_holds_nothing(status: int, body: bytes) -> None:
    """One prompt's content is not the account's trouble: a hold would stop it for a day, and hide the reason."""
    receipt = read_receipt(status, {}, body)
    assert isinstance(receipt, Rejected)
    assert receipt.by_filter


@pytest.mark.parametrize(
    "body",
    [
        NO_CREDITS,
        b'{"statusCode":403,"message":"model not available"}',
        b'{"error":{"data":{"kind":"err_unverified_card"},"message":"content policy"}}',
        b'{"message":"Your account was suspended for violating the content policy"}',
        b'{"message":"This API key may not use models without moderation"}',
        b'{"error":{"code":"plan_required","message":"NSFW content needs another plan"}}',
        b"<html>content policy</html>",
    ],
    ids=lambda body: body.decode()[:40],
)
def test_a_refusal_of_our_account_is_no_refusal_of_the_content(body: bytes) -> None:
    """It concerns every job: the queue waits for the operator, and no job fails for it."""
    assert isinstance(read_receipt(403, {}, body), NotBought)


@pytest.mark.parametrize("status", [400, 422])
def test_a_malformed_request_is_no_refusal_of_the_content(status: int) -> None:
    """The reason says what the producer has to mend."""
    receipt = read_receipt(status, {}, BAD_RESOLUTION)
    assert isinstance(receipt, Rejected)
    assert not receipt.by_filter


# Retry-After


@pytest.mark.parametrize(
    ("headers", "wait_s"), [({}, None), ({"retry-after": "7"}, 7.0), ({"retry-after": "soon"}, None)]
)
def test_a_refusal_says_how_long_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    """Replies to purchases and to polls both name the wait."""
    assert read_receipt(429, headers, b"{}") == NotBought(Hold.THROTTLED, "429", wait_s)
    assert read_poll(429, headers, b"{}") == NoResult(Hold.THROTTLED, "429", wait_s)


# Whatever may come

LEAVES = st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**400) | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
ERRORS = JSON | st.fixed_dictionaries(
    {}, optional={"data": JSON, "detail": JSON | st.lists(JSON), "message": JSON, "name": JSON}
)
NEAR_MISSES = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "generation_id": JSON,
        "status": JSON | st.sampled_from(["completed", "error", "failed", "queued"]),
        "video": JSON | st.fixed_dictionaries({"url": st.text() | st.just("http://[x")}, optional={"file_size": JSON}),
        "error": ERRORS,
        "message": JSON,
        "meta": st.fixed_dictionaries({"usage": st.fixed_dictionaries({}, optional={"usd_spent": JSON})}) | JSON,
    },
)
LOG_LINES = st.fixed_dictionaries(
    {"client_request_id": st.just("r"), "inference_id": st.just("g")},
    optional={
        "created": JSON | st.sampled_from(["0001-01-01T00:00:00", "9999-12-31T23:59:59", "2026-07-02"]),
        "cost": JSON | st.fixed_dictionaries({"usd": JSON | st.floats()}),
    },
)
STATUSES = st.integers(0, 1000) | st.sampled_from([200, 201, 400, 401, 403, 404, 429, 500, 524])
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "x-inference-id", "x-aimlapi-usd-spent", "x-aimlapi-credits-used"]),
    st.text(st.characters(max_codepoint=255), max_size=30),
)
BODIES = (JSON | NEAR_MISSES).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)


@settings(deadline=None)  # the machine may be busy with other tests
@given(status=STATUSES, headers=HEADERS, body=BODIES)
def test_no_reply_breaks_the_reading_of_a_receipt(status: int, headers: dict[str, str], body: bytes) -> None:
    """An exception between POST and ledger would lose a purchase; a wrong proof would buy it twice."""
    receipt = read_receipt(status, headers, body)

    if status >= 500 or status < 200 or 300 <= status < 400:
        assert isinstance(receipt, Unknown)
    if 200 <= status < 300:
        assert isinstance(receipt, Accepted | Unknown)
    if isinstance(receipt, Accepted):
        assert receipt.generation_id.strip()
        assert receipt.cost_usd is None or 0 <= receipt.cost_usd < float("inf")
    else:
        assert len(receipt.message) < 600


class Broken(dict[str, str]):
    """Headers in which every question fails."""

    def get(self, *_: Any) -> Any:
        """Fail."""
        raise OverflowError("a stranger's idea")


def test_what_nobody_foresaw_is_an_outcome_too(caplog: pytest.LogCaptureFixture) -> None:
    """The purchase is in doubt and the job is polled again, with the traceback in the log; nothing is stranded."""
    assert isinstance(read_receipt(200, Broken(), b"{}"), Unknown)
    assert isinstance(read_receipt(429, Broken(), b"{}"), Unknown)
    assert isinstance(read_poll(429, Broken(), b"{}"), NoResult)
    assert isinstance(read_log_page(500, Broken(), b"{}"), NoResult)
    assert caplog.text.count("Traceback") == 4


@settings(deadline=None)  # the machine may be busy with other tests
@given(status=STATUSES, headers=HEADERS, lines=JSON | st.lists(LOG_LINES))
def test_no_reply_breaks_the_reading_of_the_log(status: int, headers: dict[str, str], lines: Any) -> None:
    """An exception here would leave every purchase in doubt."""
    page = read_log_page(status, headers, json.dumps({"data": lines}).encode())
    if not isinstance(page, NoResult):
        assert all(row.cost_usd is None or 0 <= row.cost_usd <= 1_000_000 for row in page.rows)


@pytest.mark.parametrize("depth", [10, 100, 900, 960, 990, 1000, 100_000])
@pytest.mark.parametrize(
    "frame",
    [
        "%s",
        '{"id":%s,"meta":{"usage":{"usd_spent":%s}}}',
        '{"status":%s}',
        '{"status":"completed","video":%s}',
        '{"status":"error","error":%s}',
        '{"error":{"data":[{"path":[%s],"message":%s}]}}',
    ],
)
def test_nesting_of_any_depth_is_survived(frame: str, depth: int) -> None:
    """Brackets are cheap to send, and each may cost a stack frame to read."""
    body = frame.replace("%s", "[" * depth + "]" * depth).encode()
    for status in (200, 400, 403, 500):
        assert not isinstance(read_receipt(status, {}, body), Accepted)
        assert not isinstance(read_poll(status, {}, body), Finished)


def test_half_a_surrogate_pair_is_made_fit_to_be_kept() -> None:
    """JSON can spell text that UTF-8 cannot: written to the ledger as it is, it would lose the receipt."""
    assert read_receipt(400, {}, b'{"message":"bad \\ud83d prompt \\ud83d\\ude00"}') == Rejected("400 bad ? prompt 😀")
