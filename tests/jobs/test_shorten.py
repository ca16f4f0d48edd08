"""Pictures and long texts are sent whole to the upstream, and shown in a short form everywhere else."""

import json
from base64 import b64encode
from hashlib import sha256
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.job import Charged, Job, Stored, VideoRequest
from jobs.payloads import payload
from jobs.row import request_from, request_text
from jobs.shorten import LONGEST_TEXT, shorten
from jobs.states import State
from producer.views import job_view
from worker.describe.manifest import manifest
from worker.receivers.result import result_of
from worker.sql.writing import row_of

PICTURE: Final = b64encode(bytes(range(256)) * 100).decode()
URL: Final = f"data:image/png;base64,{PICTURE}"
SHORT: Final = f"data:image/png;base64,… (34,158 bytes, sha256 {sha256(URL.encode()).hexdigest()})"
MOST_SHOWN: Final = 6000

JOB: Final = Job(
    id="job_1", version=1, state=State.COMPLETED, turn=9, model="a/model", accepted_at=1.0, deadline_at=2.0,
    deadline_s=1.0, finished_at=2.0, charged=Charged.YES, stored=Stored("a.mp4", 1, "ab", "video/mp4"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (URL, SHORT),
        (URL.replace("data:", "DATA:"), SHORT.replace("data:", "DATA:")[:22]),
        (f"data:,{'a%20picture' * 20}", "data:,… (226 bytes, "),
        (f"data:image/svg+xml;charset=utf-8,<svg>{'<g/>' * 50}", "data:image/svg+xml;charset=utf-8,… (238 bytes, "),
        (PICTURE, f"{PICTURE[:24]}… (34,136 bytes, "),
        (b64encode(bytes(200)).decode(), "AAAAAAAAAAAAAAAAAAAAAAAA… (268 bytes, "),
        ("ä" * 3000, f"{'ä' * 24}… (6,000 bytes, "),
        ("\ud800" * 3000, "\ud800" * 24),
        ([URL, "https://a.example/b.png"], [SHORT, "https://a.example/b.png"]),
        ({"input_reference": {"image_url": URL}}, {"input_reference": {"image_url": SHORT}}),
        ({"frames": [{"at": 0, "picture": (URL,)}]}, {"frames": [{"at": 0, "picture": [SHORT]}]}),
    ],
)
def test_what_may_be_a_picture_is_short(value: Any, short: Any) -> None:
    """It is shortened whatever the parameter's name, and however deep it stands."""
    found = shorten(value)

    assert found.startswith(short) if isinstance(short, str) else found == short


@pytest.mark.parametrize(
    "value",
    [
        8, 0.5, True, None, "", [], {}, "16:9", "data:image/png;base64,iVBORw0KGgo=",
        "a paper boat " * 150, "data: a table, a chair" * 10, "x" * 199,
        "https://bucket.example/boat.png?X-Amz-Signature=" + "ab" * 500, "w" * 100 + " " + "v" * 150,
    ],
)  # fmt: skip
def test_all_else_is_shown_as_it_was_given(value: Any) -> None:
    """A prompt's words, a signed URL and numbers stay whole."""
    assert shorten({"held": value}) == {"held": value}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(URL),
    lambda within: st.lists(within) | st.dictionaries(st.text(), within),
)


@given(value=JSON)
def test_any_json_has_a_short_form(value: Any) -> None:
    """No stranger's parameter turns an accepted job's view into an error; no picture comes through."""
    assert PICTURE not in json.dumps(shorten(value))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_ends_no_view(opening: str) -> None:
    """What JSON can read can be shown."""
    closing = {"[": "]", '{"a":': "}"}[opening]
    value = json.loads(opening * 400 + "1" + closing * 400)

    assert len(json.dumps(shorten(value))) < 500


@pytest.mark.parametrize(
    "parameters",
    [
        {"image_url": URL},
        {"tail_image_url": URL},
        {"last_image_url": PICTURE},
        {"image_urls": [URL, URL, URL]},
        {"input_reference": {"image_url": URL}},
        {"duration": URL},
        {"camera": {"start": {"picture": PICTURE}, "script": "turn left, " * 1000}},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_no_face_shows_the_picture_and_the_upstream_gets_it(parameters: dict[str, Any]) -> None:
    """View, manifest, hook's record, database row and webhook show the short form."""
    request = request_from(request_text(VideoRequest("a/model", "a boat", parameters)))
    result = result_of(JOB, request, "/archive")
    shown = {
        "view": job_view(JOB, request),
        "manifest": manifest(JOB, request, []),
        "hook": result.model_dump(),
        "row": row_of(result),
        "webhook": payload("job.completed", JOB, request),
    }

    assert {face: len(json.dumps(said, default=str)) < MOST_SHOWN for face, said in shown.items()} == dict.fromkeys(
        shown, True
    )
    assert request.body() == {"model": "a/model", "prompt": "a boat", **parameters}


def test_a_short_form_is_shorter_than_what_it_stands_for() -> None:
    """This holds from the first character above the limit."""
    assert len(shorten("a " * (LONGEST_TEXT // 2) + "b")) < LONGEST_TEXT
