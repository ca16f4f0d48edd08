"""Which models Rushes knows and what each accepts, so that a bad request is refused before it is queued.

The fields and their values are those of the upstream's own pages (docs.aimlapi.com, August 2026). A model that is
not listed here is passed through untouched: the upstream judges it.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jobs.errors import FieldError, InvalidRequest
from jobs.job import VideoRequest
from jobs.webhooks import address_problem

LONGEST_SHOWN: Final = 60
LONGEST_MODEL: Final = 200
LONGEST_LABEL: Final = 64
LONGEST_LABEL_VALUE: Final = 512
MOST_LABELS: Final = 16
DEEPEST: Final = 32
LARGEST_WHOLE: Final = 2**64
_VEO3_S: Final = 8
_VEO2_S: Final = 5
_EXTENSION_S: Final = 7

TypeCheck = Callable[[Any], str | None]
"""Returns what is wrong with a value, or None."""

_URL = re.compile(r"https://[^\s]+", re.IGNORECASE)
_BASE64 = re.compile(r"(data:image/[\w.+-]+;base64,)?[A-Za-z0-9+/\s]+={0,2}", re.IGNORECASE)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,18})(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_FAMILY = re.compile(r"(?<![a-z])veo", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of a model: how to judge it, and whether it may be left out."""

    check: TypeCheck
    required: bool = False


def _one_of(*allowed: str | int) -> TypeCheck:
    listed = ", ".join(str(value) for value in allowed)

    def check(value: Any) -> str | None:
        fits = any(type(value) is type(option) and value == option for option in allowed)
        return None if fits else f"must be one of {listed}; got {_shown(value)}"

    return check


def _whole_number(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool)
    return None if fits else f"must be a whole number; got {_shown(value)}"


def _true_or_false(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false; got {_shown(value)}"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else f"must be text; got {_shown(value)}"


def _some_text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be text, and not empty"


def _image(value: Any) -> str | None:
    fits = isinstance(value, str) and bool(_URL.fullmatch(value) or (value and _BASE64.fullmatch(value)))
    return None if fits else f"must be an https URL or a base64 image; got {_shown(value)}"


def _images(fewest: int, most: int) -> TypeCheck:
    def check(value: Any) -> str | None:
        fits = (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and fewest <= len(value) <= most
            and not any(_image(image) for image in value)
        )
        return None if fits else f"must be a list of {fewest} to {most} https URLs or base64 images"

    return check


def _https(value: Any) -> str | None:
    fits = isinstance(value, str) and _URL.fullmatch(value)
    return None if fits else f"must be an https URL; got {_shown(value)}"


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


_PROMPT = Field(_some_text, required=True)
_RATIO = Field(_one_of("16:9", "9:16"))
_FLAG = Field(_true_or_false)
_IMAGE = Field(_image, required=True)
_EITHER_CASE = Field(_one_of("720P", "1080P", "720p", "1080p"))  # the upstream's page and its schema disagree

_VEO3: Final[Mapping[str, Field]] = {
    "prompt": _PROMPT,
    "duration": Field(_one_of(4, 6, 8)),
    "aspect_ratio": _RATIO,
    "resolution": Field(_one_of("720P", "1080P")),
    "negative_prompt": Field(_text),
    "seed": Field(_whole_number),
    "enhance_prompt": _FLAG,
    "generate_audio": _FLAG,
}
_VEO3_IMAGE: Final = {**_VEO3, "image_url": _IMAGE}
_VEO2: Final[Mapping[str, Field]] = {
    "prompt": _PROMPT,
    "duration": Field(_one_of(5, 6, 7, 8)),
    "aspect_ratio": _RATIO,
    "negative_prompt": Field(_text),
    "seed": Field(_whole_number),
    "enhance_prompt": _FLAG,
}
_VEO31: Final[Mapping[str, Field]] = {
    **_VEO3,
    "resolution": _EITHER_CASE,
    "auto_fix": _FLAG,
    "provider": Field(_text),
}
_VEO31_IMAGE: Final = {
    **{name: spec for name, spec in _VEO31.items() if name not in {"seed", "negative_prompt"}},
    "image_url": _IMAGE,
}
_VEO31_FRAMES: Final = {**_VEO31_IMAGE, "last_image_url": _IMAGE}
_VEO31_REFERENCE: Final = {
    **{name: spec for name, spec in _VEO31_IMAGE.items() if name not in {"image_url", "aspect_ratio"}},
    "duration": Field(_one_of(8)),
    "image_urls": Field(_images(1, 3), required=True),
}
_VEO31_EXTEND: Final = {
    **{name: spec for name, spec in _VEO31.items() if name not in {"seed", "negative_prompt"}},
    "duration": Field(_one_of(7)),
    "resolution": Field(_one_of("720P", "720p")),
    "video_url": Field(_https, required=True),
}

MODELS: Final[Mapping[str, Mapping[str, Field]]] = {
    "google/veo3": _VEO3,
    "google/veo-3.0-fast": _VEO3,
    "google/veo-3.0-i2v": _VEO3_IMAGE,
    "google/veo-3.0-i2v-fast": _VEO3_IMAGE,
    "veo2": _VEO2,
    "google/veo2": _VEO2,
    "veo2/image-to-video": {**_VEO2, "image_url": _IMAGE, "tail_image_url": Field(_image)},
    "google/veo-3.1-t2v": _VEO31,
    "google/veo-3.1-t2v-fast": _VEO31,
    "google/veo-3.1-i2v": _VEO31_IMAGE,
    "google/veo-3.1-i2v-fast": _VEO31_IMAGE,
    "google/veo-3.1-first-last-image-to-video": _VEO31_FRAMES,
    "google/veo-3.1-first-last-image-to-video-fast": _VEO31_FRAMES,
    "google/veo-3.1-reference-to-video": _VEO31_REFERENCE,
    "google/veo3-1-extend-video": _VEO31_EXTEND,
    "google/veo3-1-extend-video-fast": _VEO31_EXTEND,
    "google/veo3-1-fast-extend-video": _VEO31_EXTEND,
}


_NO_TEXT: Final = frozenset({"duration", "seed", "enhance_prompt", "generate_audio", "auto_fix"})
_TEXT: Final = frozenset(name for fields in MODELS.values() for name in fields) - _NO_TEXT
"""Parameters that are text wherever they are known; so they are for a model that is not."""


def read_text(model: str, name: str, text: str) -> Any:
    """What a parameter's text stands for where all values come as text (a form, a CSV cell).

    A known model's parameter stays text if that fits, else it is the number or boolean that does. An unknown model's
    is a number or boolean wherever it reads as one in JSON, so that 0.5 reaches the upstream as a number.
    """
    spec = MODELS.get(model, {}).get(name)
    if spec is None:
        return text if name in _TEXT else _scalar(text)
    flag = {"1": True, "0": False}.get(text.strip())
    return next((value for value in (text, _scalar(text), flag) if spec.check(value) is None), text)


def _scalar(text: str) -> Any:
    """A number or a boolean, also as Python writes it; anything else stays text."""
    plain = text.strip() if len(text) <= LONGEST_SHOWN else ""
    if plain.lower() in {"true", "false"}:
        return plain.lower() == "true"
    number = json.loads(plain) if _NUMBER.fullmatch(plain) else math.inf
    return number if math.isfinite(number) else text


def unfamiliar(model: str) -> str | None:
    """A warning about a model that is not known though others of its family are: it may be a slip of the pen."""
    return None if model in MODELS or not _FAMILY.search(model) else _warning(model[:LONGEST_MODEL])


@lru_cache(maxsize=256)  # every view of a job says it
def _warning(model: str) -> str:
    known = difflib.get_close_matches(model.lower(), MODELS, n=len(MODELS), cutoff=0)
    return f"{_shown(model)} is sent to the upstream unjudged: Rushes knows of this family only {', '.join(known)}"


def usual_duration(model: str) -> int | None:
    """The seconds that a known model renders if the order does not say; None: it is not known."""
    if model not in MODELS:
        return None
    if model.startswith(("veo2", "google/veo2")):
        return _VEO2_S
    return _EXTENSION_S if "extend" in model else _VEO3_S


def usual_resolution(model: str) -> str | None:
    """The resolution that a known model renders if the order does not say; None: it is not known, or has none.

    1080P for Veo 3.1, by the upstream's pages of August 2026; an extension is as large as what it extends, 720P.
    """
    if "resolution" not in MODELS.get(model, {}):
        return None
    return "1080P" if "veo-3.1" in model else "720P"


def expected_of(request: VideoRequest) -> dict[str, Any]:
    """What an order should come as: its parameters, and what a known model renders where it does not say."""
    usual = {
        "duration": usual_duration(request.model),
        "resolution": usual_resolution(request.model),
        "generate_audio": True,
    }
    fields = MODELS.get(request.model, {})
    given = {name: value for name, value in request.parameters.items() if value is not None}
    return {name: value for name, value in usual.items() if name in fields} | given


def validate(request: VideoRequest, *, largest_bytes: int, signs_webhooks: bool = True) -> None:
    """Refuse a request that the upstream would refuse, or whose webhook could not be signed here.

    Raises:
        InvalidRequest: naming every field that must change, and what it may be.
    """
    wrong = _model_errors(request)
    named = {error.field for error in wrong}
    errors = [
        *wrong,
        *_hidden_errors(request.parameters),
        *_bound_errors({name: value for name, value in request.parameters.items() if name not in named}),
        *_label_errors(request.metadata),
        *_webhook_errors(request.webhook_url, can_sign=signs_webhooks),
        *_size_errors(request, largest_bytes),
    ]
    if errors:
        raise InvalidRequest(tuple(errors))


def _model_errors(request: VideoRequest) -> list[FieldError]:
    model: Any = request.model  # a row of a batch file may hold anything
    if not isinstance(model, str) or not model or model.strip() != model:
        return [FieldError("model", f"must name a model, such as google/veo3; got {_shown(request.model)}")]
    fields = MODELS.get(request.model)
    if fields is None:
        return _near_miss(request.model)
    given = {name: value for name, value in request.body().items() if name != "model"}
    missing = [
        FieldError(name, f"is required by {request.model}")
        for name, spec in fields.items()
        if spec.required and given.get(name) is None
    ]
    return missing + [
        FieldError(name, problem) for name, value in given.items() if (problem := _problem(fields, name, value))
    ]


def _problem(fields: Mapping[str, Field], name: str, value: Any) -> str | None:
    if name not in fields:
        return f"is not a parameter of this model; it has {', '.join(fields)}"
    if value is None and fields[name].required:
        return None  # already told as missing
    return fields[name].check(value)


def _hidden_errors(parameters: Mapping[str, Any]) -> list[FieldError]:
    """A parameter would take the place of the judged model or prompt, or tell the upstream a webhook's address."""
    return [
        FieldError(f"parameters.{name}", f"may not be a parameter; give it as the request's {name}")
        for name in ("model", "prompt", "webhook_url")
        if name in parameters
    ]


def _bound_errors(parameters: Mapping[str, Any]) -> Iterator[FieldError]:
    """JSON bounds neither numbers nor depth, but its readers do: no order may break one further on."""
    for name, value in parameters.items():
        if problem := _beyond(value, 0):
            yield FieldError(f"parameters.{name}", problem)


def _beyond(value: Any, depth: int) -> str | None:
    match value:
        case bool() | str() | None:
            return None
        case int():
            return None if abs(value) < LARGEST_WHOLE else "may hold whole numbers of up to 64 bits"
        case float():
            return None if math.isfinite(value) else "may hold no NaN and no infinity"
        case _ if depth >= DEEPEST:
            return f"may be nested {DEEPEST} deep"
        case Mapping() | list() | tuple():
            inner = value.values() if isinstance(value, Mapping) else value
            return next((problem for each in inner if (problem := _beyond(each, depth + 1))), None)
        case _:
            return None  # judged where it is written as JSON


def _near_miss(model: str) -> list[FieldError]:
    """A model of another vendor passes; a misspelt one of Google's would cost a round trip to find out."""
    same_version = [known for known in MODELS if _digits(known) == _digits(model)]  # another version is another model
    close = difflib.get_close_matches(model.lower(), same_version, n=1, cutoff=0.9)
    return [FieldError("model", f"{_shown(model)} is not known; did you mean {close[0]}?")] if close else []


def _digits(model: str) -> str:
    return "".join(filter(str.isdecimal, model))


def _label_errors(metadata: Any) -> list[FieldError]:
    if not isinstance(metadata, Mapping):
        return [FieldError("metadata", f"must be labels, a name and a text each; got {_shown(metadata)}")]
    if len(metadata) > MOST_LABELS:
        return [FieldError("metadata", f"may hold {MOST_LABELS} labels; got {len(metadata)}")]
    return [
        FieldError(f"metadata.{name}"[:80], f"must be text up to {LONGEST_LABEL_VALUE} characters, its name up to 64")
        for name, value in metadata.items()
        if not (0 < len(name) <= LONGEST_LABEL and _text(value) is None and len(value) <= LONGEST_LABEL_VALUE)
    ]


def _webhook_errors(url: Any, *, can_sign: bool) -> list[FieldError]:
    unsigned = None if can_sign else "cannot be called: without RUSHES_WEBHOOKS__KEYS no request could be signed"
    problem = None if url is None else address_problem(url) or unsigned
    return [FieldError("webhook_url", problem)] if problem else []


def _size_errors(request: VideoRequest, largest_bytes: int) -> list[FieldError]:
    try:
        size = len(json.dumps(request.body(), allow_nan=False))
        # Half a surrogate pair can be escaped, but not written down as UTF-8.
        json.dumps([request.body(), request.metadata], ensure_ascii=False, default=dict).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return [FieldError("parameters", f"must be plain JSON: {error}")]
    too_large = FieldError("parameters", f"may be {largest_bytes} bytes as JSON; these are {size}")
    return [too_large] if size > largest_bytes else []
