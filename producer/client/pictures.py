"""Recognises pictures by their first bytes, not by their names. The API uses the same rules."""

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
    """Find a picture's media type from its first bytes; None: the upstream takes no such picture."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), None)


def as_data_url(data: bytes) -> str:
    """Encode a picture's bytes as a data URL.

    Raises:
        ValueError: the upstream takes no such picture.
    """
    kind = kind_of(data)
    if kind is None:
        raise ValueError(f"must be a picture: {KINDS}, by its content")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def url_of(image: Picture) -> str:
    """Return a picture's URL for a request's body: the given one, or a data URL of its bytes.

    Raises:
        ValueError: the upstream takes no such picture.
        TypeError: `image` holds no bytes.
        OSError: the file cannot be read.
    """
    return image if isinstance(image, str) else as_data_url(_bytes_of(image))


def _bytes_of(image: Any) -> bytes:
    if isinstance(image, os.PathLike):
        return Path(image).read_bytes()
    data = image.read() if hasattr(image, "read") else image
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError("image must be an https URL, a Path, bytes, or a file that is open for reading bytes")
    return bytes(data)
