"""Makes a video's poster and preview. Runs in the isolated process."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL.Image import Image, Transpose

from worker.describe.display import Turn, shown_size, turn_of
from worker.describe.probe import is_decodable, opened

TURNS: Final = (Transpose.TRANSPOSE, Transpose.FLIP_LEFT_RIGHT, Transpose.FLIP_TOP_BOTTOM)
"""How Pillow does each part of a `Turn`."""

POSTER_WIDTH: Final = 960
PREVIEW_WIDTH: Final = 320
TALLEST: Final = 4
"""The height limit as a multiple of the width limit; a file's header can make pixels as tall as it likes."""

FRAMES_PER_S: Final = 4
MOST_FRAMES: Final = 40
MOST_PREVIEW_BYTES: Final = 1_000_000
ROUNDING_S: Final = 0.001
QUALITIES: Final = (60, 30, 10)


class Unshowable(Exception):
    """No picture of the video can be made; the message says why."""


def make(path: str, content_type: str, poster: str, preview: str) -> dict[str, Any]:
    """Write a poster and an animated preview, both WebP; return their sizes.

    Raises:
        Unshowable: there is no picture, or it is too large.
    """
    with opened(path, content_type) as container:
        if not container.streams.video:
            raise Unshowable("it has no picture")
        stream = container.streams.video[0]
        if not is_decodable(stream):
            raise Unshowable("its picture is too large")
        stream.codec_context.thread_count = 1
        still, moving = _pictures(container, stream)
    if still is None:
        raise Unshowable("none of its pictures can be decoded")
    still.save(poster, "WEBP", quality=80, method=2)
    Path(preview).write_bytes(_animated(moving))
    return {"poster_bytes": Path(poster).stat().st_size, "preview_bytes": Path(preview).stat().st_size}


def _pictures(container: InputContainer, stream: VideoStream) -> tuple[Image | None, list[Image]]:
    """Return one large picture, from a second into the video if it is that long, and small ones all along it."""
    still, moving = None, []
    for number, frame in enumerate(_sampled(container, stream)):
        if still is None or number == FRAMES_PER_S:
            still = _image(frame, stream, POSTER_WIDTH)
        moving.append(_image(frame, stream, PREVIEW_WIDTH))
    return still, moving


def _sampled(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield `FRAMES_PER_S` frames of each second, up to the preview's length."""
    step = Fraction(1, FRAMES_PER_S)
    number = 0
    for frame in container.decode(stream):
        if (frame.time or 0.0) + ROUNDING_S < number * step:
            continue
        yield frame
        number += 1
        if number == MOST_FRAMES:
            return


def _image(frame: VideoFrame, stream: VideoStream, most_width: int) -> Image:
    """Scale the frame down to at most this width, as a person sees it: upright, with square pixels."""
    turn = turn_of(frame)
    width, height = shown_size(frame.width, frame.height, pixel=stream.sample_aspect_ratio, turn=turn)
    scale = min(1.0, most_width / width, most_width * TALLEST / height)
    width, height = max(1, round(width * scale)), max(2, round(height * scale / 2) * 2)
    coded = (height, width) if turn.transposed else (width, height)
    return _turned(cast("Any", frame.reformat(*coded, format="rgb24")).to_image(), turn)


def _turned(image: Image, turn: Turn) -> Image:
    for wanted, transpose in zip(turn, TURNS, strict=True):
        image = image.transpose(transpose) if wanted else image
    return image


def _animated(images: list[Image]) -> bytes:
    """Encode an endless loop at the video's own speed, in the best quality within the size limit."""
    data = b""
    for quality in QUALITIES:
        out = io.BytesIO()
        images[0].save(
            out,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=1000 // FRAMES_PER_S,
            loop=0,
            quality=quality,
            method=1,
        )
        data = out.getvalue()
        if len(data) < MOST_PREVIEW_BYTES:
            return data
    raise Unshowable("its preview would be too large")
