"""Whatever shape a request has: it is refused by the name of its field, or every later stage can write it down."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import FieldError, InvalidRequest
from jobs.job import Charged, Job, Stored, VideoRequest
from jobs.payloads import payload
from jobs.row import fingerprint_of, request_from, request_text
from jobs.states import State
from producer.batch_file import read_batch
from producer.models.kinds import expected_of, kind_of
from producer.models.shape import LONGEST_NAME, MOST_VALUES
from producer.models.validation import LONGEST_MODEL, LONGEST_PROMPT, validate
from producer.reuse import digest_of
from producer.views import job_view
from tests.api.conftest import PATIENCE_S, Api
from worker.describe.manifest import manifest
from worker.receivers.result import result_of
from worker.sql.schema import upgrade
from worker.sql.writing import ResultsWriter

LARGEST_BYTES: Final = 1_000_000
OTHER: Final = "somebody/else"
REFUSALS: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
SHORT_REPLY: Final = 50_000
JOB: Final = Job(
    id="job_1", version=1, state=State.COMPLETED, turn=9, model="a/model", accepted_at=1.0, deadline_at=2.0,
    deadline_s=1.0, finished_at=2.0, charged=Charged.YES, stored=Stored("a.mp4", 1, "ab", "video/mp4"),
)  # fmt: skip


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """Return one value this deep."""
    return reduce(lambda value, _: wrap(value), range(levels), 1)


NUMBERS: Final = (
    st.integers() | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**4000]) | st.floats()
)
NAMES: Final = st.text(max_size=8) | st.sampled_from(["n" * 128, "n" * 129, "\ud800", "\0", "model", "prompt", ""])
TEXTS: Final = st.text(max_size=8) | st.sampled_from(["\ud800", "a\0b", "x" * 5000, "A" * 300])
LEAVES: Final = st.none() | st.booleans() | NUMBERS | TEXTS | st.just(b"bytes") | st.just({1, 2})
DEEP: Final = st.builds(
    nested, st.integers(0, 1000), st.sampled_from([lambda held: [held], lambda held: {"a": held}, lambda held: (held,)])
)
WIDE: Final = st.integers(0, 2 * MOST_VALUES).map(lambda count: list(range(count))) | st.integers(
    0, 2 * MOST_VALUES
).map(lambda count: {str(place): place for place in range(count)})
VALUES: Final = st.recursive(
    LEAVES | DEEP | WIDE,
    lambda within: st.lists(within, max_size=4) | st.dictionaries(NAMES | st.integers(), within, max_size=4),
    max_leaves=8,
)
LABELS: Final = st.dictionaries(NAMES | st.integers(), TEXTS | NUMBERS | DEEP, max_size=18)
REQUESTS: Final = st.builds(
    VideoRequest,
    st.sampled_from([OTHER, "google/veo3", "m" * LONGEST_MODEL, "m" * (LONGEST_MODEL + 1), "\ud800", ""]) | LEAVES,
    st.sampled_from(["a boat", None, "b" * LONGEST_PROMPT, "b" * (LONGEST_PROMPT + 1)]) | LEAVES | DEEP,
    st.dictionaries(NAMES | st.sampled_from(["duration", "resolution", "seed"]) | st.integers(), VALUES, max_size=4),
    LABELS | LEAVES | DEEP | WIDE,
    st.sampled_from([None, "https://shop.example/hook"]) | LEAVES | DEEP,
)


@pytest.fixture(scope="module")
def writer() -> ResultsWriter:
    """The database of results, in memory."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    upgrade(engine)
    return ResultsWriter(engine, migrate=False)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(request=REQUESTS)
def test_a_request_is_refused_by_name_or_every_later_stage_writes_it(
    writer: ResultsWriter, request: VideoRequest
) -> None:
    """A value that only the database or the manifest refuses would be tried for ever, and hold up other tenants."""
    errors = errors_of(request)
    if not errors:
        written_down(request, writer)
    assert all(error.field.partition(".")[0] for error in errors)
    json.dumps([[error.field, error.message] for error in errors], ensure_ascii=False).encode()


def errors_of(request: VideoRequest) -> Sequence[FieldError]:
    """Validate a request."""
    try:
        validate(request, largest_bytes=LARGEST_BYTES)
    except InvalidRequest as error:
        return error.errors
    return ()


def written_down(request: VideoRequest, writer: ResultsWriter) -> None:
    """Write an accepted request down wherever its job is."""
    kind_of(request), expected_of(request), fingerprint_of(request), digest_of(request, "a")
    kept = request_from(request_text(request))
    assert kept.body() == json.loads(json.dumps(request.body()))
    result = result_of(JOB, kept, "/archive")
    writer.write([result])
    shown = [
        result.model_dump(mode="json"),
        job_view(JOB, kept),
        manifest(JOB, kept, []),
        payload("job.completed", JOB, kept),
    ]
    json.dumps([*shown, kept.body()], ensure_ascii=False, allow_nan=False).encode()


AT_THE_BOUNDS: Final[Mapping[str, Any]] = {
    "depth": nested(32, lambda held: [held]),
    "values": list(range(MOST_VALUES - 1)),
    "a name": {"n" * LONGEST_NAME: 1},
    "a whole number": [2**64 - 1, -(2**63)],
    "a number": [1.7976931348623157e308, -0.0, 5e-324],
}
BEYOND: Final[Mapping[str, tuple[Any, str]]] = {
    "depth": (nested(33, lambda held: {"a": held}), "may be nested 32 deep"),
    "a list": (list(range(MOST_VALUES)), "may not take the parameters beyond 1000 values"),
    "many lists": ([[0] * 100] * 10, "may not take the parameters beyond 1000 values"),
    "an object": ({str(n): n for n in range(MOST_VALUES)}, "may not take the parameters beyond 1000 values"),
    "a name": ({"n" * (LONGEST_NAME + 1): 1}, "may have names of 1 to 128 characters; got 129"),
    "a whole number": (2**64, "may hold whole numbers of up to 64 bits"),
    "a negative one": (-(2**63) - 1, "may hold whole numbers of up to 64 bits"),
}


@pytest.mark.parametrize("model", [OTHER, "google/veo3"])
@pytest.mark.parametrize(("value", "why"), BEYOND.values(), ids=BEYOND)
def test_a_value_beyond_a_bound_is_told_with_its_field_and_the_bound(model: str, value: Any, why: str) -> None:
    """The same for every model: what the upstream would take may still break a reader here."""
    (error,) = errors_of(VideoRequest(model, "a boat", {"camera": value}))

    assert error.field == "parameters.camera"
    assert error.message.startswith(why)


@pytest.mark.parametrize("value", AT_THE_BOUNDS.values(), ids=AT_THE_BOUNDS)
def test_a_value_at_a_bound_is_written_everywhere(writer: ResultsWriter, value: Any) -> None:
    """A bound that a later stage can't keep is none."""
    request = VideoRequest(OTHER, "a boat", {"camera": value})

    assert not errors_of(request)
    written_down(request, writer)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (VideoRequest(OTHER, "a boat", {str(n): n for n in range(MOST_VALUES + 1)}), "parameters"),
        (VideoRequest(OTHER, "a boat", {"n" * 129: 1}), "parameters." + "n" * 69),
        (VideoRequest(OTHER, "a boat", {1: 1}), "parameters.(int)"),  # type: ignore[dict-item]  # in-process callers may
        (VideoRequest(OTHER, "a boat", [1]), "parameters"),  # type: ignore[arg-type]  # as above
        (VideoRequest(OTHER, ["a boat"]), "prompt"),  # type: ignore[arg-type]  # as above
        (VideoRequest(OTHER, "b" * (LONGEST_PROMPT + 1)), "prompt"),
        (VideoRequest("m" * (LONGEST_MODEL + 1), "a boat"), "model"),
        (VideoRequest(OTHER, "a boat", {}, {1: "a"}), "metadata.(int)"),  # type: ignore[dict-item]  # as above
    ],
)
def test_what_no_schema_of_the_api_has_judged_is_bounded_all_the_same(request_: VideoRequest, field: str) -> None:
    """A batch file's row and a caller in the same process may hold anything."""
    assert [error.field for error in errors_of(request_)] == [field]


JSON_WAYS: Final = ("/v1/videos", "/v1/videos/batch", "/v2/video/generations")
FORM_WAYS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def sent_as_json(api: Api, path: str, video: str) -> requests.Response:
    """Send a video's JSON, in a batch of one where the path takes batches; return the reply to that video."""
    body = f'{{"requests": [{video}]}}' if path.endswith("batch") else video
    return requests.post(api.url + path, data=body, headers={"content-type": "application/json"}, timeout=PATIENCE_S)


def refused(answer: requests.Response) -> str:
    """Return a refusal's text; a batch's reply has it inside."""
    if answer.status_code == HTTPStatus.MULTI_STATUS:
        (result,) = answer.json()["data"]
        assert result["status"] == HTTPStatus.UNPROCESSABLE_ENTITY
    else:
        assert answer.status_code in REFUSALS, answer.text
    return answer.text


@pytest.mark.parametrize("path", JSON_WAYS)
@pytest.mark.parametrize(("value", "why"), BEYOND.values(), ids=BEYOND)
def test_every_way_in_over_http_refuses_the_same_shapes(api: Api, path: str, value: Any, why: str) -> None:
    """The upstream's own path too: its error names the field and the bound."""
    video = json.dumps({"model": OTHER, "prompt": "a boat", "camera": value})

    text = refused(sent_as_json(api, path, video))

    assert "camera" in text
    assert why in text


@pytest.mark.parametrize("path", JSON_WAYS)
@pytest.mark.parametrize("levels", [950, 5_000, 1_000_000])
@pytest.mark.parametrize("field", ["camera", "metadata", "prompt", "requests", "webhook_url"])
def test_json_that_only_a_deep_stack_could_read_is_refused(api: Api, path: str, levels: int, field: str) -> None:
    """Python's own reader ends at about a thousand levels: that is the caller's error, not ours."""
    refused(sent_as_json(api, path, f'{{"model": "{OTHER}", "{field}": {"[" * levels}{"]" * levels}}}'))


@pytest.mark.parametrize("kind", FORM_WAYS)
def test_a_form_is_bounded_by_the_same_function(api: Api, kind: str) -> None:
    """Its brackets build objects, and its labels may be JSON."""
    wide = [("model", OTHER), ("prompt", "a boat"), (f"camera[{'n' * 129}]", "1")]
    labels = [("model", OTHER), ("prompt", "a boat"), ("metadata", json.dumps({str(n): "x" for n in range(100)}))]

    for fields, named, why in (
        (wide, "body.camera", "may have names of 1 to 128 characters; got 129"),
        (labels, "body.metadata", "may hold 16 labels; got 100"),
    ):
        as_parts = [(name, (None, value)) for name, value in fields]
        parts: Any = {"files": as_parts} if kind == "multipart/form-data" else {"data": fields}
        answer = requests.post(f"{api.url}/v1/videos", timeout=PATIENCE_S, **parts)
        refused(answer)
        assert answer.json()["errors"] == [{"location": named, "message": why}]


def test_a_refusal_is_short_however_much_is_wrong(api: Api) -> None:
    """A megabyte of bad fields would otherwise be answered with a hundred megabytes of errors."""
    labels = json.dumps({str(n): n for n in range(50_000)})
    names = json.dumps({str(n): n for n in range(900)})

    many_labels = sent_as_json(api, "/v1/videos", f'{{"prompt": "a boat", "metadata": {labels}}}')
    many_names = sent_as_json(api, "/v1/videos", f'{{"prompt": "a boat", {names[1:]}')
    many_outside = requests.post(f"{api.url}/v1/videos/batch", json={str(n): n for n in range(900)}, timeout=PATIENCE_S)

    assert len(refused(many_labels)) < SHORT_REPLY
    assert len(refused(many_names)) < SHORT_REPLY
    assert len(refused(many_outside)) < SHORT_REPLY


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_the_batch_file_of_the_command_line_names_line_field_and_bound(tmp_path: Path, name: str) -> None:
    """A row is judged like a request over HTTP."""
    row = {"model": OTHER, "prompt": "a boat", "n" * 129: "1"}
    file = tmp_path / name
    file.write_text(json.dumps(row) if name.endswith("jsonl") else "\n".join([",".join(row), ",".join(row.values())]))

    with pytest.raises(InvalidRequest) as caught:
        read_batch(file, default_model=OTHER, name="a", validate=partial(validate, largest_bytes=LARGEST_BYTES))

    (error,) = caught.value.errors
    assert error.field.startswith(f"line {1 if name.endswith('jsonl') else 2}: parameters.nnn")
    assert error.message == "may have names of 1 to 128 characters; got 129"


def test_a_row_of_a_batch_file_may_be_as_deep_as_it_likes(tmp_path: Path) -> None:
    """It is refused by its line."""
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"prompt": "a boat", "camera": {"[" * 900}{"]" * 900}}}\n[{"[" * 100_000}')

    with pytest.raises(InvalidRequest) as caught:
        read_batch(file, default_model=OTHER, name="a", validate=partial(validate, largest_bytes=LARGEST_BYTES))

    assert [error.field for error in caught.value.errors] == ["line 1: parameters.camera", "line 2"]
