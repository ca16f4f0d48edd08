"""The parameters of each family of models, each declared once; their JSON schema serves the API, the CLI and OpenAPI.

Names, values and defaults are those of the upstream's own pages (docs.aimlapi.com, August 2026).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _any_case(word: str) -> str:
    """A regular expression for a word in capitals or not; JSON Schema knows no flag for it."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


_VISIBLE: Final = r"[^\s\x1c-\x1f]"
_HTTPS: Final = _any_case("https://") + _VISIBLE + "+"
_DATA_URL: Final = _any_case("data:image/") + r"[\w.+-]+" + _any_case(";base64,")

SOME_TEXT: Final = _VISIBLE
HTTPS: Final = f"^{_HTTPS}$"
IMAGE: Final = rf"^({_HTTPS}|({_DATA_URL})?[A-Za-z0-9+/\s]+=?=?)$"


def _unpublished() -> Any:
    """The default that the upstream does not publish: such a parameter may be left out, but may not be null."""
    return None


def _whole(value: Any) -> Any:
    """Refuse 8.0 and true, which Python counts as equal to 8 and 1."""
    if type(value) is not int:
        raise ValueError("no whole number")
    return value


_WHOLE: Final = BeforeValidator(_whole)
_SECONDS: Final = Field(description="The length in seconds.", examples=[8])
_LINES: Final = Field(description="The pixels of the shorter side.", examples=["720P"])

_Switch = Annotated[bool, Field(examples=[True])]
_Image = Annotated[str, Field(pattern=IMAGE, examples=["https://pictures.example/boat.png"])]


class Parameters(BaseModel):
    """What every known model takes."""

    model_config = ConfigDict(strict=True, extra="forbid")

    prompt: Annotated[str, Field(pattern=SOME_TEXT, description="What to show.", examples=["a paper boat in the rain"])]
    enhance_prompt: Annotated[_Switch, Field(description="Let the upstream rewrite the prompt.")] = True


class _Shaped(Parameters):
    """What all but reference-to-video take."""

    aspect_ratio: Annotated[
        Literal["16:9", "9:16"], Field(default_factory=_unpublished, description="Width to height.", examples=["16:9"])
    ]


class _Steered(Parameters):
    """What Veo 2, Veo 3 and Veo 3.1 text to video take."""

    negative_prompt: Annotated[
        str, Field(default_factory=_unpublished, description="What the video must not show.", examples=["people"])
    ]
    seed: Annotated[
        int, Field(default_factory=_unpublished, description="The same seed gives similar videos.", examples=[42])
    ]


class _Sounding(Parameters):
    """What Veo 3 and Veo 3.1 take."""

    generate_audio: Annotated[_Switch, Field(description="With sound.")] = True


class Veo2(_Shaped, _Steered):
    """Veo 2, text to video; without sound."""

    duration: Annotated[Literal[5, 6, 7, 8], _WHOLE, _SECONDS] = 5


class Veo2Image(Veo2):
    """Veo 2, image to video."""

    image_url: Annotated[_Image, Field(description="The first frame.")]
    tail_image_url: Annotated[_Image, Field(default_factory=_unpublished, description="The last frame.")]


class Veo3(_Sounding, _Shaped, _Steered):
    """Veo 3 and Veo 3 Fast, text to video."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8
    resolution: Annotated[Literal["720P", "1080P"], _LINES] = "720P"


class Veo3Image(Veo3):
    """Veo 3 and Veo 3 Fast, image to video."""

    image_url: Annotated[_Image, Field(description="The first frame.")]


class _Veo31(_Sounding):
    """What all of Veo 3.1 take. The upstream's pages and its master specification differ in the case of "P"."""

    resolution: Annotated[Literal["720P", "1080P", "720p", "1080p"], _LINES] = "1080P"
    auto_fix: Annotated[
        _Switch, Field(default_factory=_unpublished, description="Let the upstream mend a prompt that it would refuse.")
    ]
    provider: Annotated[
        str, Field(default_factory=_unpublished, description="Who renders it for the upstream.", examples=["vertex"])
    ]


class Veo31(_Veo31, _Shaped, _Steered):
    """Veo 3.1 and Veo 3.1 Fast, text to video."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8


class Veo31Image(_Veo31, _Shaped):
    """Veo 3.1 and Veo 3.1 Fast, image to video."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8
    image_url: Annotated[_Image, Field(description="The first frame.")]


class Veo31Frames(Veo31Image):
    """Veo 3.1 and Veo 3.1 Fast, from a first to a last frame."""

    last_image_url: Annotated[_Image, Field(description="The last frame.")]


class Veo31References(_Veo31):
    """Veo 3.1, with up to three pictures of what the video shows."""

    duration: Annotated[Literal[8], _WHOLE, _SECONDS] = 8
    image_urls: Annotated[
        Sequence[_Image],
        Field(
            min_length=1,
            max_length=3,
            description="Pictures of what the video shows.",
            examples=[["https://pictures.example/boat.png"]],
        ),
    ]


class Veo31Extension(_Veo31, _Shaped):
    """Veo 3.1 and Veo 3.1 Fast, which go on where a video ends."""

    duration: Annotated[Literal[7], _WHOLE, Field(description="The length in seconds.", examples=[7])] = 7
    resolution: Annotated[Literal["720P", "720p"], _LINES] = "720P"
    video_url: Annotated[
        str, Field(pattern=HTTPS, description="The video to go on with.", examples=["https://films.example/boat.mp4"])
    ]
