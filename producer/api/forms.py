"""Form bodies: every value is text, and the brackets in a field's name give its place in the object.

`camera[type]=simple` is `{"camera": {"type": "simple"}}`; `tags[]=a&tags[]=b` and `tags=a&tags=b` are lists, so is
`tags[0]=a`; the n-th `points[][x]` belongs to the n-th element. OpenAI's clients, qs and PHP write forms this way.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from producer.api.parsing import MOST_ESCAPES, QUICK_BYTES, check_density, parse_apart, read_once
from producer.api.problems import Code, ErrorDetail, Problem

MOST_FIELDS: Final = 256
MOST_FILES: Final = 8
DEEPEST: Final = 8
MULTIPART: Final = "multipart/form-data"

Fields = Sequence[tuple[str, str | bytes]]
"""Names and values as sent; bytes are a file's content."""

ReadText = Callable[[str, str], Any]
"""Converts a parameter's text, given its name, to the value that its model takes."""

_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_LABEL: Final = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_BASE64: Final = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_NO_LABELS: Final = ErrorDetail("body.metadata", "must be a JSON object of labels, or metadata[name]=value fields")

_Path = list[str | int]


class _InvalidField(Exception):
    """The field has no place in the object; the message says why."""


async def read_fields(request: Request, kind: str, *, most_bytes: int) -> Fields:
    """Read the fields of a form body.

    Raises:
        Problem: the body is not a form, or has too many fields.
    """
    try:
        body = await read_once(request)
        if kind == MULTIPART:
            return await parse_apart(_multipart, request.headers, body, most_bytes)
        return await parse_apart(_urlencoded, body)
    except (Problem, ClientDisconnect):
        raise
    except MultiPartException as error:
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read: {error.message}") from error
    except Exception as error:  # whatever a stranger's charset or boundary raises
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read ({type(error).__name__}).") from error


def _multipart(headers: Headers, body: bytes, most_bytes: int) -> Fields:
    return asyncio.run(_multipart_fields(headers, body, most_bytes))  # Starlette's parser is a coroutine


async def _multipart_fields(headers: Headers, body: bytes, most_bytes: int) -> Fields:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": most_bytes}
    form = await MultiPartParser(headers, whole(), **limits).parse()
    try:
        return [
            (name, value if isinstance(value, str) else await value.read() or (b"" if value.filename else ""))
            for name, value in form.multi_items()
        ]
    finally:
        await form.close()


def _urlencoded(body: bytes) -> Fields:
    """Accept raw UTF-8 between the ampersands, as curl sends it."""
    if body.lstrip()[:1] in {b"{", b"["}:
        detail = "The body looks like JSON, but its Content-Type says form: send `Content-Type: application/json`."
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers={"accept": "application/json"})
    check_density(body, b"%", MOST_ESCAPES)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError as error:
        raise Problem(Code.MALFORMED_BODY, "The form cannot be read: it is not UTF-8.") from error
    except ValueError as error:
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read: at most {MOST_FIELDS} fields.") from error
    # A plus that was not escaped is a space by now, and base64 holds no spaces of its own.
    return [(name, value.replace(" ", "+") if _BASE64.match(value) else value) for name, value in fields]


def to_object(
    fields: Fields, *, read_text: ReadText, read_file: Callable[[str, bytes], str]
) -> tuple[Any, list[ErrorDetail]]:
    """Build the object that the fields describe, and list the errors of fields left out. Empty fields are absent."""
    tree: dict[str | int, Any] = {}
    errors: list[ErrorDetail] = []
    counts = Counter(name for name, _ in fields)
    uneven = _uneven(counts)
    for name, path, value in _paths(fields, counts, errors):
        if name in uneven:
            errors.append(ErrorDetail(f"body.{name}", "is not in every element of its list; send JSON instead"))
        elif value != "":
            try:
                found = read_file(name, value) if isinstance(value, bytes) else _read(path, value, read_text)
                _place(tree, path, found)
            except (_InvalidField, ValueError) as error:
                errors.append(ErrorDetail(f"body.{name}", str(error)))
    return _plain_object(tree, errors), errors


def _paths(fields: Fields, counts: Counter[str], errors: list[ErrorDetail]) -> Iterator[tuple[str, _Path, Any]]:
    """Yield each field with the path to its value; a repeated field is appended to a list."""
    seen: Counter[str] = Counter()
    for name, value in fields:
        if name == "metadata" and isinstance(value, str):
            for label, text in _labels(value, errors):
                yield f"metadata[{label}]", ["metadata", label], text
            continue
        try:
            yield name, _path(name, seen[name], repeated=counts[name] > 1), value
        except _InvalidField as invalid:
            errors.append(ErrorDetail(f"body.{name}", str(invalid)))
        seen[name] += 1


def _path(name: str, nth: int, *, repeated: bool) -> _Path:
    if label := _LABEL.fullmatch(name):
        return ["metadata", label[1]]
    found = _NAME.fullmatch(name)
    if found is None:
        raise _InvalidField("has unpaired brackets; write name[part]")
    parts = found[2][1:-1].split("][") if found[2] else []
    if len(parts) > DEEPEST:
        raise _InvalidField(f"is nested too deep: a form allows {DEEPEST} levels")
    if parts.count("") > 1:
        raise _InvalidField("is a list of lists, which a form cannot express; send JSON")
    path = [found[1], *(nth if part == "" else part for part in parts)]
    return [*path, nth] if repeated and "" not in parts else path


def _uneven(counts: Counter[str]) -> set[str]:
    """Find the fields of object lists whose elements lack some field: which element a value belongs to is unknown."""
    groups: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        head, inside, _ = name.partition("[][")
        if inside:
            groups.setdefault(head, {})[name] = count
    return {name for group in groups.values() if len(set(group.values())) > 1 for name in group}


def _place(tree: dict[str | int, Any], path: _Path, value: Any) -> None:
    *branch, leaf = path
    node: Any = tree
    for part in branch:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise _InvalidField("is given both as a value and as an object")
    if leaf in node:
        raise _InvalidField("is given twice")
    node[leaf] = value


def _read(path: _Path, text: str, read_text: ReadText) -> Any:
    return text if path[0] == "metadata" else read_text(str(path[0]), text)


def _plain_object(tree: dict[str | int, Any], errors: list[ErrorDetail]) -> dict[str, Any]:
    """Turn the tree into JSON values; labels may have numbers as names."""
    found: dict[str, Any] = {}
    for name, node in tree.items():
        try:
            found[str(name)] = node if name == "metadata" else _plain(node)
        except _InvalidField as invalid:
            errors.append(ErrorDetail(f"body.{name}", str(invalid)))
    return found


def _plain(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if all(isinstance(key, int) for key in node) or set(node) == {str(place) for place in range(len(node))}:
        return [_plain(node[key]) for key in sorted(node, key=int)]
    if any(isinstance(key, int) for key in node):
        raise _InvalidField("is given both as a list and as an object")
    return {key: _plain(value) for key, value in node.items()}


def _labels(text: str, errors: list[ErrorDetail]) -> Iterator[tuple[str, Any]]:
    try:
        read = json.loads(text or "{}") if len(text) <= QUICK_BYTES else None
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        yield from read.items()
    else:
        errors.append(_NO_LABELS)
