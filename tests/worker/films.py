"""Small videos for these tests: by hand, box by box, and real ones from FFmpeg."""

import struct
from pathlib import Path
from typing import Final

import av


def box(kind: bytes, content: bytes = b"", *, length: int | None = None, large: bool = False) -> bytes:
    """One box of ISO/IEC 14496-12; `length` announces another length than its own."""
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content) if length is None else length) + content
    return struct.pack(">I4s", 8 + len(content) if length is None else length, kind) + content


FTYP: Final = box(b"ftyp", b"isom\0\0\2\0isom")
MOOV: Final = box(b"moov", box(b"mvhd", b"\0" * 100))
MDAT: Final = box(b"mdat", bytes(range(256)) * 8)
MP4: Final = FTYP + MOOV + MDAT


def filmed(path: Path, codec: str, *, options: dict[str, str] | None = None, rate: int = 5) -> bytes:
    """A real video of five grey frames; the path's suffix says in which container."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    return path.read_bytes()
