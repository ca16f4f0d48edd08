"""Pictures that are sent along: known by their own bytes, whatever their name says. The API knows them by the same."""

import base64
import os
from pathlib import Path
from typing import IO, Any, Final

KINDS: Final = "PNG, JPEG, GIF or WebP"
SNIFFED_BYTES: Final = 16
_BEGINNINGS: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}

Picture = str | bytes | bytearray | os.PathLike[str] | IO[bytes]
"""An https URL or data URL; or a picture's bytes, its file, or the open file."""


def kind_of(data: bytes) -> str | None:
    """The picture's media type, by its first bytes; None: it is no picture that the upstream takes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), None)


def as_data_url(data: bytes) -> str:
    """A picture's bytes as the upstream takes them.

    Raises:
        ValueError: they are no picture that it takes.
    """
    kind = kind_of(data)
    if kind is None:
        raise ValueError(f"must be a picture: {KINDS}, by its content")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def url_of(image: Picture) -> str:
    """What an order says of a picture.

    Raises:
        ValueError: its bytes are no picture that the upstream takes.
        TypeError: it is nothing that holds bytes.
        OSError: its file cannot be read.
    """
    return image if isinstance(image, str) else as_data_url(_bytes_of(image))


def _bytes_of(image: Any) -> bytes:
    if isinstance(image, os.PathLike):
        return Path(image).read_bytes()
    data = image.read() if hasattr(image, "read") else image
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError("image must be an https URL, a Path, bytes, or a file that is open for reading bytes")
    return bytes(data)
