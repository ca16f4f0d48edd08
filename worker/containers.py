"""Whether a file is a whole video: read from its container's own table, without decoding it."""

import os
import struct
from typing import BinaryIO, Final

_HEADER: Final = struct.Struct(">I4s")
_LARGE: Final = struct.Struct(">Q")
_EBML: Final = b"\x1a\x45\xdf\xa3"
_MOST_BOXES: Final = 100_000


def content_type_of(path: str) -> str | None:
    """video/mp4 or video/webm if the file is one and an mp4 is whole; None for anything else.

    An mp4 is a row of boxes that each say their length (ISO/IEC 14496-12 §4.2): a truncated one ends inside a box.
    """
    with open(path, "rb") as file:
        start = file.read(12)
        if start.startswith(_EBML):
            return "video/webm"
        if start[4:8] != b"ftyp":
            return None
        return "video/mp4" if _boxes_fill(file, os.fstat(file.fileno()).st_size) else None


def _boxes_fill(file: BinaryIO, size: int) -> bool:
    position = 0
    kinds: set[bytes] = set()
    for _ in range(_MOST_BOXES):
        if position == size:
            return {b"moov", b"mdat"} <= kinds
        file.seek(position)
        length, kind, header = _box(file)
        if length == 0:  # runs to the end of the file
            length = size - position
        if length < header or position + length > size:
            return False
        position += length
        kinds.add(kind)
    return False


def _box(file: BinaryIO) -> tuple[int, bytes, int]:
    """Length, kind and header length of the box that begins here; a header that breaks off has no valid length."""
    raw = file.read(_HEADER.size)
    if len(raw) < _HEADER.size:
        return -1, b"", _HEADER.size
    length, kind = _HEADER.unpack(raw)
    if length != 1:
        return length, kind, _HEADER.size
    large = file.read(_LARGE.size)
    if len(large) < _LARGE.size:
        return -1, kind, _HEADER.size
    return _LARGE.unpack(large)[0], kind, _HEADER.size + _LARGE.size
