"""Parses and validates the JSON body of a submit, with the upstream's own complaints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ops.sandbox.catalogue import BY_NAME, FieldRule, Model, is_of_google, other_vendors_model

Complaint = dict[str, object]

MISSING = object()
PICTURE = re.compile(r"(data:image/[a-z+.-]+;base64,)?[A-Za-z0-9+/=\s_-]{16,}")
FILM = re.compile(r"data:video/[a-z0-9+.-]+;base64,[A-Za-z0-9+/=\s_-]{16,}")
MOST_REFERENCES = 3
LONGEST_S = 60.0
LARGEST_NUMBER = 1e6


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters that determine a video's price and format; equal requests share one object."""

    model: str
    duration_s: float
    aspect_ratio: str
    resolution: str
    with_sound: bool
    credits: int


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A valid video request."""

    shape: Shape
    prompt: str
    seed: int | None


class ModelWithdrawnError(Exception):
    """There is no model of that name (any more); the caller answers 404."""


class InvalidRequestError(Exception):
    """The body is no valid video request; the caller answers 400 with the complaints."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__(complaints)
        self.complaints = complaints


def read_request(body: object, *, google_only: bool) -> VideoRequest:
    """Read a submit's body; the older path is `google_only` and knows no other vendor."""
    if not isinstance(body, dict):
        raise InvalidRequestError([wrong_type([], "object", body)])
    model = named_model(body.get("model", MISSING), google_only=google_only)
    if not model.fields:
        return other_vendors_request(model, body)
    if complaints := [complaint for rule in model.fields for complaint in validate(rule, body.get(rule.name, MISSING))]:
        raise InvalidRequestError(complaints)
    return google_request(model, body)


def named_model(name: object, *, google_only: bool) -> Model:
    """Return the model of that name, made up if it is another vendor's; raise if it is unknown."""
    if not isinstance(name, str) or not name:
        raise InvalidRequestError([wrong_type(["model"], "string", name)])
    if name in BY_NAME:
        return BY_NAME[name]
    if is_of_google(name):
        raise ModelWithdrawnError(name)
    if google_only:
        raise InvalidRequestError([wrong_option(["model"], tuple(BY_NAME), name)])
    return other_vendors_model(name)


def google_request(model: Model, body: dict[str, object]) -> VideoRequest:
    """Build a request from validated fields; absent ones get their defaults."""
    given = {rule.name: body.get(rule.name, rule.default) for rule in model.fields}
    with_sound = bool(given.get("generate_audio", False))
    shape = shape_of(
        model,
        seconds=number(given["duration"], 8.0),
        aspect_ratio=str(given.get("aspect_ratio", "16:9")),
        resolution=str(given.get("resolution", "720P")),
        with_sound=with_sound,
    )
    seed = given.get("seed")
    return VideoRequest(shape, str(given["prompt"]), int(seed) if isinstance(seed, int | float) else None)


def other_vendors_request(model: Model, body: dict[str, object]) -> VideoRequest:
    """Build another vendor's request: use the fields that can be read, validate none."""
    shape = shape_of(
        model,
        seconds=number(body.get("duration"), 5.0),
        aspect_ratio=str(body.get("aspect_ratio", "16:9")),
        resolution=str(body.get("resolution", "720P")),
        with_sound=body.get("generate_audio") is not False,
    )
    seed = body.get("seed")
    return VideoRequest(shape, str(body.get("prompt", "")), seed if isinstance(seed, int) else None)


@lru_cache(maxsize=4096)
def shape_of(model: Model, *, seconds: float, aspect_ratio: str, resolution: str, with_sound: bool) -> Shape:
    """Return the shared shape of equal requests, so that 100,000 generations need only a few."""
    seconds = min(max(seconds, 1.0), LONGEST_S)
    return Shape(model.id, seconds, aspect_ratio, resolution, with_sound, model.credits(seconds, with_sound=with_sound))


def number(value: object, otherwise: float) -> float:
    """Read a number, also from `5` or `5s` as text; else return the fallback."""
    if isinstance(value, int | float) and abs(value) < LARGEST_NUMBER:  # false for NaN
        return float(value)
    found = re.match(r"\d{1,6}(\.\d{1,6})?", value) if isinstance(value, str) else None
    return float(found[0]) if found else otherwise


def validate(rule: FieldRule, value: object) -> Iterator[Complaint]:
    """Validate one field's value; complaints are worded as the upstream's."""
    path: list[str | int] = [rule.name]
    if value is MISSING:
        if rule.required:
            yield wrong_type(path, "array" if rule.kind == "pictures" else "string", MISSING)
        return
    match rule.kind:
        case "text":
            yield from validate_text(path, value, required=rule.required)
        case "choice":
            yield from validate_choice(path, rule.options, value)
        case "integer":
            yield from validate_integer(path, value)
        case "flag":
            if not isinstance(value, bool):
                yield wrong_type(path, "boolean", value)
        case "picture" | "film":
            yield from validate_link(path, value, PICTURE if rule.kind == "picture" else FILM)
        case "pictures":
            yield from validate_links(path, value)


def validate_text(path: list[str | int], value: object, *, required: bool) -> Iterator[Complaint]:
    """Require a string, and a non-empty one if the field is required."""
    if not isinstance(value, str):
        yield wrong_type(path, "string", value)
    elif required and not value:
        yield {
            "code": "too_small",
            "minimum": 1,
            "type": "string",
            "path": path,
            "received": value,
            "message": "String must contain at least 1 character(s)",
        }


def validate_choice(path: list[str | int], options: tuple[str | int, ...], value: object) -> Iterator[Complaint]:
    """Require one of the options, in type and case."""
    if isinstance(value, bool) or value not in options:
        yield wrong_option(path, options, value)


def validate_integer(path: list[str | int], value: object) -> Iterator[Complaint]:
    """Require a whole number; JSON's 3.0 is one, true is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield wrong_type(path, "number", value)
    elif value != value // 1:
        yield {"code": "invalid_type", "expected": "integer", "received": "float", "path": path, "message": (
            "Expected integer, received float"
        )}  # fmt: skip


def validate_link(path: list[str | int], value: object, inline: re.Pattern[str]) -> Iterator[Complaint]:
    """Require an https URL or the content itself."""
    if not isinstance(value, str):
        yield wrong_type(path, "string", value)
    elif not value.startswith("https://") and not inline.fullmatch(value):
        yield {
            "validation": "url",
            "code": "invalid_string",
            "path": path,
            "received": value[:80],
            "message": "Invalid url",
        }


def validate_links(path: list[str | int], value: object) -> Iterator[Complaint]:
    """Require one to three pictures."""
    if not isinstance(value, list):
        yield wrong_type(path, "array", value)
        return
    if not 1 <= len(value) <= MOST_REFERENCES:
        yield {
            "code": "too_big" if value else "too_small",
            "type": "array",
            "path": path,
            "received": len(value),
            "message": f"Array must contain 1 to {MOST_REFERENCES} element(s)",
        }
    for position, link in enumerate(value):
        yield from validate_link([*path, position], link, PICTURE)


def wrong_type(path: list[str] | list[str | int], expected: str, value: object) -> Complaint:
    """Build the complaint about a type; a missing field is just `Required`."""
    received = type_name(value)
    message = "Required" if value is MISSING else f"Expected {expected}, received {received}"
    return {"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message}


def wrong_option(path: list[str] | list[str | int], options: tuple[str | int, ...], value: object) -> Complaint:
    """Build the complaint about a value outside an enum."""
    expected = " | ".join(f"'{option}'" if isinstance(option, str) else str(option) for option in options)
    shown = value if isinstance(value, str | int | float | None) else type_name(value)
    return {
        "received": shown,
        "code": "invalid_enum_value",
        "options": list(options),
        "path": path,
        "message": f"Invalid enum value. Expected {expected}, received '{shown}'",
    }


def type_name(value: object) -> str:
    """Return JavaScript's name of a JSON type."""
    if value is MISSING:
        return "undefined"
    names = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
