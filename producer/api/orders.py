"""An order as it comes over HTTP, in OpenAI's words or the upstream's, and what it means to us."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError

from jobs.errors import FieldError
from jobs.job import VideoRequest
from producer.api.forms import Fields, rebuilt
from producer.api.pictures import read_file, retyped
from producer.api.problems import Code, Problem, Wrong
from producer.models.catalogue import all_parameters
from producer.models.texts import read_text
from producer.views import SIZES

LONGEST_PROMPT: Final = 32_768


@dataclass(frozen=True, slots=True)
class UsualModels:
    """The models of an order that names none: without a picture, and with one."""

    plain: str
    image: str

    def model(self, named: str | None, *, has_picture: bool) -> str:
        """The model that is meant."""
        return named or (self.image if has_picture else self.plain)


def _known_size(size: str) -> str:
    if size not in SIZES:
        raise PydanticCustomError("size", f"must be one of {', '.join(SIZES)}")
    return size


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
    """The upstream's own parameters are passed on, not read; the OpenAPI document lists them for its readers."""
    schema["properties"] |= {
        name: {part: parameter[part] for part in ("type", "description", "examples")}
        for name, parameter in all_parameters().items()
        if name not in schema["properties"]
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
        Annotated[str, AfterValidator(_known_size)] | None,
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
    webhook_url: Annotated[
        str | None,
        Field(
            description="Where to send the job's end, signed; the upstream never sees it. docs/webhooks.md tells more.",
            examples=["https://shop.example/hooks/videos"],
        ),
    ] = None
    _wrongs: tuple[Wrong, ...] = PrivateAttr(())

    @property
    def wrongs(self) -> tuple[Wrong, ...]:
        """What could not be read, and is left out here; such an order is refused with all else that is wrong."""
        return self._wrongs


def order_from_json(body: bytes) -> VideoOrder:
    """Read an order that came as JSON."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(Code.MALFORMED_BODY, "Send a JSON object; this is not JSON.") from error
    return order_from(raw)


def order_from(raw: object, wrongs: Sequence[Wrong] = ()) -> VideoOrder:
    """Read an order from plain values; `wrongs` is what was found wrong with it before.

    Raises:
        Problem: nothing of it can be read.
    """
    try:
        order = VideoOrder.model_validate(raw)
    except ValidationError as error:
        if not isinstance(raw, dict):
            raise unfit(error) from None
        wrongs = [*wrongs, *_wrongs_of(error, "body")]
        order = _readable_part(raw, error)
    order._wrongs = tuple(dict.fromkeys(wrongs))  # noqa: SLF001 (private to this module, and never a field of the wire)
    return order


def _readable_part(raw: dict[str, Any], error: ValidationError) -> VideoOrder:
    wrong = {told["loc"][0] for told in error.errors() if told["loc"]}
    try:
        return VideoOrder.model_validate({name: value for name, value in raw.items() if name not in wrong})
    except ValidationError:  # not even its names can be read
        raise unfit(error) from None


def unfit(error: ValidationError, within: str = "body") -> Problem:
    """Say which fields have to change, without repeating what was in them."""
    return refused(_wrongs_of(error, within))


def refused(wrongs: Iterable[Wrong]) -> Problem:
    """An order cannot be taken for these reasons."""
    return Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=tuple(wrongs))


def _wrongs_of(error: ValidationError, within: str) -> list[Wrong]:
    return [
        Wrong(".".join([within, *map(str, told["loc"])]), told["msg"])
        for told in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def order_from_form(fields: Fields, usual: UsualModels) -> VideoOrder:
    """Read an order that came as a form: our own fields stay text, a parameter becomes what its model takes."""
    named = {name: value for name, value in fields if value != ""}
    given = named.get("model")
    model = usual.model(
        given if isinstance(given, str) else None, has_picture=bool({"input_reference", "image_url"} & named.keys())
    )

    def read(name: str, text: str) -> Any:
        return text if name in VideoOrder.model_fields else read_text(model, name, text)

    raw, wrongs = rebuilt(fields, read_text=read, read_file=read_file)
    picture = raw.get("input_reference")
    if isinstance(picture, str):  # a file, or its URL
        raw["input_reference"] = {"image_url": picture}
    return order_from(raw, wrongs)


def request_of(order: VideoOrder, usual: UsualModels) -> VideoRequest:
    """What the order means to the upstream."""
    extra = dict(order.model_extra or {})
    image = {} if order.input_reference is None else {"image_url": order.input_reference.image_url}
    model = usual.model(order.model, has_picture=bool(image) or "image_url" in extra)
    parameters = retyped(_duration(order.seconds) | _shape(order.size) | image | extra)
    return VideoRequest(model, order.prompt, parameters, order.metadata, order.webhook_url)


def in_their_words(errors: Iterable[FieldError], order: VideoOrder) -> list[Wrong]:
    """What is wrong with an order, told by the names that it was given under."""
    return [Wrong(f"body.{_their_name(told, order)}", told.message) for told in errors]


def _their_name(told: FieldError, order: VideoOrder) -> str:
    extra = order.model_extra or {}
    match told.field.removeprefix("parameters."):
        case "duration" if "duration" not in extra and order.seconds is not None:
            return "seconds"
        case ("aspect_ratio" | "resolution") as name if name not in extra and order.size is not None:
            return "size"
        case "image_url" if "image_url" not in extra and order.input_reference is not None:
            return "input_reference"
        case name:
            return name


def _duration(seconds: str | int | None) -> dict[str, Any]:
    """Text that is no number is kept: the catalogue says what it may be."""
    if seconds is None:
        return {}
    text = str(seconds)
    return {"duration": int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else seconds}  # noqa: PLR2004 (what fits any integer)


def _shape(size: str | None) -> dict[str, Any]:
    if size is None:
        return {}
    ratio, resolution = SIZES[size]
    return {"aspect_ratio": ratio, "resolution": resolution}
