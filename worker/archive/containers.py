"""Checks that a file is a whole video, from its container's own table, without decoding it."""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

_HEADER: Final = struct.Struct(">I4s")
_LARGE: Final = struct.Struct(">Q")
_MOST_BOXES: Final = 100_000
_NEEDED: Final = frozenset({b"moov", b"mdat"})
_MEDIA: Final = _NEEDED | {b"moof"}
_COPYRIGHT: Final = 0xA9
"""Old QuickTime box types begin with this byte."""

_TS_PACKET: Final = 188
_STARTS: Final[Mapping[bytes, str]] = {
    b"\x1a\x45\xdf\xa3": "video/webm",
    b"OggS": "video/ogg",
    b"FLV\x01": "video/x-flv",
    b"\0\0\1\xba": "video/mpeg",
}


@dataclass(frozen=True, slots=True)
class Container:
    """A playable file's container. `shows_its_end`: the same file cut short would have been refused."""

    content_type: str
    shows_its_end: bool = False
    tail_bytes: int = 0


def container_of(path: str) -> Container | None:
    """Return the container of a playable file; None for anything else, truncated MP4 included."""
    with open(path, "rb") as file:
        start = file.read(2 * _TS_PACKET + 1)
        other = _other_type(start)
        if other is not None:
            return Container(other)
        return _mp4(file, os.fstat(file.fileno()).st_size)


def _other_type(start: bytes) -> str | None:
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "video/x-msvideo"
    if start[::_TS_PACKET] == b"GGG":
        return "video/mp2t"
    return _STARTS.get(start[:4])


def _mp4(file: BinaryIO, size: int) -> Container | None:
    """Walk the boxes of an MP4 or QuickTime file; each states its length (ISO/IEC 14496-12 §4.2).

    A media box that ends behind the file's end means truncation; anything else after a whole film is its tail.
    """
    position = 0
    kinds: set[bytes] = set()
    for _ in range(_MOST_BOXES):
        if position == size:
            break
        file.seek(position)
        length, kind, header = _box(file)
        if length == 0:  # runs to the end of the file
            length = size - position
        if length < header or position + length > size or not _is_kind(kind):
            if kind in _MEDIA:
                return None
            break
        position += length
        kinds.add(kind)
    if not kinds >= _NEEDED:
        return None
    return Container("video/mp4", shows_its_end=b"moof" not in kinds, tail_bytes=size - position)


def _is_kind(kind: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte == _COPYRIGHT for byte in kind)  # noqa: PLR2004 (printable ASCII)


def _box(file: BinaryIO) -> tuple[int, bytes, int]:
    """Read the length, type and header length of the next box; a header that breaks off has no valid length."""
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
