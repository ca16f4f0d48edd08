"""Reads a job's hash and request from Redis, and serializes their fields."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter, ValidationError

from jobs.errors import UnreadableRow
from jobs.job import Input, Job, Stored, Video, VideoRequest
from jobs.media import Media
from jobs.shorten import shorten

VERSION: Final = 1
"""Written into each row. A reader ignores unknown fields, so that two versions can share the jobs."""


def _plain(value: Any) -> dict[str, Any]:
    return asdict(value) if isinstance(value, Input) else dict(value)


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=_plain)
"""Made once: `json.dumps` makes one for each text."""

_REQUEST: Final = TypeAdapter(VideoRequest)


def job_from(row: Mapping[str, str]) -> Job:
    """Read a row; fields that a newer version added are ignored.

    Raises:
        UnreadableRow: a field that this version needs is missing or unknown.
    """
    try:
        return Job.model_validate(row)
    except Exception as error:  # any error in the row concerns this job alone
        raise _unreadable(error) from error


def to_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Serialize values of a job's fields as a row holds them.

    Raises:
        ValueError: no field of a job has this name, or a row cannot hold this value.
    """
    if unknown := values.keys() - Job.model_fields.keys():
        raise ValueError(f"a job has no field {', '.join(sorted(unknown))}")
    return {name: _text(name, value) for name, value in values.items()}


def _text(name: str, value: Any) -> str:
    match value:
        case str() | int() | float():
            return str(value)
        case Video() | Stored() | Media():
            parts = {name: part for name, part in asdict(value).items() if part is not None and part != ()}
            return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
        case list() | tuple():
            return ",".join(value)
        case _:
            raise ValueError(f"a row cannot hold {type(value).__name__} as {name}; a field without a value is unset")


def request_from(text: str) -> VideoRequest:
    """Read a request.

    Raises:
        UnreadableRow: a part that this version needs is missing or unknown.
    """
    try:
        return _REQUEST.validate_python(json.loads(text, parse_constant=_no_number, parse_float=_finite))
    except Exception as error:  # as above
        raise _unreadable(error) from error


def request_text(request: VideoRequest) -> str:
    """Serialize a request, the same for equal requests."""
    parts = ((part.name, getattr(request, part.name)) for part in fields(request))
    record = {name: value for name, value in parts if value not in (None, {})}
    return _ENCODER.encode(record)


def serialized(parameters: Mapping[str, Any]) -> bytes | None:
    """Return parameters as JSON; None: they are none."""
    try:
        return _ENCODER.encode(parameters).encode()
    except (TypeError, ValueError, RecursionError):
        return None


def fingerprint_of(request: VideoRequest) -> str:
    """Return the digest by which an idempotency key recognises its request; `expected` does not count.

    It is that of the short form, which has the checksums of long values: the input's name is another each time.
    """
    parameters = request.parameters if request.input else shorten(request.parameters)
    same = replace(request, parameters=parameters, expected={}, input=None)
    return hashlib.sha256(request_text(same).encode()).hexdigest()


def _finite(text: str) -> float:
    """Parse a finite number; a parameter may have any size that JSON can carry."""
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _unreadable(error: Exception) -> UnreadableRow:
    """Name the field and its fault, not its value."""
    if not isinstance(error, ValidationError):
        return UnreadableRow(f"{type(error).__name__}: {error}"[:200])
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return UnreadableRow(f"{place}: {first['msg']}"[:200])
