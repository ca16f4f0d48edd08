"""Text in pictures: fonts that are there, words that fit."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PLAIN, BOLD, MONO = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf"
MOST_CHARACTERS = 900
LINE_HEIGHT = 1.3


@lru_cache(maxsize=64)
def font(name: str, size: int) -> Font:
    """A DejaVu font of the system, or Pillow's own where there is none."""
    try:
        return ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return ImageFont.load_default(size)


def printable(text: str) -> str:
    """Any text as words that a font can be asked for; what lies past all fitting is cut off."""
    shown = "".join(
        " " if unicodedata.category(sign) in ("Cc", "Cs", "Cn") else sign for sign in text[:MOST_CHARACTERS]
    )
    words = " ".join(shown.split())
    return f"{words} …" if len(text) > MOST_CHARACTERS else words


def fitted(text: str, width: int, height: int, sizes: range) -> tuple[Font, list[str]]:
    """The largest lettering in which the text fits the box; in the smallest, it is cut."""
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
    """Lines that are no wider than that; a word that is too long by itself is broken."""
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
    """A word in pieces that are no wider than that."""
    piece = ""
    for sign in word:
        if piece and face.getlength(piece + sign) > width:
            yield piece
            piece = ""
        piece += sign
    yield piece
