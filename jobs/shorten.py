"""The short form of a request's values: what a request is shown with, never what the upstream is sent or keys compare.

A data URL or base64 from 200 characters on, and a text of more than 2,000, become their beginning, size and checksum:
`data:image/png;base64,… (36,104 bytes, sha256 9f86d08…)`. Both are of the value as it was given, in UTF-8.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

LONGEST_TEXT: Final = 2000
"""Characters of a text that is shown whole; a signed URL or a negative prompt is shorter."""

DEEPEST: Final = 32
"""Levels of nesting that are shown; a deeper value would end in a RecursionError long before JSON refuses it."""

_SHOWN: Final = 24
_DATA_URL: Final = re.compile(r"data:[^\s,]{0,100},", re.IGNORECASE)
_SHORTEST_DATA: Final = 200
"""Characters of a data URL or base64 from which the short form is the shorter one."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\r\n-]+")


def shorten(value: Any, *, depth: int = 0) -> Any:
    """The value as plain JSON of bounded texts; lists and objects keep their shape, down to 32 levels."""
    if isinstance(value, str):
        return _short_text(value)
    if depth > DEEPEST:
        return "… (nested too deeply to be shown)" if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {_short_text(str(name)): shorten(held, depth=depth + 1) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [shorten(held, depth=depth + 1) for held in value]
    return value


def _short_text(text: str) -> str:
    if len(text) < _SHORTEST_DATA:
        return text
    head = _DATA_URL.match(text)
    if not (head or len(text) > LONGEST_TEXT or _BASE64.fullmatch(text)):
        return text
    data = text.encode("utf-8", "surrogatepass")
    return f"{head[0] if head else text[:_SHOWN]}… ({len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()})"
