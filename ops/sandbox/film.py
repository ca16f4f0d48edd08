"""The film: a scene as an mp4 of H.264 and AAC that any browser plays."""

from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from ops.sandbox import sound
from ops.sandbox.picture import FRAMES_PER_S, Picture
from ops.sandbox.scene import Scene

# One thread, because the pool of processes is the parallelism and one thread's bytes are always the same. A constant
# quantiser, because x264 then skips the analysis that only rate control needs: a quarter of its time.
X264 = {"preset": "ultrafast", "qp": "25", "threads": "1", "g": "96"}
BT709 = 1
STUDIO_RANGE = 1
AUDIO_BITS_PER_S = 48_000


def shoot(scene: Scene, path: Path) -> None:
    """Write the scene's film to that path; the same scene, the same bytes."""
    picture = Picture(scene)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as reel:
        video = video_stream(reel, scene)
        audio = audio_stream(reel) if scene.sounding else None
        expose(reel, video, picture)
        if audio:
            record(reel, audio, scene)


def video_stream(reel: OutputContainer, scene: Scene) -> VideoStream:
    """An H.264 stream of the scene's size."""
    stream = reel.add_stream("libx264", rate=FRAMES_PER_S, options=X264)
    stream.width, stream.height = scene.frame_size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.color_range = STUDIO_RANGE
    stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = BT709
    return stream


def audio_stream(reel: OutputContainer) -> AudioStream:
    """One channel of AAC."""
    stream = reel.add_stream("aac", rate=sound.SAMPLES_PER_S, layout="mono")
    stream.bit_rate = AUDIO_BITS_PER_S
    return stream


def expose(reel: OutputContainer, stream: VideoStream, picture: Picture) -> None:
    """Encode every frame."""
    for number in range(picture.frames):
        reel.mux(stream.encode(picture.frame(number)))
    reel.mux(stream.encode(None))


def record(reel: OutputContainer, stream: AudioStream, scene: Scene) -> None:
    """Encode the sound."""
    heard = 0
    for samples in sound.frames(scene.key, scene.duration_s):
        frame = av.AudioFrame("fltp", "mono", len(samples))
        frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = sound.SAMPLES_PER_S
        frame.pts, frame.time_base = heard, Fraction(1, sound.SAMPLES_PER_S)
        heard += len(samples)
        reel.mux(stream.encode(frame))
    reel.mux(stream.encode(None))
