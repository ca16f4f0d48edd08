"""An order that comes as a form: every value is text there, and the brackets of a name say where it belongs.

`camera[type]=simple` is `{"camera": {"type": "simple"}}`; `tags[]=a&tags[]=b` and `tags=a&tags=b` are lists, so is
`tags[0]=a`; of `points[][x]` the n-th belongs to the n-th element. That is how OpenAI's clients, qs and PHP write.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from producer.api.problems import Code, Problem, Wrong

MOST_FIELDS: Final = 256
MOST_FILES: Final = 8
DEEPEST: Final = 8
MULTIPART: Final = "multipart/form-data"

Fields = Sequence[tuple[str, str | bytes]]
"""Names and values as they came; bytes are a file's."""

ReadText = Callable[[str, str], Any]
"""From a parameter's name and its text to the value that it stands for."""

_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_LABEL: Final = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_BASE64: Final = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_NO_LABELS: Final = Wrong("body.metadata", "must be a JSON object of labels, or metadata[name]=value fields")

_Path = list[str | int]


class _Unfit(Exception):
    """The field cannot be placed; the message says why."""


async def read_fields(request: Request, kind: str, *, most_bytes: int) -> Fields:
    """The fields of a request's body.

    Raises:
        Problem: it is no form, or it has too many fields.
    """
    try:
        return await (_multipart(request, most_bytes) if kind == MULTIPART else _urlencoded(request))
    except (Problem, ClientDisconnect):
        raise
    except MultiPartException as error:
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read: {error.message}") from error
    except Exception as error:  # whatever a stranger's charset or boundary raises
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read ({type(error).__name__}).") from error


async def _multipart(request: Request, most_bytes: int) -> Fields:
    limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": most_bytes}
    form = await MultiPartParser(request.headers, request.stream(), **limits).parse()
    try:
        return [
            (name, value if isinstance(value, str) else await value.read() or (b"" if value.filename else ""))
            for name, value in form.multi_items()
        ]
    finally:
        await form.close()


async def _urlencoded(request: Request) -> Fields:
    """Raw UTF-8 between the ampersands, as curl sends it, is read as what it is."""
    body = await request.body()
    if body.lstrip()[:1] in {b"{", b"["}:
        detail = "The body looks like JSON, but its Content-Type says form: send `Content-Type: application/json`."
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers={"accept": "application/json"})
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError as error:
        raise Problem(Code.MALFORMED_BODY, "The form cannot be read: it is not UTF-8.") from error
    except ValueError as error:
        raise Problem(Code.MALFORMED_BODY, f"The form cannot be read: at most {MOST_FIELDS} fields.") from error
    # A plus that was not escaped is a space by now, and base64 holds no spaces of its own.
    return [(name, value.replace(" ", "+") if _BASE64.match(value) else value) for name, value in fields]


def rebuilt(fields: Fields, *, read_text: ReadText, read_file: Callable[[str, bytes], str]) -> tuple[Any, list[Wrong]]:
    """The object that the fields describe, and what is wrong with those that are left out. Empty fields are absent."""
    tree: dict[str | int, Any] = {}
    wrongs: list[Wrong] = []
    counts = Counter(name for name, _ in fields)
    uneven = _uneven(counts)
    for name, path, value in _paths(fields, counts, wrongs):
        if name in uneven:
            wrongs.append(Wrong(f"body.{name}", "is not in every element of its list; send JSON, which can say so"))
        elif value != "":
            try:
                found = read_file(name, value) if isinstance(value, bytes) else _read(path, value, read_text)
                _place(tree, path, found)
            except (_Unfit, ValueError) as error:
                wrongs.append(Wrong(f"body.{name}", str(error)))
    return _plain_object(tree, wrongs), wrongs


def _paths(fields: Fields, counts: Counter[str], wrongs: list[Wrong]) -> Iterator[tuple[str, _Path, Any]]:
    """Each field with the way to its value; a field that is repeated goes to the end of a list."""
    seen: Counter[str] = Counter()
    for name, value in fields:
        if name == "metadata" and isinstance(value, str):
            for label, text in _labels(value, wrongs):
                yield f"metadata[{label}]", ["metadata", label], text
            continue
        try:
            yield name, _path(name, seen[name], repeated=counts[name] > 1), value
        except _Unfit as unfit:
            wrongs.append(Wrong(f"body.{name}", str(unfit)))
        seen[name] += 1


def _path(name: str, nth: int, *, repeated: bool) -> _Path:
    if label := _LABEL.fullmatch(name):
        return ["metadata", label[1]]
    found = _NAME.fullmatch(name)
    if found is None:
        raise _Unfit("has brackets that do not pair; write name[part]")
    parts = found[2][1:-1].split("][") if found[2] else []
    if len(parts) > DEEPEST:
        raise _Unfit(f"may be nested {DEEPEST} deep in a form")
    if parts.count("") > 1:
        raise _Unfit("is a list of lists, which a form cannot tell apart; send JSON")
    path = [found[1], *(nth if part == "" else part for part in parts)]
    return [*path, nth] if repeated and "" not in parts else path


def _uneven(counts: Counter[str]) -> set[str]:
    """The fields of lists of objects whose elements have not all the same fields: whose is whose cannot be known."""
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
            raise _Unfit("is given both as a value and as what holds others")
    if leaf in node:
        raise _Unfit("is given twice")
    node[leaf] = value


def _read(path: _Path, text: str, read_text: ReadText) -> Any:
    return text if path[0] == "metadata" else read_text(str(path[0]), text)


def _plain_object(tree: dict[str | int, Any], wrongs: list[Wrong]) -> dict[str, Any]:
    """The tree as JSON has it; labels may be named by numbers."""
    found: dict[str, Any] = {}
    for name, node in tree.items():
        try:
            found[str(name)] = node if name == "metadata" else _plain(node)
        except _Unfit as unfit:
            wrongs.append(Wrong(f"body.{name}", str(unfit)))
    return found


def _plain(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if all(isinstance(key, int) for key in node) or set(node) == {str(place) for place in range(len(node))}:
        return [_plain(node[key]) for key in sorted(node, key=int)]
    if any(isinstance(key, int) for key in node):
        raise _Unfit("is given both as a list and as an object")
    return {key: _plain(value) for key, value in node.items()}


def _labels(text: str, wrongs: list[Wrong]) -> Iterator[tuple[str, Any]]:
    try:
        read = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        yield from read.items()
    else:
        wrongs.append(_NO_LABELS)
