"""Small videos for these tests: by hand, box by box, and real ones from FFmpeg."""

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
from PIL import Image, ImageOps


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


CORNERS: Final = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 230, 230))
"""The colours of a `cornered` film as a person sees it: top left, top right, bottom left, bottom right."""


def cornered(
    path: Path,
    size: tuple[int, int],
    *,
    degrees: int = 0,
    mirrored: bool = False,
    pixel: Fraction = Fraction(1),
    codec: str = "libx264",
) -> Path:
    """A film of this size as a person sees it, whose frames are squeezed, turned and mirrored before they are coded."""
    shown = Image.new("RGB", size)
    for number, colour in enumerate(CORNERS):
        shown.paste(colour, (number % 2 * size[0] // 2, number // 2 * size[1] // 2, *size))
    coded = (ImageOps.mirror(shown) if mirrored else shown).rotate(-degrees, expand=True)
    narrowed, lowered = max(Fraction(1), pixel), min(Fraction(1), pixel)
    coded = coded.resize((round(coded.width / narrowed), round(coded.height * lowered)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = coded.width, coded.height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel
        stream.set_display_rotation(degrees, hflip=mirrored)
        for _ in range(30):
            container.mux(stream.encode(cast("Any", av.VideoFrame).from_image(coded)))
        container.mux(stream.encode())
    return path


def snowy(path: Path, size: tuple[int, int], *, seconds: int) -> Path:
    """A film of noise, four frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 50_000_000
        for _ in range(4 * seconds):
            snow = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
            container.mux(stream.encode(cast("Any", av.VideoFrame).from_image(snow)))
        container.mux(stream.encode())
    return path
