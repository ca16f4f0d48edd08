"""The parameters of each family of models, each declared once; their JSON schema serves the API, the CLI and OpenAPI.

Names, values and defaults are those of the upstream's own pages of August 2026, which are below
https://docs.aimlapi.com/api-references/video-models/google. Where pages contradict each other or their own examples,
what any of them shows is taken: the upstream judges it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _any_case(word: str) -> str:
    """A regular expression for a word in capitals or not; JSON Schema knows no flag for it."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


_VISIBLE: Final = r"[^\s\x1c-\x1f]"
_HTTPS: Final = _any_case("https://") + _VISIBLE + "+"
_BASE64: Final = r"[A-Za-z0-9+/\s]+=?=?"


def _data_url(kind: str) -> str:
    return _any_case(f"data:{kind}/") + r"[\w.+-]+" + _any_case(";base64,")


SOME_TEXT: Final = _VISIBLE
VIDEO: Final = rf"^({_HTTPS}|{_data_url('video')}{_BASE64})$"
IMAGE: Final = rf"^({_HTTPS}|({_data_url('image')})?{_BASE64})$"


def _unpublished() -> Any:
    """The default that the upstream does not publish: such a parameter may be left out, but may not be null."""
    return None


def _whole(value: Any) -> Any:
    """Refuse 8.0 and true, which Python counts as equal to 8 and 1."""
    if type(value) is not int:
        raise ValueError("no whole number")
    return value


def _whole_or_text(value: Any) -> Any:
    """Take "8" too: Veo 3.1 Lite's specification says integer, the example on its page sends text."""
    return int(value) if value in ("4", "6", "8") else _whole(value)


_WHOLE: Final = BeforeValidator(_whole)
_SECONDS: Final = Field(description="The length in seconds.", examples=[8])
_AUTO_FIX: Final = "Let the upstream mend a prompt that it would refuse."
_LINES: Final = Field(description="The pixels of the shorter side.", examples=["720P"])

_Switch = Annotated[bool, Field(examples=[True])]
_Resolution = Literal["720P", "1080P", "720p", "1080p"]  # pages and specifications differ in the case of "P"
_Image = Annotated[str, Field(pattern=IMAGE, examples=["https://pictures.example/boat.png"])]


class Parameters(BaseModel):
    """What every known model takes."""

    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)  # a request needs one model

    prompt: Annotated[str, Field(pattern=SOME_TEXT, description="What to show.", examples=["a paper boat in the rain"])]


class _Enhanced(Parameters):
    """What all but Veo 3.1 Lite take; of Veo 3.1, only the pages of text to video name it."""

    enhance_prompt: Annotated[_Switch, Field(description="Let the upstream rewrite the prompt.")] = True


class _Shaped(Parameters):
    """What all but an extension take."""

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


class Veo2(_Shaped, _Steered, _Enhanced):
    """Veo 2, text to video; without sound."""

    duration: Annotated[Literal[5, 6, 7, 8], _WHOLE, _SECONDS] = 5


class Veo2Image(Veo2):
    """Veo 2, image to video."""

    image_url: Annotated[_Image, Field(description="The first frame.")]
    tail_image_url: Annotated[_Image, Field(default_factory=_unpublished, description="The last frame.")]


class Veo3(_Sounding, _Shaped, _Steered, _Enhanced):
    """Veo 3 and Veo 3 Fast, text to video."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8
    resolution: Annotated[Literal["720P", "1080P"], _LINES] = "720P"


class Veo3Image(Veo3):
    """Veo 3 and Veo 3 Fast, image to video."""

    image_url: Annotated[_Image, Field(description="The first frame.")]


class _Veo31(_Sounding, _Enhanced):
    """What all of Veo 3.1 but Lite take."""

    resolution: Annotated[_Resolution, _LINES] = "1080p"
    auto_fix: Annotated[_Switch, Field(default_factory=_unpublished, description=_AUTO_FIX)]
    provider: Annotated[
        str,
        Field(
            default_factory=_unpublished,
            description="Who renders it: `google`, `fal`, or `auto` for one after the other.",
            examples=["auto"],
        ),
    ]


class Veo31(_Veo31, _Shaped, _Steered):
    """Veo 3.1 and Veo 3.1 Fast, text to video."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8
    auto_fix: Annotated[_Switch, Field(description=_AUTO_FIX)] = True


class Veo31Image(_Veo31, _Shaped):
    """Veo 3.1 and Veo 3.1 Fast, image to video. Older pages allow 8 s only."""

    duration: Annotated[Literal[4, 6, 8], _WHOLE, _SECONDS] = 8
    image_url: Annotated[_Image, Field(description="The first frame.")]


class Veo31Frames(Veo31Image):
    """Veo 3.1 and Veo 3.1 Fast, from a first to a last frame."""

    last_image_url: Annotated[_Image, Field(description="The last frame.")]


class Veo31References(_Veo31, _Shaped):
    """Veo 3.1, with up to three pictures of what the video shows. Its page has a ratio, the full specification none."""

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


class Veo31Extension(_Veo31):
    """Veo 3.1 and Veo 3.1 Fast, which go on where a video ends."""

    duration: Annotated[Literal[7], _WHOLE, Field(description="The length in seconds.", examples=[7])] = 7
    resolution: Annotated[Literal["720P", "720p"], _LINES] = "720p"
    aspect_ratio: Annotated[
        Literal["auto", "16:9", "9:16"],
        Field(description="Width to height; `auto` is the video's own.", examples=["auto"]),
    ] = "auto"
    auto_fix: Annotated[_Switch, Field(description=_AUTO_FIX)] = False
    video_url: Annotated[
        str, Field(pattern=VIDEO, description="The video to go on with.", examples=["https://films.example/boat.mp4"])
    ]


class Veo31LitePreview(_Sounding, _Shaped):
    """Veo 3.1 Lite as a preview: text to video, or from a first and perhaps to a last frame."""

    duration: Annotated[Literal[4, 6, 8], BeforeValidator(_whole_or_text), _SECONDS] = 8
    resolution: Annotated[_Resolution, _LINES] = "1080p"
    image_url: Annotated[_Image, Field(default_factory=_unpublished, description="The first frame.")]
    last_image_url: Annotated[_Image, Field(default_factory=_unpublished, description="The last frame.")]
    tail_image_url: Annotated[
        _Image, Field(default_factory=_unpublished, description="The last frame, as the page's example has it.")
    ]


class Veo31Lite(Veo31LitePreview):
    """Veo 3.1 Lite."""

    resolution: Annotated[_Resolution, _LINES] = "720P"
    person_generation: Annotated[
        Literal["dont_allow", "allow_adult"],
        Field(description="Whether people may be shown.", examples=["allow_adult"]),
    ] = "allow_adult"
