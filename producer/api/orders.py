"""An order as it comes over HTTP, in OpenAI's words or the upstream's, and what it means to us."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import FieldError, InvalidRequest
from jobs.job import VideoRequest
from producer.api.problems import Code, Problem, Wrong
from producer.views import SIZES

LONGEST_PROMPT: Final = 32_768
_WHOLE_NUMBERS: Final = frozenset({"duration", "seed"})
_FLAGS: Final = frozenset({"enhance_prompt", "generate_audio", "auto_fix"})
_UPSTREAMS: Final = (
    ("duration", "integer", "The length in seconds: for Veo 3 4, 6 or 8.", 8),
    ("aspect_ratio", "string", "16:9 or 9:16.", "16:9"),
    ("resolution", "string", "720P or 1080P.", "720P"),
    ("negative_prompt", "string", "What the video must not show.", "people"),
    ("seed", "integer", "The same seed gives similar videos.", 42),
    ("enhance_prompt", "boolean", "Let the upstream rewrite the prompt.", True),
    ("generate_audio", "boolean", "With sound.", True),
    ("image_url", "string", "The first frame, for image-to-video models.", "https://pictures.example/boat.png"),
)
_WORDS: Final = {"true": True, "1": True, "false": False, "0": False}


class InputReference(BaseModel):
    """A picture that the video begins with."""

    model_config = ConfigDict(extra="forbid")

    image_url: Annotated[
        str,
        Field(
            description="An https URL, or the picture itself as a base64 data URL.",
            examples=["https://pictures.example/boat.png"],
            min_length=1,
        ),
    ]


def _described(schema: dict[str, Any]) -> None:
    """The upstream's own parameters are passed on, not read; whoever reads the document wants to know them."""
    schema["properties"] |= {
        name: {"type": kind, "description": told, "examples": [example]} for name, kind, told, example in _UPSTREAMS
    }


class VideoOrder(BaseModel):
    """What to render. Fields that are not listed are sent to the upstream as they are; a known model refuses others."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_described)

    prompt: Annotated[
        str | None,
        Field(
            description="What to show. Most models need it.",
            examples=["a paper boat in the rain"],
            max_length=LONGEST_PROMPT,
        ),
    ] = None
    model: Annotated[
        str | None,
        Field(
            description="The upstream's model; left out, the deployment's usual one.",
            examples=["google/veo3"],
            max_length=200,
        ),
    ] = None
    seconds: Annotated[
        str | int | None,
        Field(description="The length in seconds: OpenAI's word for `duration`.", examples=["8"]),
    ] = None
    size: Annotated[
        str | None,
        Field(
            description="Width and height: OpenAI's word for `aspect_ratio` and `resolution`.",
            examples=["1280x720"],
            json_schema_extra={"enum": [*SIZES, None]},
        ),
    ] = None
    input_reference: Annotated[
        InputReference | None,
        Field(
            description="The first frame, for image-to-video models: OpenAI's word for `image_url`.",
            examples=[{"image_url": "https://pictures.example/boat.png"}],
        ),
    ] = None
    metadata: Annotated[
        dict[str, str],
        Field(description="Labels of your own, at most 16.", examples=[{"campaign": "spring"}]),
    ] = {}
    dedupe: Annotated[
        Literal["prompt"] | None,
        Field(
            description="`prompt`: if a video of an identical order with this seed is kept, answer with it at no cost "
            "(`reused`), where the deployment allows it.",
            examples=["prompt"],
        ),
    ] = None
    deadline_s: Annotated[
        float | None,
        Field(
            description="How long the generation may take from its purchase.",
            gt=0,
            le=86_400,
            examples=[1000],
        ),
    ] = None


def order_from_json(body: bytes) -> VideoOrder:
    """Read an order that came as JSON."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(Code.MALFORMED_BODY, "Send a JSON object; this is not JSON.") from error
    return order_from(raw)


def order_from(raw: object) -> VideoOrder:
    """Read an order from plain values."""
    try:
        return VideoOrder.model_validate(raw)
    except ValidationError as error:
        raise unfit(error) from None


def unfit(error: ValidationError, within: str = "body") -> Problem:
    """Say which fields have to change, without repeating what was in them."""
    wrongs = [
        Wrong(".".join([within, *map(str, told["loc"])]), told["msg"])
        for told in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=wrongs)


def order_from_form(fields: Mapping[str, list[str]], picture: str | None) -> VideoOrder:
    """Read an order that came as a form, where all values are text; `picture` is an upload as a data URL."""
    raw: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name, values in fields.items():
        label = _within(name, "metadata")
        if label:
            metadata[label] = values[-1]
        elif name == "metadata":
            metadata |= _labels(values[-1])
        elif name == "input_reference[image_url]":
            raw["input_reference"] = {"image_url": values[-1]}
        elif name.endswith("[]") or len(values) > 1:
            raw[name.removesuffix("[]")] = values
        else:
            raw[name] = _typed(name, values[0])
    if picture is not None:
        raw["input_reference"] = {"image_url": picture}
    return order_from(raw | ({"metadata": metadata} if metadata else {}))


def request_of(order: VideoOrder, *, usual_model: str, usual_image_model: str) -> VideoRequest:
    """What the order means to the upstream."""
    extra = dict(order.model_extra or {})
    image = {} if order.input_reference is None else {"image_url": order.input_reference.image_url}
    usual = usual_image_model if image or "image_url" in extra else usual_model
    parameters = _duration(order.seconds) | _shape(order.size) | image | extra
    return VideoRequest(order.model or usual, order.prompt, parameters, order.metadata)


def in_their_words(error: InvalidRequest, order: VideoOrder) -> Problem:
    """What is wrong with an order, told by the names that it was given under."""
    wrongs = [Wrong(f"body.{_their_name(told, order)}", told.message) for told in error.errors]
    return Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=wrongs)


def _their_name(told: FieldError, order: VideoOrder) -> str:
    extra = order.model_extra or {}
    match told.field:
        case "duration" if "duration" not in extra and order.seconds is not None:
            return "seconds"
        case "aspect_ratio" | "resolution" if told.field not in extra and order.size is not None:
            return "size"
        case "image_url" if "image_url" not in extra and order.input_reference is not None:
            return "input_reference"
        case name:
            return name.removeprefix("parameters.")


def _duration(seconds: str | int | None) -> dict[str, Any]:
    """Text that is no number is kept: the catalogue says what it may be."""
    if seconds is None:
        return {}
    text = str(seconds)
    return {"duration": int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else seconds}  # noqa: PLR2004 (what fits any integer)


def _shape(size: str | None) -> dict[str, Any]:
    if size is None:
        return {}
    if size not in SIZES:
        wrong = Wrong("body.size", f"must be one of {', '.join(SIZES)}")
        raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=[wrong])
    ratio, resolution = SIZES[size]
    return {"aspect_ratio": ratio, "resolution": resolution}


def _within(name: str, group: str) -> str | None:
    """`metadata[label]` -> `label`."""
    return name[len(group) + 1 : -1] if name.startswith(f"{group}[") and name.endswith("]") else None


def _labels(text: str) -> dict[str, str]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        wrong = Wrong("body.metadata", "must be a JSON object of labels, or metadata[name]=value fields")
        raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=[wrong])
    return read


def _typed(name: str, value: str) -> Any:
    """A form's text as the kind of value that the upstream's field takes; what does not fit stays text."""
    if name in _WHOLE_NUMBERS and value.removeprefix("-").isdecimal() and len(value) < 20:  # noqa: PLR2004 (what fits a 64-bit integer)
        return int(value)
    return _WORDS.get(value.lower(), value) if name in _FLAGS else value
