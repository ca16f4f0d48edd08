"""Probing videos: true ones are described, hostile ones can hurt a small process and nothing else."""

import array
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import psutil
import pytest
from PIL import Image

from tests.stage import eventually
from tests.worker.films import CORNERS, MP4, cornered, filmed, snowy
from worker.describe.isolated import Found, IsolatedProcess, Trouble

MEMORY_BYTES: Final = 536_870_912
SECRET: Final = "hunter2"


@pytest.fixture
def isolated() -> Iterator[IsolatedProcess]:
    """A bounded process with the usual limits."""
    opened = IsolatedProcess(memory_bytes=MEMORY_BYTES, timeout_s=60)
    yield opened
    opened.close()


def a_film(
    path: Path,
    *,
    size: tuple[int, int] = (320, 180),
    seconds: float = 2,
    sound: bool = True,
    codec: str = "libx264",
    pixel: Fraction | None = None,
) -> Path:
    """A film whose picture moves, with a tone or without."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=24)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        if pixel is not None:
            video.codec_context.sample_aspect_ratio = pixel
        audio = container.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for number in range(int(seconds * 24)):
            frame = av.VideoFrame(*size, "yuv420p")
            for plane in frame.planes:
                plane.update(_stripes(number, plane.buffer_size))
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if isinstance(audio, av.AudioStream):
            _sing(container, audio, seconds)
    return path


def _stripes(number: int, size: int) -> bytes:
    pattern = bytes((number * 7 + column) % 256 for column in range(256))
    return (pattern * (size // 256 + 1))[:size]


def _sing(container: av.container.OutputContainer, stream: "av.AudioStream", seconds: float) -> None:
    """A square wave, which needs no arithmetic."""
    wave = array.array("f", [0.2 if n // 54 % 2 else -0.2 for n in range(1024)]).tobytes()
    for block in range(int(seconds * 48_000 / 1024)):
        frame = av.AudioFrame("fltp", "mono", 1024)
        frame.planes[0].update(wave.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = 48_000, block * 1024, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def make(isolated: IsolatedProcess, film: Path, content_type: str = "video/mp4") -> Found | Trouble:
    """Have poster and preview made beside the film."""
    targets = [str(film.with_suffix(suffix)) for suffix in (".poster", ".preview", ".gif")]
    return isolated.ask("make", [str(film), content_type, *targets])


def test_a_films_facts_are_found(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Duration, size, rate, codecs, loudness: what a request can be compared with."""
    answer = isolated.ask("probe", [str(a_film(tmp_path / "film.mp4")), "video/mp4"])

    assert isinstance(answer, Found)
    facts = answer.facts
    assert (facts["width"], facts["height"], facts["frame_rate"]) == (320, 180, 24.0)
    assert (facts["video_codec"], facts["audio_codec"]) == ("h264", "aac")
    assert facts["duration_s"] == pytest.approx(2, abs=0.1)
    assert -30 < facts["loudness_lufs"] < -5


def test_a_worker_with_a_thousand_files_open_asks_as_well(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """select(2) knows no file beyond the thousandth."""
    film = a_film(tmp_path / "film.mp4")
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(film.open("rb"))
        assert isinstance(isolated.ask("probe", [str(film), "video/mp4"]), Found)


def test_a_silent_film_and_a_webm_are_described(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """No sound is no codec of it; the other container that we keep is read as well."""
    silent = isolated.ask("probe", [str(a_film(tmp_path / "film.mp4", sound=False)), "video/mp4"])
    assert isinstance(silent, Found)
    assert "audio_codec" not in silent.facts

    filmed(tmp_path / "film.webm", "libvpx")
    webm = isolated.ask("probe", [str(tmp_path / "film.webm"), "video/webm"])
    assert isinstance(webm, Found)
    assert (webm.facts["video_codec"], webm.facts["width"]) == ("vp8", 64)


def test_a_still_and_a_moving_picture_are_made(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Both WebP, small, in the film's own shape and pace."""
    film = a_film(tmp_path / "film.mp4", size=(1280, 720), seconds=3)

    assert isinstance(make(isolated, film), Found)

    with Image.open(film.with_suffix(".poster")) as poster:
        assert (poster.format, poster.size) == ("WEBP", (960, 540))
    with Image.open(film.with_suffix(".preview")) as preview:
        assert (preview.format, preview.size) == ("WEBP", (320, 180))
        assert getattr(preview, "n_frames", 1) == 12
        assert preview.info["loop"] == 0
    assert film.with_suffix(".preview").stat().st_size < 1_000_000


def test_a_gif_moves_as_the_preview_does(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Same size, same pace, endless; ten seconds of a longer film."""
    film = a_film(tmp_path / "film.mp4", size=(640, 360), seconds=11, sound=False)
    assert isinstance(make(isolated, film), Found)
    with Image.open(film.with_suffix(".gif")) as gif:
        assert (gif.format, gif.size, gif.info["loop"]) == ("GIF", (320, 180), 0)
        assert (getattr(gif, "n_frames", 1), gif.info["duration"]) == (40, 250)


def test_a_gif_of_the_worst_pictures_is_small_enough(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Noise can't be compressed: the GIF gets smaller until its bytes are bounded."""
    film = snowy(tmp_path / "film.mp4", (640, 360), seconds=10)
    assert isinstance(make(isolated, film), Found)
    gif = film.with_suffix(".gif")
    assert gif.stat().st_size < 2_000_000
    with Image.open(gif) as picture:
        assert picture.width < 320


def test_an_upright_film_stays_upright(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Half of the requests are for 9:16."""
    film = a_film(tmp_path / "film.mp4", size=(180, 320), seconds=1)
    assert isinstance(make(isolated, film), Found)
    with Image.open(film.with_suffix(".preview")) as preview:
        assert preview.size == (180, 320)


WIDE: Final = (640, 360)
TALL: Final = (360, 640)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_film_is_described_as_a_person_sees_it(
    isolated: IsolatedProcess, tmp_path: Path, degrees: int, mirrored: bool
) -> None:
    """A player turns it by its display matrix: so do size, poster and preview, in all eight ways."""
    seen_as(isolated, cornered(tmp_path / "film.mp4", TALL, degrees=degrees, mirrored=mirrored), TALL)


@pytest.mark.parametrize("pixel", [Fraction(4, 3), Fraction(3, 4)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_film_of_oblong_pixels_is_described_as_a_person_sees_it(
    isolated: IsolatedProcess, tmp_path: Path, pixel: Fraction, degrees: int
) -> None:
    """The shorter side of a pixel is stretched, as browsers do: the picture never gets smaller."""
    seen_as(isolated, cornered(tmp_path / "film.mp4", WIDE, degrees=degrees, pixel=pixel), WIDE)


def test_a_turned_webm_is_described_as_a_person_sees_it(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """It has a place of its own for the turn."""
    seen_as(isolated, cornered(tmp_path / "film.webm", TALL, degrees=90, codec="libvpx"), TALL, "video/webm")


def seen_as(isolated: IsolatedProcess, film: Path, size: tuple[int, int], content_type: str = "video/mp4") -> None:
    """Check that facts, poster and preview have this size, and each colour in its corner."""
    facts = isolated.ask("probe", [str(film), content_type])
    assert isinstance(facts, Found)
    assert (facts.facts["width"], facts.facts["height"]) == size
    assert isinstance(make(isolated, film, content_type), Found)
    for suffix, width in ((".poster", size[0]), (".preview", min(size[0], 320)), (".gif", min(size[0], 320))):
        with Image.open(film.with_suffix(suffix)) as picture:
            assert picture.width == width
            assert picture.height == pytest.approx(width * size[1] / size[0], abs=1)
            seen = picture.convert("RGB").resize((4, 4))
            corners = [seen.getpixel(corner) for corner in ((0, 0), (3, 0), (0, 3), (3, 3))]
        for corner, colour in zip(corners, CORNERS, strict=True):
            assert corner == pytest.approx(colour, abs=40)


@pytest.mark.parametrize("pixel", [Fraction(100), Fraction(1, 100)])
def test_pixels_of_an_absurd_shape_make_no_endless_picture(
    isolated: IsolatedProcess, tmp_path: Path, pixel: Fraction
) -> None:
    """A few bytes of a header may say that a pixel is as tall as a street."""
    film = a_film(tmp_path / "film.mp4", seconds=0.5, sound=False, pixel=pixel)
    assert isinstance(make(isolated, film), Found)
    with Image.open(film.with_suffix(".preview")) as preview:
        assert max(preview.size) <= 1280


def garbage(path: Path) -> None:
    """Not a video at all."""
    path.write_bytes(b"not a video " * 1000)


def boxes_without_a_film(path: Path) -> None:
    """What passes for a whole mp4 by its boxes."""
    path.write_bytes(MP4)


def cut(path: Path) -> None:
    """A film without its table."""
    a_film(path)
    path.write_bytes(path.read_bytes()[:-2000])


def a_playlist(path: Path) -> None:
    """FFmpeg would follow it to other files and hosts."""
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


def noise_within(path: Path) -> None:
    """A true table of contents over bytes that no encoder wrote."""
    a_film(path)
    whole = path.read_bytes()
    start = whole.index(b"mdat") + 8
    path.write_bytes(whole[:start] + os.urandom(len(whole[start:-3000])) + whole[-3000:])


HOSTILE: Final = [garbage, boxes_without_a_film, cut, a_playlist, noise_within]


@pytest.mark.parametrize("spoil", HOSTILE)
def test_bytes_that_are_no_film_are_trouble_and_nothing_worse(
    isolated: IsolatedProcess, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """The next video is looked into as if nothing had been."""
    spoil(tmp_path / "bad.mp4")
    isolated.ask("probe", [str(tmp_path / "bad.mp4"), "video/mp4"])
    assert isinstance(make(isolated, tmp_path / "bad.mp4"), Trouble)

    assert isinstance(isolated.ask("probe", [str(a_film(tmp_path / "good.mp4")), "video/mp4"]), Found)


def test_a_picture_of_too_many_pixels_is_not_decoded(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """A few kilobytes may unfold into gigabytes."""
    film = a_film(tmp_path / "bomb.mp4", size=(8000, 8000), seconds=1 / 24, sound=False, codec="mpeg4")
    answer = make(isolated, film)
    assert isinstance(answer, Trouble)
    assert "too large" in answer.message


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The limit is so low that nothing fits: the process fails, the worker gets the trouble."""
    tight = IsolatedProcess(memory_bytes=100_000_000, timeout_s=60)
    try:
        assert isinstance(make(tight, a_film(tmp_path / "film.mp4")), Trouble)
    finally:
        tight.close()


def test_a_file_that_never_answers_ends_with_the_time(tmp_path: Path) -> None:
    """Whatever a decoder hangs in, the worker's thread comes back and the process is gone."""
    os.mkfifo(tmp_path / "endless.mp4")
    hasty = IsolatedProcess(memory_bytes=MEMORY_BYTES, timeout_s=1)
    try:
        answer = hasty.ask("probe", [str(tmp_path / "endless.mp4"), "video/mp4"])
        assert answer == Trouble("it took longer than 1 s")
        eventually(lambda: not processes(), what="the end of the process")
    finally:
        hasty.close()


def processes() -> list[psutil.Process]:
    """The bounded processes of this test process."""
    return [child for child in psutil.Process().children() if "worker.describe" in child.cmdline()]


def test_what_it_may_use_is_bounded_by_the_kernel(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """Limits of its own making, set before it opens anything; each request gets processor time anew."""
    film = a_film(tmp_path / "film.mp4")
    isolated.ask("probe", [str(film), "video/mp4"])
    (process,) = processes()
    limits = Path(f"/proc/{process.pid}/limits").read_text()

    def soft(name: str) -> int:
        return int(re.findall(rf"{name} +(\d+)", limits)[0])

    assert soft("Max address space") == MEMORY_BYTES
    assert 60 <= soft("Max cpu time") <= 70
    assert soft("Max file size") == 16_000_000
    assert soft("Max open files") == 64
    assert soft("Max core file size") == 0


def test_it_holds_no_secret(isolated: IsolatedProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker who takes it over by a hostile file finds no key in its environment."""
    monkeypatch.setenv("RUSHES_UPSTREAM__API_KEY", SECRET)
    isolated.ask("probe", [str(a_film(tmp_path / "film.mp4")), "video/mp4"])
    (process,) = processes()
    assert SECRET not in str(process.environ())


def test_one_that_died_is_started_again(isolated: IsolatedProcess, tmp_path: Path) -> None:
    """It may die by its limits, by the out-of-memory killer or by idleness."""
    film = [str(a_film(tmp_path / "film.mp4")), "video/mp4"]
    assert isinstance(isolated.ask("probe", film), Found)
    for process in processes():
        process.kill()
        process.wait()
    assert isinstance(isolated.ask("probe", film), Found)


def test_it_ends_with_the_worker(tmp_path: Path) -> None:
    """A worker that is killed leaves no process behind: nobody asks it any more."""
    isolated = IsolatedProcess(memory_bytes=MEMORY_BYTES, timeout_s=60)
    isolated.ask("probe", [str(a_film(tmp_path / "film.mp4")), "video/mp4"])
    (process,) = processes()
    held = isolated._process
    assert held is not None
    assert held.stdin is not None
    held.stdin.close()  # as the kernel does for the dead
    process.wait(timeout=30)
    isolated.close()
