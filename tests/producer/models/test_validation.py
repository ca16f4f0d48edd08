"""What each model accepts, by the upstream's pages of August 2026: a bad request costs a sentence, no round trip."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from jobs.errors import InvalidRequest
from jobs.job import VideoRequest
from jobs.row import serialized
from producer.models.validation import reuse_problem, validate
from tests.upstream_pages import IMAGE, PAGES

LARGEST: Final = 8_388_608
BAD: Final[Mapping[str, tuple[list[Any], str]]] = {
    "aspect_ratio": (["1:1", "16x9", "", 16, None, ["16:9"]], "must be one of "),
    "negative_prompt": ([5, None, ["rain"], True], "must be text; got "),
    "seed": (["7", 7.0, 7.5, None, True, False, [7]], "must be a whole number; got "),
    "enhance_prompt": (["true", 1, 0, None, "yes"], "must be true or false; got "),
    "generate_audio": (["true", 1, 0, None, "no"], "must be true or false; got "),
    "auto_fix": (["true", 1, None], "must be true or false; got "),
    "provider": ([5, None], "must be text; got "),
    "image_url": (["http://example.com/a.png", "file:///a.png", "a.png", "", 5, [IMAGE]], "must be an https URL or "),
    "last_image_url": (["http://example.com/a.png", "", 5], "must be an https URL or a base64 image; got "),
    "tail_image_url": (["http://example.com/a.png", "", 5, None], "must be an https URL or a base64 image; got "),
    "person_generation": (["allow_all", True, None], "must be one of dont_allow, allow_adult; got "),
    "video_url": (
        ["http://example.com/a.mp4", "a.mp4", "", 5, "QUJD", "data:image/png;base64,QUJD"],
        "must be an https URL or a video as a data URL; got ",
    ),
    "image_urls": (
        [[], [IMAGE] * 4, IMAGE, ["http://example.com/a.png"], [5], 5, {}],
        "must be a list of 1 to 3, each an https URL or a base64 image; got ",
    ),
}


def problems(model: str, prompt: Any = "a dragon", /, metadata: Any = None, **parameters: Any) -> dict[str, str]:
    """What is wrong with a request, by field."""
    try:
        validate(VideoRequest(model, prompt, parameters, metadata or {}), largest_bytes=LARGEST)
    except InvalidRequest as error:
        return {problem.field: problem.message for problem in error.errors}
    return {}


@pytest.mark.parametrize("model", PAGES)
def test_what_a_model_requires_is_enough(model: str) -> None:
    """Everything else has a default at the upstream."""
    required = PAGES[model].requires
    assert problems(model, **required) == {}


@pytest.mark.parametrize("model", PAGES)
def test_what_a_model_requires_is_asked_for(model: str) -> None:
    """All that is missing is told at once."""
    required = PAGES[model].requires
    missing = dict.fromkeys(["prompt", *required], f"is required by {model}")
    assert problems(model, None) == missing
    assert problems(model, None, **dict.fromkeys(required)) == missing


@pytest.mark.parametrize("model", PAGES)
@pytest.mark.parametrize("prompt", ["", "  \n", 5, ["a dragon"], True])
def test_a_prompt_is_text_that_says_something(model: str, prompt: Any) -> None:
    """An empty prompt is a forgotten variable."""
    required = PAGES[model].requires
    told = problems(model, prompt, **required)
    assert list(told) == ["prompt"]
    assert told["prompt"].startswith("must be text, and not empty; got ")


@pytest.mark.parametrize("model", PAGES)
def test_every_value_of_a_models_page_is_accepted(model: str) -> None:
    """A value refused here could never be ordered."""
    _, required, optional, _ = PAGES[model]
    values = [(name, value) for name, values in optional.items() for value in values]
    refused = [(name, value) for name, value in values if problems(model, **required, **{name: value})]
    assert not refused


@pytest.mark.parametrize("model", PAGES)
def test_a_bad_value_is_told_with_its_field_and_what_it_may_be(model: str) -> None:
    """The message must be enough to mend the request."""
    _, required, optional, _ = PAGES[model]
    for name in {*required, *optional} - {"duration", "resolution"}:
        bad, message = BAD[name]
        for value in bad:
            told = problems(model, **{**required, name: value})
            assert list(told) == [name], (name, value)
            assert told[name].startswith(message), (name, value)


@pytest.mark.parametrize("model", PAGES)
def test_a_duration_is_one_of_the_models_own(model: str) -> None:
    """True is 1 and 4.0 is 4 in Python, but not in the upstream's schema."""
    _, required, optional, _ = PAGES[model]
    durations = optional["duration"]
    listed = ", ".join(map(str, sorted(duration for duration in durations if isinstance(duration, int))))
    for value in (0, -4, 9, 4.0, 8.0, "5", "", True, None, [8], *({4, 5, 6, 7, 8, "8"} - durations)):
        told = problems(model, **required, duration=value)
        assert list(told) == ["duration"], value
        assert told["duration"].startswith(f"must be one of {listed}; got "), value


@pytest.mark.parametrize("model", [model for model, page in PAGES.items() if "resolution" in page.takes])
def test_a_resolution_is_one_of_the_models_own(model: str) -> None:
    """The enums are strict, case included; only where the page and the schema disagree both are taken."""
    _, required, optional, _ = PAGES[model]
    for value in {"720P", "1080P", "720p", "1080p", "4k", "", "768P", 720} - optional["resolution"]:
        told = problems(model, **required, resolution=value)
        assert list(told) == ["resolution"], value
        for allowed in optional["resolution"]:
            assert allowed in told["resolution"]


@pytest.mark.parametrize("model", PAGES)
def test_an_unknown_field_is_told_with_those_that_there_are(model: str) -> None:
    """The upstream drops what it does not know and bills the rest: a misspelt field is a wrong video."""
    _, required, optional, _ = PAGES[model]
    told = problems(model, **required, durration=8)
    assert list(told) == ["durration"]
    for name in {"prompt", *required, *optional}:
        assert name in told["durration"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Nobody likes to mend one field a run."""
    told = problems("google/veo-3.0-i2v", None, duration=5, resolution="720p", colour="red", metadata={"a": 5})
    assert set(told) == {"prompt", "image_url", "duration", "resolution", "colour", "metadata.a"}


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        "HTTPS://EXAMPLE.COM/A.PNG?x=1&y=%20",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "iVBORw0KGgo=",
        "iVBO\nRw0KGgo=\n"[:-1],
    ],
)
def test_an_image_is_an_address_or_the_image_itself(image: str) -> None:
    """Both are on the page; line breaks come with many encoders."""
    assert problems("google/veo-3.0-i2v", image_url=image) == {}


def test_one_to_three_reference_images_are_accepted() -> None:
    """In a list or a tuple."""
    for images in ([IMAGE], [IMAGE] * 3, (IMAGE, "iVBORw0KGgo=")):
        assert problems("google/veo-3.1-reference-to-video", image_urls=images) == {}


@pytest.mark.parametrize("model", ["google/veo3-1-extend-video", "google/veo3-1-fast-extend-video"])
def test_a_video_to_extend_is_an_address_or_the_video_itself(model: str) -> None:
    """Both are on the page."""
    assert problems(model, video_url="data:video/mp4;base64,AAAAIGZ0eXA=") == {}


# Models


@pytest.mark.parametrize("model", ["kling-video/v2/master/text-to-video", "minimax/video-01", "sora-2", "gen4", "veo"])
def test_another_vendors_model_passes_untouched(model: str) -> None:
    """The upstream judges it: its pages change faster than this catalogue."""
    assert problems(model, None, anything={"goes": [1, None]}, duration="5s") == {}


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("google/veo-3", "google/veo3"),
        ("Google/Veo3", "google/veo3"),
        ("google/veo3.", "google/veo3"),
        ("google/veo-3.0-fats", "google/veo-3.0-fast"),
        ("google/veo-3.1-t2v-fas", "google/veo-3.1-t2v-fast"),
        ("veo2/image-to-vide", "veo2/image-to-video"),
        ("VEO2", "veo2"),
        ("google/veo3-1-extend-video-fast", "google/veo3-1-fast-extend-video"),
        ("google/veo-3.1-lite-generate-preview", "google/veo-3-1-lite-generate-preview"),
    ],
)
def test_a_misspelt_model_of_googles_is_told_what_was_meant(model: str, meant: str) -> None:
    """A round trip through the queue to find out would be a long way."""
    assert problems(model) == {"model": f'"{model}" is not known; did you mean {meant}?'}


@pytest.mark.parametrize("model", ["", " ", " google/veo3", "google/veo3\n", None, 5, ["google/veo3"]])
def test_a_model_must_be_named(model: Any) -> None:
    """A batch file's row may hold anything."""
    assert list(problems(model)) == ["model"]


@pytest.mark.parametrize("model", ["google/veo3", "minimax/video-01"])
@pytest.mark.parametrize("name", ["model", "prompt"])
def test_a_parameter_takes_no_ones_place(model: str, name: str) -> None:
    """What is sent must be what was judged: another model costs another price."""
    request = VideoRequest(model, "a dragon", {name: "sora-2-pro"})
    with pytest.raises(InvalidRequest) as caught:
        validate(request, largest_bytes=LARGEST)
    assert f"parameters.{name}" in {error.field for error in caught.value.errors}


# Size, shape, labels


@pytest.mark.parametrize("model", ["google/veo-3.0-i2v", "minimax/video-01"])
def test_a_request_that_is_too_large_is_refused(model: str) -> None:
    """Redis holds every request until its job is forgotten."""
    told = problems(model, image_url="A" * LARGEST)
    assert told == {"parameters": f"may be {LARGEST} bytes as JSON; these are {_size(model, 'A' * LARGEST)}"}
    assert problems(model, image_url="A" * (LARGEST - 200)) == {}


@pytest.mark.parametrize("text", ["A", "é", "\x7f", "\u2028", '"', "\n", "🌧"])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_its_serialized_parameters_change_no_judgement(text: str, beyond: int) -> None:
    """They are shorter than what is sent, where letters are escaped."""
    request = VideoRequest("somebody/else", text * 5000, {"words": [text * 500] * 4})
    largest = len(json.dumps(request.body())) - beyond
    for parameters in (None, serialized(request.parameters)):
        if beyond > 0:
            with pytest.raises(InvalidRequest, match="bytes as JSON"):
                validate(request, largest_bytes=largest, parameters=parameters)
        else:
            validate(request, largest_bytes=largest, parameters=parameters)


def _size(model: str, image: str) -> int:
    return len(f'{{"model": "{model}", "prompt": "a dragon", "image_url": "{image}"}}')


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _well() -> list[Any]:
    well: list[Any] = []
    for _ in range(100_000):
        well = [well]
    return well


@pytest.mark.parametrize("model", ["google/veo3", "minimax/video-01"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1, 2}, "must be plain JSON; got a set"),
        (b"bytes", "must be plain JSON; got a bytes"),
        (object(), "must be plain JSON; got a object"),
        (float("nan"), "may hold no NaN and no infinity"),
        (float("inf"), "may hold no NaN and no infinity"),
        ({(1, 2): 3}, "may have only text as names; got a tuple"),
        ("\ud83d", "must be valid Unicode"),
        (_circle(), "may be nested 32 deep"),
        (_well(), "may be nested 32 deep"),
    ],
    ids=["set", "bytes", "object", "NaN", "Infinity", "tuple key", "half a surrogate pair", "circle", "well"],
)
def test_what_cannot_be_spelt_as_json_is_refused(model: str, value: Any, why: str) -> None:
    """It could neither be kept nor sent."""
    told = problems(model, seed=value)
    assert list(told) == ["parameters.seed"]
    assert told["parameters.seed"].startswith(why)


def test_text_that_no_file_can_hold_is_refused_everywhere() -> None:
    """A command line with broken UTF-8 arrives as half surrogate pairs; the ledger would stumble over them."""
    for request in (
        VideoRequest("google/veo3", "a \udcff dragon"),
        VideoRequest("google/veo3", "a dragon", {}, {"team": "\udcff"}),
    ):
        with pytest.raises(InvalidRequest, match=r"^prompt: must be valid Unicode|^metadata.team: must be text"):
            validate(request, largest_bytes=LARGEST)


def test_an_error_shows_only_the_beginning_of_a_long_value() -> None:
    """Eight megabytes of base64 are no error message."""
    told = problems("google/veo3", seed="A" * 100_000)
    assert told["seed"] == 'must be a whole number; got "' + "A" * 59 + "..."


def test_labels_up_to_their_limits_are_accepted() -> None:
    """Sixteen, of 64 and 512 characters, of any script."""
    labels = {f"{n:064}": "ж" * 512 for n in range(16)}
    assert problems("google/veo3", metadata=labels) == {}
    assert problems("google/veo3", metadata={"empty": ""}) == {}


@pytest.mark.parametrize(
    ("labels", "field", "message"),
    [
        ({str(n): "x" for n in range(17)}, "metadata", "may hold 16 labels; got 17"),
        ({"n" * 65: "x"}, "metadata." + "n" * 65, "must be text up to 512 characters, its name up to 64"),
        ({"": "x"}, "metadata.", "must be text up to 512 characters, its name up to 64"),
        ({"a": "x" * 513}, "metadata.a", "must be text up to 512 characters, its name up to 64"),
        ({"a": 5}, "metadata.a", "must be text up to 512 characters, its name up to 64"),
        ({"a": None}, "metadata.a", "must be text up to 512 characters, its name up to 64"),
        ({"a": True}, "metadata.a", "must be text up to 512 characters, its name up to 64"),
        (["a"], "metadata", 'must be labels, a name and a text each; got ["a"]'),
        ("a=b", "metadata", 'must be labels, a name and a text each; got "a=b"'),
    ],
)
def test_labels_past_their_limits_are_refused(labels: Any, field: str, message: str) -> None:
    """Labels are for finding jobs again, not for storing things."""
    assert problems("google/veo3", metadata=labels) == {field: message}


def test_the_exception_tells_the_whole_story_in_one_line() -> None:
    """A caller that only prints it still learns what to mend."""
    with pytest.raises(InvalidRequest, match=r"^seed: must be a whole number; got \"x\"; duration: must be one of"):
        validate(VideoRequest("google/veo3", "a", {"duration": 5, "seed": "x"}), largest_bytes=LARGEST)


# Reuse


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (VideoRequest("google/veo3", "a boat", {"seed": 7}), None),
        (VideoRequest("somebody/else", "a boat", {"seed": 1}), None),
        (VideoRequest("google/veo3", "a boat"), "seed"),
        (VideoRequest("google/veo3", "a boat", {"seed": None}), "seed"),
        (VideoRequest("somebody/else", "a boat"), "seed"),
        (VideoRequest("google/veo-3.1-i2v", "a boat", {"image_url": "https://a.example/1.png"}), "dedupe"),
    ],
)
def test_without_a_seed_no_two_requests_are_the_same(asked: VideoRequest, field: str | None) -> None:
    """The upstream would draw another; and some models take none."""
    problem = reuse_problem(asked)
    assert (problem.field if problem else None) == field
