"""A bad request is refused before it is queued, by everything that is wrong with it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from config.webhook_endpoints import address_problem
from jobs.errors import FieldError, InvalidRequest
from jobs.job import VideoRequest
from producer.models.catalogue import MODELS, close_match, parameters_of, schema_of
from producer.models.parameters import Parameters
from producer.models.shape import MOST_VALUES, NO_UNICODE, bounded, field_within, is_text
from producer.models.wording import may_be, shown

LONGEST_PROMPT: Final = 32_768
LONGEST_MODEL: Final = 200
LONGEST_LABEL: Final = 64
LONGEST_LABEL_VALUE: Final = 512
MOST_LABELS: Final = 16
_LONGEST_ESCAPE: Final = 6


def validate(
    request: VideoRequest, *, largest_bytes: int, signs_webhooks: bool = True, parameters: bytes | None = None
) -> None:
    """Refuse a request that the upstream would refuse, or whose webhook could not be signed here.

    `parameters`: the request's as JSON, if the caller has them: to write 8 MB anew holds the interpreter for 20 ms.

    Raises:
        InvalidRequest: naming every field that must change, and what it may be.
    """
    kept, beyond = bounded(request.parameters)
    judged = replace(request, parameters=kept)  # the checks below may rely on a bounded shape
    found = [*beyond, *_prompt_errors(request.prompt)]
    named = {error.field.removeprefix("parameters.") for error in found}
    errors = [
        *found,
        *(error for error in _model_errors(judged) if error.field not in named),
        *_hidden_errors(kept),
        *_label_errors(request.metadata),
        *_webhook_errors(request.webhook_url, can_sign=signs_webhooks),
        *_size_errors(judged, largest_bytes, parameters),
    ]
    if errors:
        raise InvalidRequest(tuple(errors))


def _model_errors(request: VideoRequest) -> list[FieldError]:
    model: Any = request.model  # a row of a batch file may hold anything
    if not isinstance(model, str) or not model or model.strip() != model:
        return [FieldError("model", f"must name a model, such as google/veo3; got {shown(model)}")]
    if len(model) > LONGEST_MODEL:
        return [FieldError("model", f"may have {LONGEST_MODEL} characters; got {len(model)}")]
    if not is_text(model):
        return [FieldError("model", NO_UNICODE)]
    if family := MODELS.get(model):
        return _parameter_errors(request, family)
    meant = close_match(model)  # to find out upstream would cost a round trip; another vendor's model passes
    return [FieldError("model", f"{shown(model)} is not known; did you mean {meant}?")] if meant else []


def _parameter_errors(request: VideoRequest, family: type[Parameters]) -> list[FieldError]:
    given = request.body()
    del given["model"]
    try:
        family.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        names = dict.fromkeys(str(one["loc"][0]) for one in found if one["loc"])  # one error for each parameter
        return [FieldError(name, _message(request.model, family, name, given.get(name))) for name in names]
    return []


def _message(model: str, family: type[Parameters], name: str, value: Any) -> str:
    schema = schema_of(family)
    known = schema["properties"]
    if name not in known:
        return f"is not a parameter of this model; it has {', '.join(known)}"
    if value is None and name in schema["required"]:
        return f"is required by {model}"
    return f"must be {may_be(known[name])}; got {shown(value)}"


def _prompt_errors(prompt: Any) -> list[FieldError]:
    """Bound every model's prompt; whether there must be one, its parameters say."""
    if not isinstance(prompt, str):
        return [] if prompt is None else [FieldError("prompt", f"must be text, and not empty; got {shown(prompt)}")]
    if len(prompt) > LONGEST_PROMPT:
        return [FieldError("prompt", f"may have {LONGEST_PROMPT} characters; got {len(prompt)}")]
    return [] if is_text(prompt) else [FieldError("prompt", NO_UNICODE)]


def _hidden_errors(parameters: Mapping[str, Any]) -> list[FieldError]:
    """A parameter would take the place of the judged model or prompt, or tell the upstream a webhook's address."""
    return [
        FieldError(f"parameters.{name}", f"may not be a parameter; give it as the request's {name}")
        for name in ("model", "prompt", "webhook_url")
        if name in parameters
    ]


def _label_errors(metadata: Any) -> list[FieldError]:
    if not isinstance(metadata, Mapping):
        return [FieldError("metadata", f"must be labels, a name and a text each; got {shown(metadata)}")]
    if len(metadata) > MOST_LABELS:
        return [FieldError("metadata", f"may hold {MOST_LABELS} labels; got {len(metadata)}")]
    return [
        FieldError(
            field_within("metadata", name), f"must be text up to {LONGEST_LABEL_VALUE} characters, its name up to 64"
        )
        for name, value in metadata.items()
        if not (_is_label(name, LONGEST_LABEL) and name and _is_label(value, LONGEST_LABEL_VALUE))
    ]


def _is_label(text: Any, longest: int) -> bool:
    return isinstance(text, str) and len(text) <= longest and is_text(text)


def _webhook_errors(url: Any, *, can_sign: bool) -> list[FieldError]:
    unsigned = None if can_sign else "cannot be called: without RUSHES_WEBHOOKS__KEYS no request could be signed"
    problem = None if url is None else address_problem(url) or unsigned
    return [FieldError("webhook_url", problem)] if problem else []


def _size_errors(request: VideoRequest, largest_bytes: int, parameters: bytes | None) -> list[FieldError]:
    if parameters is not None and _longest(request, parameters) <= largest_bytes:
        return []
    try:
        size = len(json.dumps(request.body()))
    except (TypeError, ValueError, RecursionError):
        return []  # model or prompt is no text, and refused as such
    too_large = FieldError("parameters", f"may be {largest_bytes} bytes as JSON; these are {size}")
    return [too_large] if size > largest_bytes else []


def _longest(request: VideoRequest, parameters: bytes) -> int:
    """Return how long the body can be as it is sent: with blanks between its values, and letters escaped."""
    is_as_sent = parameters.isascii() and b"\x7f" not in parameters
    names = len(str(request.model)) + len(str(request.prompt))
    return (1 if is_as_sent else _LONGEST_ESCAPE) * len(parameters) + 2 * MOST_VALUES + 2 * _LONGEST_ESCAPE * names


def reuse_problem(request: VideoRequest) -> FieldError | None:
    """Why a request can never be the same as another: without a seed, each means another video."""
    if request.parameters.get("seed") is not None:
        return None
    if request.model in MODELS and "seed" not in parameters_of(request.model):
        message = f"cannot be asked of {request.model}: it takes no seed, so no two requests are the same"
        return FieldError("dedupe", message)
    return FieldError("seed", "must be set where dedupe is: without a seed, each request means another video")
