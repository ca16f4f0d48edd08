"""The upstream's page of each model: its address, what it requires, which values it takes, and its defaults.

Checked in August 2026. A page is below https://docs.aimlapi.com/api-references/video-models/google and shows the
specification of its model. Where that contradicts the page's example or the full specification, the row holds what any
of them takes.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

IMAGE: Final = "https://example.com/first.png"
VIDEO: Final = "https://example.com/clip.mp4"

Accepted = Mapping[str, set[Any]]


class Page(NamedTuple):
    """What one page says of one model."""

    name: str
    requires: Mapping[str, Any]
    """Parameters beside the prompt, with an example of each."""
    takes: Accepted
    """Values of each parameter that may be left out."""
    defaults: Mapping[str, Any]


_SWITCH: Final = {True, False}
_VEO3: Final[Accepted] = {
    "duration": {4, 6, 8},
    "aspect_ratio": {"16:9", "9:16"},
    "resolution": {"720P", "1080P"},
    "negative_prompt": {"rain", ""},
    "seed": {0, -1, 2**40},
    "enhance_prompt": _SWITCH,
    "generate_audio": _SWITCH,
}
_VEO2: Final[Accepted] = {
    **{name: _VEO3[name] for name in ("aspect_ratio", "negative_prompt", "seed", "enhance_prompt")},
    "duration": {5, 6, 7, 8},
}
_VEO31: Final[Accepted] = {
    **_VEO3,
    "resolution": {"720p", "1080p", "720P", "1080P"},
    "auto_fix": _SWITCH,
    "provider": {"auto", "google", "fal"},
}
_VEO31_IMAGE: Final[Accepted] = {
    name: values for name, values in _VEO31.items() if name not in {"seed", "negative_prompt"}
}
_VEO31_REFERENCE: Final[Accepted] = {**_VEO31_IMAGE, "duration": {8}}
_VEO31_EXTEND: Final[Accepted] = {
    **_VEO31_IMAGE,
    "duration": {7},
    "resolution": {"720p", "720P"},
    "aspect_ratio": {"auto", "16:9", "9:16"},
}
_LITE_PREVIEW: Final[Accepted] = {
    **{name: _VEO31[name] for name in ("aspect_ratio", "resolution", "generate_audio")},
    "duration": {4, 6, 8, "4", "6", "8"},
    **{name: {IMAGE} for name in ("image_url", "last_image_url", "tail_image_url")},
}
_LITE: Final[Accepted] = {**_LITE_PREVIEW, "person_generation": {"dont_allow", "allow_adult"}}

_VEO2_BY_DEFAULT: Final = {"duration": 5, "enhance_prompt": True}
_VEO3_BY_DEFAULT: Final = {"duration": 8, "resolution": "720P", "enhance_prompt": True, "generate_audio": True}
_VEO31_BY_DEFAULT: Final = {**_VEO3_BY_DEFAULT, "resolution": "1080p"}
_TEXT_BY_DEFAULT: Final = {**_VEO31_BY_DEFAULT, "auto_fix": True}
_EXTEND_BY_DEFAULT: Final = {
    **_VEO31_BY_DEFAULT,
    "duration": 7,
    "resolution": "720p",
    "aspect_ratio": "auto",
    "auto_fix": False,
}
_LITE_BY_DEFAULT: Final = {
    "duration": 8,
    "resolution": "720P",
    "generate_audio": True,
    "person_generation": "allow_adult",
}

_FIRST: Final = {"image_url": IMAGE}
_ENDS: Final = {"image_url": IMAGE, "last_image_url": IMAGE}
_FILM: Final = {"video_url": VIDEO}

PAGES: Final[Mapping[str, Page]] = {
    "google/veo3": Page("veo3-text-to-video", {}, _VEO3, _VEO3_BY_DEFAULT),
    "google/veo-3.0-fast": Page("veo-3-fast-text-to-video", {}, _VEO3, _VEO3_BY_DEFAULT),
    "google/veo-3.0-i2v": Page("veo-3-image-to-video", _FIRST, _VEO3, _VEO3_BY_DEFAULT),
    "google/veo-3.0-i2v-fast": Page("veo-3-fast-image-to-video", _FIRST, _VEO3, _VEO3_BY_DEFAULT),
    "veo2": Page("veo2-text-to-video", {}, _VEO2, _VEO2_BY_DEFAULT),
    "google/veo2": Page("veo2-text-to-video", {}, _VEO2, _VEO2_BY_DEFAULT),
    "veo2/image-to-video": Page("veo2-image-to-video", _FIRST, {**_VEO2, "tail_image_url": {IMAGE}}, _VEO2_BY_DEFAULT),
    "google/veo-3.1-t2v": Page("veo-3-1-text-to-video", {}, _VEO31, _TEXT_BY_DEFAULT),
    "google/veo-3.1-t2v-fast": Page("veo-3-1-text-to-video-fast", {}, _VEO31, _TEXT_BY_DEFAULT),
    "google/veo-3.1-i2v": Page("veo-3-1-image-to-video", _FIRST, _VEO31_IMAGE, _VEO31_BY_DEFAULT),
    "google/veo-3.1-i2v-fast": Page("veo-3-1-image-to-video-fast", _FIRST, _VEO31_IMAGE, _VEO31_BY_DEFAULT),
    "google/veo-3.1-first-last-image-to-video": Page(
        "veo-3-1-first-last-image-to-video", _ENDS, _VEO31_IMAGE, _VEO31_BY_DEFAULT
    ),
    "google/veo-3.1-first-last-image-to-video-fast": Page(
        "veo-3-1-first-last-image-to-video-fast", _ENDS, _VEO31_IMAGE, _VEO31_BY_DEFAULT
    ),
    "google/veo-3.1-reference-to-video": Page(
        "veo-3-1-reference-to-video", {"image_urls": [IMAGE]}, _VEO31_REFERENCE, _VEO31_BY_DEFAULT
    ),
    "google/veo3-1-extend-video": Page("veo-3.1-extend-video", _FILM, _VEO31_EXTEND, _EXTEND_BY_DEFAULT),
    "google/veo3-1-fast-extend-video": Page("veo3-1-fast-extend-video", _FILM, _VEO31_EXTEND, _EXTEND_BY_DEFAULT),
    "google/veo-3.1-lite-generate-001": Page("veo-3.1-lite-generate", {}, _LITE, _LITE_BY_DEFAULT),
    "veo-3.1-lite-generate-001": Page("veo-3.1-lite-generate", {}, _LITE, _LITE_BY_DEFAULT),
    "google/veo-3-1-lite-generate-preview": Page(
        "veo-3.1-lite-generate-preview",
        {},
        _LITE_PREVIEW,
        {"duration": 8, "resolution": "1080p", "generate_audio": True},
    ),
}
