"""Makes a video's poster and preview. Runs in the isolated process."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL.Image import Dither, Image, Transpose, new

from worker.describe.display import UPRIGHT, Turn, shown_size, turn_of
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
MOST_GIF_BYTES: Final = 2_000_000
SMALLER_GIFS: Final = ((1, 1), (2, 1), (2, 2))
"""By what sides and frame rate are divided until a GIF is small enough; the last always is."""

PALETTE_FRAMES: Final = 4
ROUNDING_S: Final = 0.001
QUALITIES: Final = (60, 30, 10)


class Unshowable(Exception):
    """No picture of the video can be made; the message says why."""


def make(path: str, content_type: str, poster: str, preview: str, gif: str | None = None) -> dict[str, Any]:
    """Write a poster and an animated preview, both WebP, and the preview as a GIF if wanted; return their sizes.

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
    sizes = {"poster_bytes": Path(poster).stat().st_size, "preview_bytes": Path(preview).stat().st_size}
    if gif is not None:
        sizes["gif_bytes"] = Path(gif).write_bytes(_gif(moving))
    return sizes


def _pictures(container: InputContainer, stream: VideoStream) -> tuple[Image | None, list[Image]]:
    """Return one large picture, from a second into the video if it is that long, and small ones all along it."""
    still, moving, turn = None, [], UPRIGHT
    for number, frame in enumerate(_sampled(container, stream)):
        if number == 0:  # once, because a frame whose side data was read stays in memory until garbage collection
            turn = turn_of(frame)
        if number in (0, FRAMES_PER_S):
            still = _image(frame, stream, turn, POSTER_WIDTH)
        moving.append(_image(frame, stream, turn, PREVIEW_WIDTH))
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


def _image(frame: VideoFrame, stream: VideoStream, turn: Turn, most_width: int) -> Image:
    """Scale the frame down to at most this width, as a person sees it: upright, with square pixels."""
    width, height = shown_size(frame.width, frame.height, pixel=stream.sample_aspect_ratio, turn=turn)
    scale = min(1.0, most_width / width, most_width * TALLEST / height)
    width, height = max(1, round(width * scale)), max(2, round(height * scale / 2) * 2)
    coded = (height, width) if turn.transposed else (width, height)
    scaled = frame.reformat(*coded, format="rgb24", threads=1)  # threads for each frame would use up the memory limit
    return _turned(cast("Any", scaled).to_image(), turn)


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


def _gif(images: list[Image]) -> bytes:
    """Encode an endless loop at the video's own speed, smaller or with fewer frames if it were too large."""
    palette = _palette(images)
    data = b""
    for shrink, step in SMALLER_GIFS:
        frames = [image.reduce(shrink).quantize(palette=palette, dither=Dither.NONE) for image in images[::step]]
        out = io.BytesIO()
        frames[0].save(
            out, "GIF", save_all=True, append_images=frames[1:], duration=1000 * step // FRAMES_PER_S, loop=0
        )
        data = out.getvalue()
        if len(data) < MOST_GIF_BYTES:
            break
    return data


def _palette(images: list[Image]) -> Image:
    """Choose 256 colours for all frames: with one palette, what stands still takes no space."""
    chosen = images[:: max(1, len(images) // PALETTE_FRAMES)]
    strip = new("RGB", (images[0].width, images[0].height * len(chosen)))
    for number, image in enumerate(chosen):
        strip.paste(image, (0, number * images[0].height))
    return strip.quantize()
