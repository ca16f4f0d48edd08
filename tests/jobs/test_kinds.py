"""Which orders are of one kind."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.job import VideoRequest
from jobs.kinds import LONGEST_MODEL, kind_of


@pytest.mark.parametrize(
    ("model", "parameters", "kind"),
    [
        ("google/veo3", {}, "google/veo3:8:720p"),
        ("google/veo3", {"duration": 8, "resolution": "720P", "seed": 1}, "google/veo3:8:720p"),
        ("google/veo3", {"duration": 4, "resolution": "1080P"}, "google/veo3:4:1080p"),
        ("google/veo-3.1-t2v", {"resolution": "1080p"}, "google/veo-3.1-t2v:8:1080p"),
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
