"""Escapes control characters, so that a prompt or an upstream's message cannot steer the reader's terminal."""

import re
from typing import Final

_STEERING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, escape sequences among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks and overrides: they make text read as another
    "\u2028\u2029"  # line breaks by other names
    "\ud800-\udfff]"  # halves of characters, which no terminal can be sent
)
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: object, *, lines: bool = False) -> str:
    """Escape everything that steers a terminal; `lines` keeps line breaks."""
    return _STEERING.sub(lambda found: _escaped(found[0], lines=lines), str(text))


def json_safe(encoded: str) -> str:
    """Escape the control characters that JSON itself leaves raw: those from 0x7f."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)


def _escaped(character: str, *, lines: bool) -> str:
    if lines and character == "\n":
        return character
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 (a byte)
