"""The available models: the fields that each accepts, and its price per second."""

from dataclasses import dataclass
from typing import Literal

FieldKind = Literal["text", "choice", "integer", "flag", "picture", "pictures", "film"]

CREDITS_PER_USD = 2_000_000


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One request field: its type, its permitted values, and its default."""

    name: str
    kind: FieldKind
    options: tuple[str | int, ...] = ()
    required: bool = False
    default: str | int | bool | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its names, its fields and its price."""

    id: str
    title: str
    fields: tuple[FieldRule, ...]
    usd_per_s_silent: float
    usd_per_s_with_sound: float | None
    aliases: tuple[str, ...] = ()

    def credits(self, duration_s: float, *, with_sound: bool) -> int:
        """Price of one video, in credits."""
        price_with_sound = self.usd_per_s_with_sound if with_sound else None
        return round((price_with_sound or self.usd_per_s_silent) * duration_s * CREDITS_PER_USD)


PROMPT = FieldRule("prompt", "text", required=True)
NEGATIVE_PROMPT = FieldRule("negative_prompt", "text")
SEED = FieldRule("seed", "integer")
ENHANCE = FieldRule("enhance_prompt", "flag", default=True)
AUDIO = FieldRule("generate_audio", "flag", default=True)
ASPECT = FieldRule("aspect_ratio", "choice", ("16:9", "9:16"), default="16:9")
SECONDS = FieldRule("duration", "choice", (4, 6, 8), default=8)
RESOLUTION = FieldRule("resolution", "choice", ("720P", "1080P"), default="720P")
# The models' pages write these in lower case, the specification in upper case: both are accepted.
EITHER_CASE = ("720p", "1080p", "720P", "1080P")
RESOLUTION_31 = FieldRule("resolution", "choice", EITHER_CASE, default="1080p")
FIRST_FRAME = FieldRule("image_url", "picture", required=True)

VEO3 = (PROMPT, SECONDS, ASPECT, RESOLUTION, NEGATIVE_PROMPT, SEED, ENHANCE, AUDIO)
VEO2 = (PROMPT, FieldRule("duration", "choice", (5, 6, 7, 8), default=5), ASPECT, NEGATIVE_PROMPT, SEED, ENHANCE)
VEO31_EXTRAS = (ENHANCE, AUDIO, FieldRule("auto_fix", "flag"), FieldRule("provider", "text"))
VEO31 = (PROMPT, SECONDS, ASPECT, RESOLUTION_31, NEGATIVE_PROMPT, SEED, *VEO31_EXTRAS)
VEO31_PICTURE = (PROMPT, FIRST_FRAME, SECONDS, ASPECT, RESOLUTION_31, *VEO31_EXTRAS)
VEO31_BOTH_ENDS = (*VEO31_PICTURE, FieldRule("last_image_url", "picture", required=True))
VEO31_REFERENCES = (
    PROMPT,
    FieldRule("image_urls", "pictures", required=True),
    FieldRule("duration", "choice", (8,), default=8),
    ASPECT,
    RESOLUTION_31,
    *VEO31_EXTRAS,
)
VEO31_EXTENSION = (
    PROMPT,
    FieldRule("video_url", "film", required=True),
    FieldRule("duration", "choice", (7,), default=7),
    FieldRule("resolution", "choice", ("720p", "720P"), default="720p"),
    FieldRule("aspect_ratio", "choice", ("auto", "16:9", "9:16"), default="auto"),
    *VEO31_EXTRAS,
)
LITE = (
    PROMPT,
    FieldRule("duration", "choice", (4, 6, 8, "4", "6", "8"), default=8),  # the page's example sends text
    ASPECT,
    AUDIO,
    *(FieldRule(name, "picture") for name in ("image_url", "last_image_url", "tail_image_url")),
)
VEO31_LITE_PREVIEW = (*LITE, RESOLUTION_31)
VEO31_LITE = (
    *LITE,
    FieldRule("resolution", "choice", EITHER_CASE, default="720P"),
    FieldRule("person_generation", "choice", ("dont_allow", "allow_adult"), default="allow_adult"),
)

FULL = (0.26, 0.52)
FAST = (0.13, 0.26)
LITE_PRICES = (0.04, 0.07)

# Only the silent prices of veo3 and veo-3.0-fast are published; the other prices are guesses.
MODELS = (
    Model("google/veo3", "Veo 3", VEO3, *FULL),
    Model("google/veo-3.0-fast", "Veo 3 Fast", VEO3, *FAST),
    Model("google/veo-3.0-i2v", "Veo 3 Image-to-Video", (*VEO3, FIRST_FRAME), *FULL),
    Model("google/veo-3.0-i2v-fast", "Veo 3 Image-to-Video Fast", (*VEO3, FIRST_FRAME), *FAST),
    Model("veo2", "Veo 2", VEO2, 0.5, None, ("google/veo2",)),
    Model(
        "veo2/image-to-video",
        "Veo 2 Image-to-Video",
        (*VEO2, FIRST_FRAME, FieldRule("tail_image_url", "picture")),
        0.5,
        None,
    ),
    Model("google/veo-3.1-t2v", "Veo 3.1", VEO31, *FULL),
    Model("google/veo-3.1-t2v-fast", "Veo 3.1 Fast", VEO31, *FAST),
    Model("google/veo-3.1-i2v", "Veo 3.1 Image-to-Video", VEO31_PICTURE, *FULL),
    Model("google/veo-3.1-i2v-fast", "Veo 3.1 Image-to-Video Fast", VEO31_PICTURE, *FAST),
    Model("google/veo-3.1-first-last-image-to-video", "Veo 3.1 First-Last", VEO31_BOTH_ENDS, *FULL),
    Model("google/veo-3.1-first-last-image-to-video-fast", "Veo 3.1 First-Last Fast", VEO31_BOTH_ENDS, *FAST),
    Model("google/veo-3.1-reference-to-video", "Veo 3.1 Reference-to-Video", VEO31_REFERENCES, *FULL),
    Model("google/veo3-1-extend-video", "Veo 3.1 Extend", VEO31_EXTENSION, *FULL),
    Model("google/veo3-1-fast-extend-video", "Veo 3.1 Extend Fast", VEO31_EXTENSION, *FAST),
    Model("google/veo-3.1-lite-generate-001", "Veo 3.1 Lite", VEO31_LITE, *LITE_PRICES, ("veo-3.1-lite-generate-001",)),
    Model("google/veo-3-1-lite-generate-preview", "Veo 3.1 Lite Preview", VEO31_LITE_PREVIEW, *LITE_PRICES),
)

BY_NAME = {name: model for model in MODELS for name in (model.id, *model.aliases)}


def is_of_google(name: str) -> bool:
    """Whether the name is one of Google's: their fields are known here, so an unknown name is an error."""
    return name.startswith(("google/", "veo"))


def other_vendors_model(name: str) -> Model:
    """Make up a model for an unknown name; it is rendered and billed like any other."""
    return Model(name, name, (), 0.1, 0.1)


def usd(amount: int) -> float:
    """Convert credits to dollars, rounded to a millionth."""
    return round(amount / CREDITS_PER_USD, 6)
