"""Encodes a scene as an mp4 of H.264 and AAC that any browser plays."""

from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from ops.sandbox import sound
from ops.sandbox.picture import FRAMES_PER_S, Picture
from ops.sandbox.scene import Scene

# One thread: the process pool is the parallelism, and one thread's output is deterministic. A constant quantiser lets
# x264 skip the analysis for rate control, a quarter of its time.
X264 = {"preset": "ultrafast", "qp": "25", "threads": "1", "g": "96"}
BT709 = 1
STUDIO_RANGE = 1
AUDIO_BITS_PER_S = 48_000


def write_film(scene: Scene, path: Path) -> None:
    """Write the scene's mp4; the same scene gives the same bytes."""
    picture = Picture(scene)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = video_stream(container, scene)
        audio = audio_stream(container) if scene.with_sound else None
        encode_frames(container, video, picture)
        if audio:
            encode_sound(container, audio, scene)


def video_stream(container: OutputContainer, scene: Scene) -> VideoStream:
    """Add an H.264 stream of the scene's size."""
    stream = container.add_stream("libx264", rate=FRAMES_PER_S, options=X264)
    stream.width, stream.height = scene.frame_size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.color_range = STUDIO_RANGE
    stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = BT709
    return stream


def audio_stream(container: OutputContainer) -> AudioStream:
    """Add a mono AAC stream."""
    stream = container.add_stream("aac", rate=sound.SAMPLES_PER_S, layout="mono")
    stream.bit_rate = AUDIO_BITS_PER_S
    return stream


def encode_frames(container: OutputContainer, stream: VideoStream, picture: Picture) -> None:
    """Encode every frame."""
    for number in range(picture.frames):
        container.mux(stream.encode(picture.frame(number)))
    container.mux(stream.encode(None))


def encode_sound(container: OutputContainer, stream: AudioStream, scene: Scene) -> None:
    """Encode the sound."""
    written = 0
    for samples in sound.frames(scene.key, scene.duration_s):
        frame = av.AudioFrame("fltp", "mono", len(samples))
        frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = sound.SAMPLES_PER_S
        frame.pts, frame.time_base = written, Fraction(1, sound.SAMPLES_PER_S)
        written += len(samples)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
