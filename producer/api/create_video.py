"""The body of `POST /v1/videos`, with OpenAI's field names or the upstream's, and the `VideoRequest` it becomes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError

from config.inputs import is_heavy
from jobs.errors import FieldError
from jobs.job import LONGEST_DEADLINE_S, VideoRequest
from producer.api.forms import Fields, to_object
from producer.api.parsing import loads
from producer.api.pictures import read_file, retyped
from producer.api.problems import Code, ErrorDetail, Problem
from producer.models.catalogue import all_parameters
from producer.models.texts import read_text
from producer.models.validation import LONGEST_MODEL, LONGEST_PROMPT, MOST_LABELS
from producer.queue_terms import QueueTerms
from producer.views import SIZES


@dataclass(frozen=True, slots=True)
class DefaultModels:
    """The models for a request that names none: without a picture, and with one."""

    plain: str
    image: str

    def model(self, named: str | None, *, has_picture: bool) -> str:
        """Return the named model, or the default."""
        return named or (self.image if has_picture else self.plain)


def _known_size(size: str) -> str:
    if size not in SIZES:
        raise PydanticCustomError("size", f"must be one of {', '.join(SIZES)}")
    return size


def _few_labels(labels: Any) -> Any:
    """Count the labels before each is read: a million invalid ones would be a million errors."""
    if isinstance(labels, dict) and len(labels) > MOST_LABELS:
        raise PydanticCustomError("labels", f"may hold {MOST_LABELS} labels; got {len(labels)}")
    return labels


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
    """List the upstream's own parameters in the OpenAPI document; the model itself passes them on unread."""
    schema["properties"] |= {
        name: {part: parameter[part] for part in ("type", "description", "examples")}
        for name, parameter in all_parameters().items()
        if name not in schema["properties"]
    }


class CreateVideo(QueueTerms):
    """The video to render. Other fields are the upstream's parameters; a known model refuses unknown ones."""

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
            description="The upstream's model. Default: the deployment's own.",
            examples=["google/veo3"],
            max_length=LONGEST_MODEL,
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
        BeforeValidator(_few_labels),
        Field(default_factory=dict, description="Labels of your own, at most 16.", examples=[{"campaign": "spring"}]),
    ]
    dedupe: Annotated[
        Literal["prompt"] | None,
        Field(
            description="`prompt`: answer with the stored video of an identical request with this seed, if there is "
            "one, at no cost (`reused`). The deployment must allow it.",
            examples=["prompt"],
        ),
    ] = None
    deadline_s: Annotated[
        float | None,
        Field(
            description="Seconds that the generation may take from its purchase.",
            gt=0,
            le=LONGEST_DEADLINE_S,
            examples=[1000],
        ),
    ] = None
    webhook_url: Annotated[
        str | None,
        Field(
            description="Receives the job's end, signed (docs/reference/webhooks.md); the upstream never sees the URL.",
            examples=["https://shop.example/hooks/videos"],
        ),
    ] = None
    _errors: tuple[ErrorDetail, ...] = PrivateAttr(())

    @property
    def is_heavy(self) -> bool:
        """Whether it may be large, so that no step of it belongs on the event loop."""
        picture = self.input_reference and self.input_reference.image_url
        return is_heavy({"picture": picture, "extra": self.model_extra or {}})

    @property
    def errors(self) -> tuple[ErrorDetail, ...]:
        """The fields that could not be read and are left out; the refusal names these and all other errors."""
        return self._errors


def parse_json(body: bytes) -> CreateVideo:
    """Parse a JSON body."""
    try:
        raw = loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(Code.MALFORMED_BODY, "Send a JSON object; this is not JSON.") from error
    return parse_object(raw)


def parse_object(raw: object, errors: Sequence[ErrorDetail] = ()) -> CreateVideo:
    """Validate a body's plain values; `errors` are those found while the body was read.

    Raises:
        Problem: no field can be read.
    """
    try:
        body = CreateVideo.model_validate(raw)
    except ValidationError as invalid:
        if not isinstance(raw, dict):
            raise invalid_request(_details(invalid)) from None
        errors = [*errors, *_details(invalid)]
        body = _readable_part(raw, invalid)
    body._errors = tuple(dict.fromkeys(errors))  # noqa: SLF001 (private to this module, and never a field of the wire)
    return body


def _readable_part(raw: dict[str, Any], invalid: ValidationError) -> CreateVideo:
    unreadable = {error["loc"][0] for error in invalid.errors() if error["loc"]}
    try:
        return CreateVideo.model_validate({name: value for name, value in raw.items() if name not in unreadable})
    except ValidationError:  # not even its names can be read
        raise invalid_request(_details(invalid)) from None


def invalid_request(errors: Iterable[ErrorDetail]) -> Problem:
    """Make the refusal that names every field to correct."""
    return Problem(Code.INVALID_REQUEST, "Correct the fields in `errors`; nothing was submitted.", errors=tuple(errors))


def _details(invalid: ValidationError) -> list[ErrorDetail]:
    """Name the invalid fields without repeating their values."""
    return [
        ErrorDetail(".".join(["body", *map(str, error["loc"])]), error["msg"])
        for error in invalid.errors(include_input=False, include_url=False, include_context=False)
    ]


def parse_form(fields: Fields, defaults: DefaultModels) -> CreateVideo:
    """Parse a form: Rushes' own fields stay text, each parameter gets the type that its model takes."""
    named = {name: value for name, value in fields if value != ""}
    given = named.get("model")
    model = defaults.model(
        given if isinstance(given, str) else None, has_picture=bool({"input_reference", "image_url"} & named.keys())
    )

    def read(name: str, text: str) -> Any:
        return text if name in CreateVideo.model_fields else read_text(model, name, text)

    raw, errors = to_object(fields, read_text=read, read_file=read_file)
    picture = raw.get("input_reference")
    if isinstance(picture, str):  # a file, or its URL
        raw["input_reference"] = {"image_url": picture}
    return parse_object(raw, errors)


def model_of(body: CreateVideo, defaults: DefaultModels) -> str:
    """Return the model that a body names, or the default for it."""
    has_picture = body.input_reference is not None or "image_url" in (body.model_extra or {})
    return defaults.model(body.model, has_picture=has_picture)


def to_video_request(body: CreateVideo, defaults: DefaultModels) -> VideoRequest:
    """Translate a body into the upstream's parameter names."""
    extra = dict(body.model_extra or {})
    image = {} if body.input_reference is None else {"image_url": body.input_reference.image_url}
    parameters = retyped(_duration(body.seconds) | _shape(body.size) | image | extra)
    return VideoRequest(model_of(body, defaults), body.prompt, parameters, body.metadata, body.webhook_url)


def named_as_sent(errors: Iterable[FieldError], body: CreateVideo) -> list[ErrorDetail]:
    """Report each error under the name that the caller used for the field."""
    return [ErrorDetail(f"body.{_name_as_sent(error, body)}", error.message) for error in errors]


def _name_as_sent(error: FieldError, body: CreateVideo) -> str:
    extra = body.model_extra or {}
    match error.field.removeprefix("parameters."):
        case "duration" if "duration" not in extra and body.seconds is not None:
            return "seconds"
        case ("aspect_ratio" | "resolution") as name if name not in extra and body.size is not None:
            return "size"
        case "image_url" if "image_url" not in extra and body.input_reference is not None:
            return "input_reference"
        case name:
            return name


def _duration(seconds: str | int | None) -> dict[str, Any]:
    """Keep text that is no number: the catalogue refuses it with the values that are allowed."""
    if seconds is None:
        return {}
    text = str(seconds)
    return {"duration": int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else seconds}  # noqa: PLR2004 (what fits any integer)


def _shape(size: str | None) -> dict[str, Any]:
    if size is None:
        return {}
    ratio, resolution = SIZES[size]
    return {"aspect_ratio": ratio, "resolution": resolution}
