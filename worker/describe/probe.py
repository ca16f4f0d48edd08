"""Reads a video's facts: from its container, its first frame and its sound. Runs in the isolated process."""

import contextlib
import math
from collections import deque
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from av.video.stream import VideoStream

from worker.describe.display import UPRIGHT, Turn, shown_size, turn_of

FORMATS: Final = {
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/ogg": "ogg",
    "video/mp2t": "mpegts",
    "video/mpeg": "mpeg",
    "video/x-flv": "flv",
    "video/x-msvideo": "avi",
}
MOST_PIXELS: Final = 7680 * 4320
LONGEST_LISTEN_S: Final = 60.0
SILENCE_LUFS: Final = -70.0
"""The gate of EBU R 128: anything below counts as silence."""
PUSHED_AT_ONCE: Final = 64
"""Asking the meter after each frame would take longer than measuring."""

_INTEGRATED: Final = "lavfi.r128.I"


def opened(path: str, content_type: str) -> InputContainer:
    """Open a local file as this one format: no playlist is followed, no protocol but files."""
    return av.open(path, format=FORMATS[content_type], options={"protocol_whitelist": "file"})


def probe(path: str, content_type: str) -> dict[str, Any]:
    """Return a video's facts as plain JSON, without those that it lacks."""
    with opened(path, content_type) as container:
        found: dict[str, Any] = {"duration_s": _duration_s(container)}
        if container.streams.video:
            found |= _picture(container.streams.video[0], _turn(path, content_type))
        if container.streams.audio:
            sound = container.streams.audio[0]
            found |= {
                "audio_codec": sound.codec_context.codec.canonical_name,
                "loudness_lufs": _loudness(container, sound),
            }
        return {name: value for name, value in found.items() if value is not None}


def _duration_s(container: InputContainer) -> float | None:
    if container.duration is None:
        return None
    return round(container.duration / av.time_base, 3)


def _turn(path: str, content_type: str) -> Turn:
    """Read how the picture is turned: only a decoded frame tells, so one is decoded, in a container of its own."""
    with contextlib.suppress(av.FFmpegError), opened(path, content_type) as container:
        stream = container.streams.video[0]
        if is_decodable(stream):
            stream.codec_context.thread_count = 1
            packet = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
            frames = [*stream.decode(packet), *stream.decode(None)]
            return turn_of(frames[0]) if frames else UPRIGHT
    return UPRIGHT


def is_decodable(stream: VideoStream) -> bool:
    """Whether a stream's frames are small enough to be decoded."""
    return stream.codec_context.width * stream.codec_context.height <= MOST_PIXELS


def _picture(stream: VideoStream, turn: Turn) -> dict[str, Any]:
    context = stream.codec_context
    rate = stream.average_rate
    width, height = shown_size(context.width, context.height, pixel=stream.sample_aspect_ratio, turn=turn)
    return {
        "width": width,
        "height": height,
        "frame_rate": round(float(rate), 3) if rate else None,
        "video_codec": context.codec.canonical_name,
    }


def _loudness(container: InputContainer, stream: AudioStream) -> float | None:
    """Measure the integrated loudness of the first minute by EBU R 128."""
    graph = Graph()
    source = graph.add_abuffer(template=stream)
    meter = graph.add("ebur128", "metadata=1:framelog=quiet")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    loudness = None
    for number, frame in enumerate(container.decode(stream), start=1):
        if frame.time is not None and frame.time > LONGEST_LISTEN_S:
            break
        source.push(frame)
        if number % PUSHED_AT_ONCE == 0:
            loudness = _pulled(sink, loudness)
    source.push(None)
    loudness = _pulled(sink, loudness)
    if loudness is None:
        return None
    return max(round(loudness, 1), SILENCE_LUFS) if math.isfinite(loudness) else SILENCE_LUFS


def _pulled(sink: Any, loudness: float | None) -> float | None:
    """Return the latest figure that the meter has written on a frame."""
    frames: deque[Any] = deque(maxlen=2)  # the last one of a sound has no figure
    with contextlib.suppress(av.BlockingIOError, av.EOFError):
        while True:
            frames.append(sink.pull())
    figures = [frame.metadata[_INTEGRATED] for frame in frames if _INTEGRATED in frame.metadata]
    return float(figures[-1]) if figures else loudness
