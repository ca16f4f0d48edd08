"""How a person sees a frame: turned as the file says, and with square pixels. Runs in the isolated process."""

import struct
from fractions import Fraction
from typing import Final, NamedTuple, cast

from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

_MATRIX: Final = struct.Struct("=9i")


class Turn(NamedTuple):
    """What a player does to a frame, in this order."""

    transposed: bool
    """Rows become columns, around the top left corner."""
    mirrored: bool
    """Left becomes right."""
    flipped: bool
    """Top becomes bottom."""


UPRIGHT: Final = Turn(transposed=False, mirrored=False, flipped=False)


def turn_of(frame: VideoFrame) -> Turn:
    """Read a frame's display matrix (x' = ax + cy, y' = bx + dy), to the nearest quarter turn."""
    data = cast("SideData | None", frame.side_data.get("DISPLAYMATRIX"))
    if data is None or data.buffer_size < _MATRIX.size:
        return UPRIGHT
    a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(data))
    if abs(b) > abs(a):
        return Turn(transposed=True, mirrored=c < 0, flipped=b < 0)
    return Turn(transposed=False, mirrored=a < 0, flipped=d < 0)


def shown_size(width: int, height: int, *, pixel: Fraction | None, turn: Turn) -> tuple[int, int]:
    """Return a frame's size as browsers show it: the shorter side of its pixels is stretched, then it is turned.

    `pixel` is a pixel's width divided by its height; None means square. Stretching, never shrinking, is the rule of
    https://html.spec.whatwg.org/multipage/media.html#dom-video-videowidth.
    """
    if pixel is not None and pixel > 1:
        width = round(width * pixel)
    elif pixel is not None and pixel > 0:
        height = round(height / pixel)
    return (height, width) if turn.transposed else (width, height)
