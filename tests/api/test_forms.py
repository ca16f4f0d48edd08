"""A form is a request like any other: brackets express structure, and values get the types that the model takes."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
import redis
import requests

from tests.api.conftest import Api

Fields = list[tuple[str, str]]

OTHERS = "kling-video/v1.6/standard/text-to-video"
TWO_POINTS = {"p": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def posted(api: Api, fields: Fields, *, multipart: bool = True) -> requests.Response:
    """A form, each field as it stands here."""
    if multipart:
        return requests.post(f"{api.url}/v1/videos", files=[(name, (None, text)) for name, text in fields], timeout=30)
    return requests.post(
        f"{api.url}/v1/videos",
        data=urlencode(fields),
        headers={"content-type": "application/x-www-form-urlencoded"},
        timeout=30,
    )


def parameters(answer: requests.Response) -> Any:
    """What the upstream will be sent beside model and prompt."""
    assert answer.status_code == 202, answer.text
    return answer.json()["parameters"]


@pytest.mark.parametrize("multipart", [True, False])
@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ([("camera[type]", "simple")], {"camera": {"type": "simple"}}),
        ([("camera[by][zoom]", "-0.5"), ("camera[by][pan]", "5")], {"camera": {"by": {"zoom": -0.5, "pan": 5}}}),
        ([("cfg_scale", "0.5"), ("loop", "true")], {"cfg_scale": 0.5, "loop": True}),
        ([("loop", "False"), ("steps", "1e2"), ("shift", "1e-05")], {"loop": False, "steps": 100.0, "shift": 1e-05}),
        ([("duration", "5"), ("seed", "-7")], {"duration": 5, "seed": -7}),
        ([("id", "007"), ("code", "+1"), ("hex", "0x1f")], {"id": "007", "code": "+1", "hex": "0x1f"}),
        ([("word", "null"), ("text", "none")], {"word": "null", "text": "none"}),
        ([("id", "9" * 40), ("far", "1e999"), ("nan", "NaN")], {"id": "9" * 40, "far": "1e999", "nan": "NaN"}),
        ([("negative_prompt", "true"), ("resolution", "720")], {"negative_prompt": "true", "resolution": "720"}),
        ([("tags[]", "a"), ("tags[]", "2")], {"tags": ["a", 2]}),
        ([("tags[]", "a")], {"tags": ["a"]}),
        ([("tags", "a"), ("tags", "b")], {"tags": ["a", "b"]}),
        ([("tags[1]", "b"), ("tags[0]", "a")], {"tags": ["a", "b"]}),
        ([("frames[50]", "b"), ("frames[0]", "a")], {"frames": {"50": "b", "0": "a"}}),
        ([("p[][x]", "1"), ("p[][x]", "3"), ("p[][y]", "2"), ("p[][y]", "4")], TWO_POINTS),
        ([("p[][x]", "1"), ("p[][y]", "2"), ("p[][x]", "3"), ("p[][y]", "4")], TWO_POINTS),
        ([("p[][x]", "1"), ("p[][y]", ""), ("p[][x]", "3"), ("p[][y]", "4")], {"p": [{"x": 1}, {"x": 3, "y": 4}]}),
        ([("a[b][]", "1"), ("a[b][]", "2")], {"a": {"b": [1, 2]}}),
        ([("style", ""), ("seed", ""), ("tags[]", ""), ("size", "")], {}),
        ([("text", '{"a": 1}')], {"text": '{"a": 1}'}),
    ],
)  # fmt: skip
def test_another_vendors_request_arrives_as_it_was_meant(
    api: Api, fields: Fields, meant: dict[str, Any], multipart: bool
) -> None:
    """Nobody here knows its parameters, so a number is a number and an object an object."""
    form = [("model", OTHERS), ("prompt", "42"), *fields]

    answer = posted(api, form, multipart=multipart)

    assert parameters(answer) == meant
    assert [type(value) for value in parameters(answer).values()] == [type(value) for value in meant.values()]
    assert (answer.json()["prompt"], answer.json()["model"]) == ("42", OTHERS)


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ([("negative_prompt", "true"), ("seed", "42")], {"negative_prompt": "true", "seed": 42}),
        ([("negative_prompt", "0.5"), ("duration", "8")], {"negative_prompt": "0.5", "duration": 8}),
        ([("generate_audio", "1"), ("enhance_prompt", "False")], {"generate_audio": True, "enhance_prompt": False}),
        ([("seconds", "4"), ("size", "1280x720")], {"duration": 4, "aspect_ratio": "16:9", "resolution": "720P"}),
    ],
)
def test_a_known_models_request_is_typed_as_the_model_says(api: Api, fields: Fields, meant: dict[str, Any]) -> None:
    """A text that reads as a number stays text where the model wants text."""
    answer = posted(api, [("prompt", "1e5"), *fields])

    assert parameters(answer) == meant
    assert answer.json()["prompt"] == "1e5"


def test_labels_are_text_whatever_they_look_like(api: Api) -> None:
    """Also those with numbers and brackets for names; several ways to give them may be mixed."""
    labels = [("metadata[0]", "1"), ("metadata[a[b]]", "true"), ("metadata", '{"shop": "17"}'), ("metadata[none]", "")]

    answer = posted(api, [("prompt", "a boat"), *labels])

    assert answer.json()["metadata"] == {"0": "1", "a[b]": "true", "shop": "17"}


@pytest.mark.parametrize(
    ("fields", "location", "why"),
    [
        ([("a[b", "1")], "body.a[b", "brackets"),
        ([("a[b]c", "1")], "body.a[b]c", "brackets"),
        ([("[a]", "1")], "body.[a]", "brackets"),
        ([("a" + "[b]" * 9, "1")], "body.a" + "[b]" * 9, "a form allows 8 levels"),
        ([("a[][]", "1"), ("a[][]", "2")], "body.a[][]", "list of lists"),
        ([("p[][x]", "1"), ("p[][x]", "2"), ("p[][y]", "3")], "body.p[][y]", "in every element"),
        ([("a", "1"), ("a[b]", "2")], "body.a[b]", "both as a value"),
        ([("a[b]", "1"), ("a", "2")], "body.a", "twice"),
        ([("a[]", "1"), ("a[x]", "2")], "body.a", "both as a list"),
        ([("metadata", "[1]")], "body.metadata", "JSON object of labels"),
        ([("prompt", "another")], "body.prompt", "string"),
    ],
)
def test_what_a_form_cannot_say_is_refused_not_guessed(
    api: Api, client: "redis.Redis", fields: Fields, location: str, why: str
) -> None:
    """A wrong guess would be paid for; and nothing is queued."""
    answer = posted(api, [("model", OTHERS), ("prompt", "a boat"), *fields])

    assert answer.status_code == 422, answer.text
    assert [
        wrong["message"]
        for wrong in answer.json()["errors"]
        if wrong["location"] == location and why in wrong["message"]
    ]
    assert client.dbsize() == 0


def test_a_form_has_bounds(api: Api) -> None:
    """In fields as in bytes."""
    answer = posted(api, [("model", OTHERS), *((f"a{n}", "1") for n in range(300))])
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")
    answer = posted(api, [("model", OTHERS), *((f"a{n}", "1") for n in range(300))], multipart=False)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")
    assert posted(api, [("prompt", "a" * 250_000)]).status_code == 413


@pytest.mark.parametrize("body", ["prompt=ein Böötchen", f"prompt={quote('ein Böötchen')}", "prompt=ein+Böötchen"])
def test_a_form_is_utf_8_escaped_or_not(api: Api, body: str) -> None:
    """Curl escapes nothing by itself."""
    answer = requests.post(
        f"{api.url}/v1/videos",
        data=body.encode(),
        headers={"content-type": "application/x-www-form-urlencoded"},
        timeout=30,
    )

    assert answer.json()["prompt"] == "ein Böötchen"


def test_a_plus_within_base64_stays_one(api: Api) -> None:
    """Unescaped, it would be a space, and the picture another."""
    picture = "data:image/png;base64,iVBORw0KGgo+/+AAAAAAAAAAAAAAAAAA"

    answer = requests.post(
        f"{api.url}/v1/videos",
        data=f"prompt=it+sails&image_url={picture}".encode(),
        headers={"content-type": "application/x-www-form-urlencoded"},
        timeout=30,
    )

    assert parameters(answer) == {"image_url": picture}


def test_files_are_pictures_under_any_name_that_takes_one(api: Api) -> None:
    """Each known by its bytes; an input without a file, which browsers send as an empty one, is absent."""
    files: list[Any] = [
        ("model", (None, "google/veo-3.1-reference-to-video")),
        ("prompt", (None, "it sails")),
        ("image_urls[]", ("a.bin", PNG, "application/octet-stream")),
        ("image_urls[]", ("b.bin", b"\xff\xd8\xff" + bytes(64), "application/octet-stream")),
        ("image_url", ("", b"", "application/octet-stream")),
    ]

    answer = requests.post(f"{api.url}/v1/videos", files=files, timeout=30)

    first, second = parameters(answer)["image_urls"]
    assert first.startswith("data:image/png;base64,")
    assert second.startswith("data:image/jpeg;base64,")


def test_a_file_nobody_expects_is_named(api: Api) -> None:
    """With those places that take one."""
    files: dict[str, Any] = {"prompt": (None, "it sails"), "clip": ("a.mp4", b"\x00\x00\x00\x18ftypmp42")}

    answer = requests.post(f"{api.url}/v1/videos", files=files, timeout=30)

    (wrong,) = answer.json()["errors"]
    assert wrong["location"] == "body.clip"
    assert "input_reference" in wrong["message"]
