"""Text in pictures: loads fonts, wraps and fits text."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PLAIN, BOLD, MONO = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf"
MAX_CHARACTERS = 900
LINE_HEIGHT = 1.3


@lru_cache(maxsize=64)
def font(name: str, size: int) -> Font:
    """Load a DejaVu font of the system, or Pillow's own if there is none."""
    try:
        return ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return ImageFont.load_default(size)


def printable(text: str) -> str:
    """Replace characters that no font draws, and cut text that could never fit."""
    shown = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs", "Cn") else sign for sign in text[:MAX_CHARACTERS])
    words = " ".join(shown.split())
    return f"{words} …" if len(text) > MAX_CHARACTERS else words


def fitted(text: str, width: int, height: int, sizes: range) -> tuple[Font, list[str]]:
    """Return the largest font in which the text fits the box, and its lines; at the smallest size, cut the text."""
    for size in sizes:
        face = font(PLAIN, size)
        lines = list(wrapped(text, face, width))
        if len(lines) * size * LINE_HEIGHT <= height:
            return face, lines
    face, size = font(PLAIN, sizes[-1]), sizes[-1]
    room = max(1, int(height / (size * LINE_HEIGHT)))
    lines = list(wrapped(text, face, width))
    return face, [*lines[: room - 1], f"{lines[room - 1][:-1]}…"]


def wrapped(text: str, face: Font, width: int) -> Iterator[str]:
    """Wrap text to this width; a word that is too long is broken."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if face.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *full, line = broken(word, face, width)
        yield from full
    yield line


def broken(word: str, face: Font, width: int) -> Iterator[str]:
    """Break a word into pieces of at most this width."""
    piece = ""
    for sign in word:
        if piece and face.getlength(piece + sign) > width:
            yield piece
            piece = ""
        piece += sign
    yield piece
