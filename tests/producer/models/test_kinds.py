"""What is worked out of a request at acceptance: its kind, and what its video is compared with."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.job import VideoRequest
from producer.models.kinds import LONGEST_MODEL, expected_of, kind_of


@pytest.mark.parametrize(
    ("model", "parameters", "kind"),
    [
        ("google/veo3", {}, "google/veo3:8:720p"),
        ("google/veo3", {"duration": 8, "resolution": "720P", "seed": 1}, "google/veo3:8:720p"),
        ("google/veo3", {"duration": 4, "resolution": "1080P"}, "google/veo3:4:1080p"),
        ("google/veo-3.1-t2v", {"resolution": "1080p"}, "google/veo-3.1-t2v:8:1080p"),
        ("google/veo-3.1-t2v", {}, "google/veo-3.1-t2v:8:1080p"),
        ("google/veo-3.1-lite-generate-001", {"duration": "8"}, "google/veo-3.1-lite-generate-001:8:720p"),
        ("veo2", {}, "veo2:5"),
        ("google/veo3-1-extend-video", {}, "google/veo3-1-extend-video:7:720p"),
        ("kling/v9", {}, "kling/v9"),
        ("kling/v9", {"duration": "10"}, "kling/v9:10"),
        ("kling/v9", {"duration": {"s": 1}, "resolution": True}, "kling/v9"),
    ],
)
def test_a_kind_is_what_a_duration_depends_on(model: str, parameters: dict[str, Any], kind: str) -> None:
    """What is left out is the model's default, so that both spellings learn together."""
    assert kind_of(VideoRequest(model, "a prompt", parameters)) == kind


def test_what_is_kept_of_a_strangers_words_is_short() -> None:
    """Kinds are remembered for speed: a thousand model names of a megabyte each must not fill a process's memory."""
    assert kind_of(VideoRequest("x" * 1_000_000, "a prompt")) == "x" * LONGEST_MODEL
    assert kind_of(VideoRequest("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 200, "a prompt")) == "i_" * (
        LONGEST_MODEL // 2
    )


@given(model=st.text(min_size=1), duration=st.one_of(st.text(), st.floats(), st.booleans(), st.none()))
def test_a_kind_is_fit_to_be_a_key_whatever_was_ordered(model: str, duration: object) -> None:
    """A stranger's model name or parameter never becomes more than a short plain word."""
    kind = kind_of(VideoRequest(model, "a prompt", {"duration": duration, "resolution": duration}))

    assert re.fullmatch(r"[a-z0-9._:/-]*", kind)
    assert len(kind) < 150


@pytest.mark.parametrize(
    ("model", "parameters", "expected"),
    [
        ("google/veo3", {}, {"duration": 8, "resolution": "720P", "generate_audio": True}),
        ("google/veo3", {"duration": 4, "generate_audio": None}, {"resolution": "720P", "generate_audio": True}),
        ("google/veo3", {"duration": 4, "resolution": "1080P", "generate_audio": False}, {}),
        ("google/veo-3.0-i2v", {}, {"duration": 8, "resolution": "720P", "generate_audio": True}),
        ("veo2", {}, {"duration": 5}),
        ("veo2/image-to-video", {}, {"duration": 5}),
        ("google/veo-3.1-t2v", {}, {"duration": 8, "resolution": "1080p", "generate_audio": True}),
        ("google/veo-3.1-lite-generate-001", {}, {"duration": 8, "resolution": "720P", "generate_audio": True}),
        ("google/veo-3.1-i2v-fast", {"resolution": "720p"}, {"duration": 8, "generate_audio": True}),
        ("google/veo-3.1-reference-to-video", {}, {"duration": 8, "resolution": "1080p", "generate_audio": True}),
        (
            "google/veo3-1-extend-video",
            {},
            {"duration": 7, "resolution": "720p", "aspect_ratio": "auto", "generate_audio": True},
        ),
        ("somebody/else", {}, {}),
    ],
)
def test_a_video_is_compared_with_the_defaults_of_what_was_left_out(
    model: str, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A request for nothing in particular paid for the model's usual video; of a stranger's model nothing is known."""
    assert expected_of(VideoRequest(model, "a boat", parameters)) == expected
