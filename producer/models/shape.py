"""Bounds on the shape of parameters: JSON bounds neither depth, count nor numbers, but its later readers do."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.errors import FieldError, InvalidRequest

DEEPEST: Final = 32
"""Levels of lists and objects within one parameter; all of them are shown (jobs/shorten.py)."""

MOST_VALUES: Final = 1000
"""Parameters, entries of lists and members of objects in one request, all together."""

LONGEST_NAME: Final = 128
"""Characters of a parameter's name, or of a name within one."""

LEAST_WHOLE: Final = -(2**63)
MOST_WHOLE: Final = 2**64 - 1
NO_UNICODE: Final = "must be valid Unicode: half a surrogate pair cannot be written as UTF-8"
_LONGEST_FIELD: Final = 80


class _OutOfBoundsError(Exception):
    """The value is beyond a bound; the message names it."""


def bounded(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the parameters that are plain JSON and within the bounds, and an error for each of the others.

    It reads at most `MOST_VALUES` values, however many there are.

    Raises:
        InvalidRequest: there are too many to judge each, or they are no object.
    """
    if not isinstance(parameters, Mapping):
        raise _invalid(f"must be an object of names and values; got a {type(parameters).__name__}")
    if len(parameters) > MOST_VALUES:
        raise _invalid(f"may hold {MOST_VALUES} values in all; got {len(parameters)}")
    kept, errors, left = {}, [], MOST_VALUES - len(parameters)
    for name, value in parameters.items():
        try:
            _check_name(name)
            left -= _count_within(value, depth=1, left=left)
            kept[name] = value
        except _OutOfBoundsError as error:
            errors.append(FieldError(field_within("parameters", name), str(error)))
    return kept, errors


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest((FieldError("parameters", message),))


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8; half a surrogate pair cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def field_within(whole: str, name: Any) -> str:
    """Return how an error names a part; whatever its name is, this is short and valid Unicode."""
    part = name if isinstance(name, str) else f"({type(name).__name__})"
    return f"{whole}.{part}"[:_LONGEST_FIELD].encode(errors="replace").decode()


def _count_within(value: Any, *, depth: int, left: int) -> int:
    """Check a value, and count those within it; the count ends beyond `left`."""
    match value:
        case None | bool():
            return 0
        case str():
            return 0 if is_text(value) else _refuse(NO_UNICODE)
        case int():
            return 0 if LEAST_WHOLE <= value <= MOST_WHOLE else _refuse("may hold whole numbers of up to 64 bits")
        case float():
            return 0 if math.isfinite(value) else _refuse("may hold no NaN and no infinity")
        case dict() | list() | tuple():
            return _count_members(value, depth=depth, left=left)
        case _:
            return _refuse(f"must be plain JSON; got a {type(value).__name__}")


def _count_members(value: Mapping[str, Any] | Sequence[Any], *, depth: int, left: int) -> int:
    if depth > DEEPEST:
        _refuse(f"may be nested {DEEPEST} deep")
    found = len(value)
    if found > left:
        _refuse(f"may not take the parameters beyond {MOST_VALUES} values in all, those in lists and objects included")
    if isinstance(value, Mapping):
        for name in value:
            _check_name(name)
    for member in value.values() if isinstance(value, Mapping) else value:
        found += _count_within(member, depth=depth + 1, left=left - found)
    return found


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        _refuse(f"may have only text as names; got a {type(name).__name__}")
    if not 0 < len(name) <= LONGEST_NAME:
        _refuse(f"may have names of 1 to {LONGEST_NAME} characters; got {len(name)}")
    if not is_text(name):
        _refuse(NO_UNICODE)


def _refuse(message: str) -> int:
    raise _OutOfBoundsError(message)
