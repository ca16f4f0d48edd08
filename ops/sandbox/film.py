"""Writes a scene as an mp4 of H.264 and AAC: FFmpeg's own gradients and tones, and a caption with the prompt."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.video.frame import PictureType, VideoFrame

from ops.sandbox.caption import caption
from ops.sandbox.scene import Scene, even

AnyFrame = TypeVar("AnyFrame", VideoFrame, AudioFrame)

FRAMES_PER_S = 24
SAMPLES_PER_S = 24_000  # half the encoding time of 48 kHz
FADE_S = 0.6
GRAIN = 16  # gradients are drawn this many times smaller, which is as many times cheaper

# One thread: the process pool is the parallelism, and one thread's output is deterministic. A constant quantiser lets
# x264 skip the analysis for rate control, a quarter of its time.
X264 = {"preset": "ultrafast", "qp": "25", "threads": "1", "g": "96"}


def write_film(scene: Scene, path: Path) -> None:
    """Write the scene's mp4; the same scene gives the same bytes."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_S, options=X264)
        video.width, video.height = scene.frame_size
        audio = container.add_stream("aac", rate=SAMPLES_PER_S, layout="mono") if scene.with_sound else None
        for frame in pulled(picture(scene), VideoFrame):
            frame.pict_type = PictureType.NONE  # the encoder chooses, or each frame would be a key frame
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            for samples in pulled(sound(scene), AudioFrame):
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))


def picture(scene: Scene) -> Graph:
    """Build the graph of the frames: a moving gradient in the scene's own colours, under the caption."""
    width, height = scene.frame_size
    left, top = even(width * 0.06), even(height * 0.08)
    board = VideoFrame.from_image(caption(scene, (width - 2 * left, even(height * 0.6))))  # type: ignore[no-untyped-call] # av has no type for it
    size = f"s={even(width / GRAIN)}x{even(height / GRAIN)}:r={FRAMES_PER_S}"
    look = f"n=3:c0=0x{scene.key[:6]}:c1=0x{scene.key[6:12]}:c2=0x{scene.key[12:18]}:seed={scene.chance}:speed=0.03"
    graph = Graph()
    graph.threads = 1
    shown = graph.add_buffer(
        width=board.width, height=board.height, format=board.format, time_base=Fraction(1, FRAMES_PER_S)
    )
    laid = graph.add("overlay", f"x={left}:y={top}")
    graph.link_nodes(
        graph.add("gradients", f"{size}:{look}"),
        graph.add("scale", f"{width}:{height}:flags=fast_bilinear"),
        laid,
        graph.add("trim", f"end_frame={max(1, round(scene.duration_s * FRAMES_PER_S))}"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    )
    shown.link_to(laid, 0, 1)
    graph.configure()
    shown.push(board)
    shown.push(None)  # overlay repeats the last frame
    return graph


def sound(scene: Scene) -> Graph:
    """Build the graph of the samples: a soft tone, faded in and out."""
    pitch_hz = 110 + scene.chance % 330
    graph = Graph()
    graph.link_nodes(
        graph.add("sine", f"f={pitch_hz}:beep_factor=2:r={SAMPLES_PER_S}:d={scene.duration_s}"),
        graph.add("afade", f"in:d={FADE_S}"),
        graph.add("afade", f"out:d={FADE_S}:st={max(0.0, scene.duration_s - FADE_S)}"),
        graph.add("aformat", "fltp"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def pulled(graph: Graph, kind: type[AnyFrame]) -> Iterator[AnyFrame]:
    """Yield a graph's frames until it ends."""
    with suppress(av.EOFError):
        while isinstance(frame := graph.pull(), kind):
            yield frame
