"""The videos: real H.264 and AAC, of the requested format, with a readable prompt."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
from PIL import Image, ImageChops

from ops.sandbox.film import write_film
from ops.sandbox.scene import Scene
from tests.sandbox.harness import Sandbox, running, until

BRIGHT = 150


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Run a sandbox that renders each prompt without delay."""
    with running(tmp_path_factory.mktemp("films"), "--latency-median-s=0", "--latency-minimum-s=0") as sandbox:
        yield sandbox


def a_scene(prompt: str = "A dragon", **other: Any) -> Scene:
    """Make a short, small, silent scene."""
    usual: dict[str, Any] = {
        "aspect_ratio": "16:9",
        "resolution": "240p",
        "duration_s": 0.5,
        "with_sound": False,
        "seed": 1,
    }
    return Scene(prompt, "google/veo3", **usual | other)


def frames_of(path: Path) -> list[Image.Image]:
    """Decode every frame of a film."""
    with av.open(str(path)) as reel:
        return [frame.to_image() for frame in reel.decode(video=0)]  # type: ignore[no-untyped-call] # av has no type for it


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"duration": 4}, (1280, 720)),
        ({"duration": 4, "aspect_ratio": "9:16"}, (720, 1280)),
        ({"duration": 4, "resolution": "1080P"}, (1920, 1080)),
        ({"duration": 4, "resolution": "1080P", "aspect_ratio": "9:16"}, (1080, 1920)),
        ({"duration": 8, "generate_audio": False}, (1280, 720)),
        ({"model": "veo2", "duration": 5}, (1280, 720)),
    ],
)
def test_a_video_has_the_requested_format(renderer: Sandbox, fields: dict[str, Any], size: tuple[int, int]) -> None:
    """Codecs, size, length, frame rate and sound are right; the index comes first, so that a browser starts at once."""
    body = renderer.download(renderer.video_url("A dragon over a lake", **fields)).content
    with av.open(BytesIO(body), "r") as reel:
        (video,) = reel.streams.video
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == size
        assert video.average_rate == 24
        assert video.frames == fields["duration"] * 24
        assert reel.duration
        assert abs(reel.duration / av.time_base - fields["duration"]) < 0.1
        sounds = [stream.codec_context.name for stream in reel.streams.audio]
        assert sounds == (["aac"] if fields.get("generate_audio", fields.get("model") != "veo2") else [])
    assert body.index(b"moov") < body.index(b"mdat")


def test_the_picture_moves(tmp_path: Path) -> None:
    """The second frame and the last one differ from the first."""
    write_film(a_scene(duration_s=1.0), tmp_path / "film.mp4")
    frames = frames_of(tmp_path / "film.mp4")
    assert len(frames) == 24
    assert ImageChops.difference(frames[0], frames[1]).getbbox()
    assert ImageChops.difference(frames[0], frames[-1]).getbbox()


def test_the_prompt_can_be_read(tmp_path: Path) -> None:
    """More words make more bright pixels on the caption."""
    picture = {}
    for prompt in ("I", "MMMM WWWW MMMM WWWW"):
        write_film(a_scene(prompt, duration_s=0.1, resolution="480p"), tmp_path / "film.mp4")
        picture[prompt] = frames_of(tmp_path / "film.mp4")[0].convert("L")
    width, height = picture["I"].size
    board = (round(width * 0.06), round(height * 0.10), round(width * 0.6), round(height * 0.50))
    ink = {prompt: sum(one.crop(board).histogram()[BRIGHT:]) for prompt, one in picture.items()}
    assert 0 < ink["I"] < ink["MMMM WWWW MMMM WWWW"]


def test_the_sound_is_audible(tmp_path: Path) -> None:
    """It is soft, not silent, and faded in."""
    write_film(a_scene(duration_s=2.0, with_sound=True), tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as reel:
        loudness = [
            max(abs(sample) for sample in memoryview(frame.planes[0]).cast("f")) for frame in reel.decode(audio=0)
        ]
    assert 0.05 < max(loudness) < 0.9
    assert loudness[0] < max(loudness) / 4


def test_the_same_scene_makes_the_same_bytes(tmp_path: Path) -> None:
    """An evicted clip is rendered again identically; another seed gives another clip."""
    films = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_film(a_scene(seed=seed, with_sound=True), tmp_path / name)
        films.append((tmp_path / name).read_bytes())
    assert films[0] == films[1] != films[2]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "\n\t\0\x07",
        "x" * 20_000,
        "word " * 5000,
        "龍が山の上に現れる 🐉🔥",
        "مرحبا بالعالم שלום",
        "e\u0301" * 300,
        "\ud83d lone \udc09 surrogates",
        "\U0010ffff\u202e\ufeff\u2028",
        "<b>&amp;%s{}\\n",
        "50%: it's \"quoted\", [a];b=c:d' %{pts}",
    ],
)
def test_any_text_can_be_drawn(tmp_path: Path, prompt: str) -> None:
    """Any length and any script is drawn."""
    write_film(a_scene(prompt, duration_s=0.05), tmp_path / "film.mp4")
    assert frames_of(tmp_path / "film.mp4")


def test_odd_shapes_can_be_drawn(tmp_path: Path) -> None:
    """Other vendors have other ratios and resolutions."""
    for aspect_ratio, resolution in (("1:1", "480p"), ("21:9", "360P"), ("3:4", "4K"), ("?", "?"), ("0:1", "99999")):
        write_film(a_scene(aspect_ratio=aspect_ratio, resolution=resolution, duration_s=0.05), tmp_path / "film.mp4")
        assert frames_of(tmp_path / "film.mp4")


def test_a_lone_surrogate_gets_through_the_whole_sandbox(renderer: Sandbox) -> None:
    """JSON can hold a lone surrogate, which no encoding can."""
    prompt = "\ud83d lone"
    url = renderer.video_url(prompt, duration=4, generate_audio=False)
    assert renderer.download(url).status_code == 200
    assert renderer.submit(prompt, resolution="\ud83d").status_code == 400


def test_rendering_does_not_delay_polls(renderer: Sandbox) -> None:
    """Polls are answered at once while other processes render."""
    urls = [renderer.video_url(f"Crowd {n}", duration=4) for n in range(3)]
    watched = renderer.bought("[sandbox: stuck]")
    with ThreadPoolExecutor(len(urls)) as clients:
        downloads = [clients.submit(renderer.download, url) for url in urls]
        waits = []
        while not all(download.done() for download in downloads):
            begun = time.perf_counter()
            renderer.poll(watched)
            waits.append(time.perf_counter() - begun)
    assert all(download.result().status_code == 200 for download in downloads)
    assert sorted(waits)[len(waits) // 2] < 0.05


def test_a_dead_render_process_is_replaced(renderer: Sandbox) -> None:
    """At most one clip is lost, and the next download renders it again."""
    renderer.download(renderer.video_url("Before", duration=4))
    for child in psutil.Process(renderer.process.pid).children():
        child.kill()
    url = renderer.video_url("After", duration=4)
    until(lambda: True if renderer.download(url).ok else None)


def test_a_second_poll_knows_the_size(renderer: Sandbox) -> None:
    """The size is in the reply once the clip is rendered; before, it is left out, as the service does at times."""
    generation_id = renderer.bought("Sizes", duration=4)
    url = renderer.finished(generation_id)["video"]["url"]
    body = renderer.download(url).content
    assert renderer.finished(generation_id)["video"]["file_size"] == len(body)


def test_the_cache_stays_within_bounds(tmp_path: Path) -> None:
    """The oldest clips are evicted, and rendered again on demand."""
    options = ("--latency-median-s=0", "--latency-minimum-s=0", "--clip-cache-bytes=100000", f"--state-dir={tmp_path}")
    with running(tmp_path, *options) as sandbox:
        small = {"model": "other/vendor", "duration": 1, "resolution": "360p"}
        urls = [sandbox.video_url(f"Clip {n}", **small) for n in range(6)]
        first = [len(sandbox.download(url).content) for url in urls]
        assert sum(first) > 100_000
        assert sum(path.stat().st_size for path in (tmp_path / "clips").glob("*.mp4")) <= 100_000
        assert len(sandbox.download(urls[0]).content) == first[0]


def test_shared_clips_are_tiny_and_of_the_right_ratio(sandbox: Sandbox) -> None:
    """Benchmarks use them: each shape is rendered once."""
    bodies = [sandbox.download(sandbox.video_url(f"Prompt {n}", aspect_ratio="9:16")).content for n in range(2)]
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) < 200_000
    with av.open(BytesIO(bodies[0]), "r") as reel:
        assert (reel.streams.video[0].width, reel.streams.video[0].height) == (180, 320)
        assert abs((reel.duration or 0) / av.time_base - 8) < 0.1
