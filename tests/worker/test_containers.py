"""Whole videos and everything that only looks like one."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.films import FTYP, MDAT, MOOV, MP4, box, filmed
from worker.archive.containers import Container, container_of


def detected(folder: Path, content: bytes) -> Container | None:
    """The container that a file with this content is found to be."""
    path = folder / "file"
    path.write_bytes(content)
    return container_of(str(path))


def kind_of(folder: Path, content: bytes) -> str | None:
    """The file's content type."""
    found = detected(folder, content)
    return found.content_type if found else None


@pytest.mark.parametrize(
    ("options", "codec"),
    [({}, "mpeg4"), ({"movflags": "faststart"}, "mpeg4"), ({"movflags": "frag_keyframe+empty_moov"}, "mpeg4")],
    ids=["table at the end", "table first", "fragmented"],
)
def test_a_real_mp4_is_whole_however_it_is_laid_out(tmp_path: Path, options: dict[str, str], codec: str) -> None:
    """Encoders put the table at either end, or in pieces."""
    whole = filmed(tmp_path / "film.mp4", codec, options=options)
    assert kind_of(tmp_path, whole) == "video/mp4"


def test_a_real_mp4_cut_anywhere_is_not_whole(tmp_path: Path) -> None:
    """A download that broke off must never be kept under a final name."""
    whole = filmed(tmp_path / "film.mp4", "mpeg4")
    cuts = {0, 1, 7, 8, 11, 12, 31, 32, 33, 40, len(whole) // 2, len(whole) - 9, len(whole) - 1}
    assert not [cut for cut in cuts if kind_of(tmp_path, whole[:cut])]


def test_a_real_webm_is_distinguished_from_an_mp4(tmp_path: Path) -> None:
    """Other vendors' models may render to WebM."""
    assert kind_of(tmp_path, filmed(tmp_path / "film.webm", "libvpx")) == "video/webm"


WHOLE: Final = {
    "moov first": MP4,
    "mdat first": FTYP + MDAT + MOOV,
    "with other boxes": FTYP + box(b"free", b"x" * 50) + MOOV + box(b"uuid") + MDAT,
    "mdat with a 64-bit length": FTYP + MOOV + box(b"mdat", b"frames", large=True),
    "mdat to the end of the file": FTYP + MOOV + box(b"mdat", b"frames", length=0),
    "several mdat": FTYP + MOOV + MDAT + MDAT,
    "an odd brand": box(b"ftyp", b"qt  \0\0\0\0") + MOOV + MDAT,
    "QuickTime of old, without a brand": MOOV + MDAT,
    "QuickTime's own kinds": box(b"wide") + MDAT + MOOV + box(b"\xa9nam", b"x"),
}
TAILS: Final = {
    "one byte": b"x",
    "zeros": b"\0" * 100,
    "a line break": b"\r\n",
    "a page": b"<!-- served by edge 7 -->",
    "a header cut in two": b"\0\0\0\x10fr",
    "a long header cut in two": b"\0\0\0\1free\0\0",
    "a length shorter than its header": box(b"free", length=7),
    "a long length shorter than its header": box(b"free", large=True, length=15),
    "a box cut short": box(b"uuid", b"signature", length=1000),
}
BROKEN: Final = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "JSON": b'{"error":"gone"}',
    "only a brand": FTYP,
    "no table": FTYP + MDAT,
    "no frames": FTYP + MOOV,
    "one byte short": MP4[:-1],
    "a length beyond the end": FTYP + MOOV + box(b"mdat", b"frames", length=10_000),
    "a length beyond everything": FTYP + MOOV + box(b"mdat", b"frames", large=True, length=2**64 - 1),
    "an image": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    "brand at the wrong place": b"ftyp" + MP4,
    "a second mdat cut short": FTYP + MOOV + MDAT + MDAT[:-1],
    "a fragment cut short": FTYP + MOOV + MDAT + box(b"moof", b"x" * 50)[:-1],
    "a page that begins with G": b"Gateway Timeout. Going Gracefully. " * 40,
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_boxes_that_fill_the_file_make_an_mp4(tmp_path: Path, content: bytes) -> None:
    """The row of boxes is all that is judged; the frames are the upstream's affair."""
    assert kind_of(tmp_path, content) == "video/mp4"


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_anything_else_is_no_video(tmp_path: Path, content: bytes) -> None:
    """Error pages come with status 200, and connections end early without an error."""
    assert kind_of(tmp_path, content) is None


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_stands_behind_a_whole_film_is_its_tail(tmp_path: Path, tail: bytes) -> None:
    """A film that plays is not lost to what a server puts behind it."""
    assert detected(tmp_path, MP4 + tail) == Container("video/mp4", shows_its_end=True, tail_bytes=len(tail))


@pytest.mark.parametrize(
    ("suffix", "codec", "content_type"),
    [
        (".webm", "libvpx", "video/webm"),
        (".mov", "mpeg4", "video/mp4"),
        (".avi", "mpeg4", "video/x-msvideo"),
        (".ts", "mpeg2video", "video/mp2t"),
        (".mpg", "mpeg2video", "video/mpeg"),
        (".flv", "flv", "video/x-flv"),
    ],
)
def test_a_real_film_in_another_container_is_a_film(tmp_path: Path, suffix: str, codec: str, content_type: str) -> None:
    """What it is called decides nothing, what is in it does."""
    whole = filmed(tmp_path / f"film{suffix}", codec, rate=25)
    assert kind_of(tmp_path, whole) == content_type


def test_only_an_unfragmented_mp4_shows_its_end(tmp_path: Path) -> None:
    """Any other file cut short at the right place looks like a whole one."""
    fragmented = filmed(tmp_path / "film.mp4", "mpeg4", options={"movflags": "frag_keyframe+empty_moov"})
    shown = [detected(tmp_path, content) for content in (MP4, fragmented, filmed(tmp_path / "film.webm", "libvpx"))]
    assert [found.shows_its_end for found in shown if found] == [True, False, False]


def test_a_row_without_end_is_given_up(tmp_path: Path) -> None:
    """A hundred thousand tiny boxes are an attack on our time."""
    assert kind_of(tmp_path, FTYP + box(b"free") * 100_001 + MOOV + MDAT) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the file is written anew
@given(content=st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: FTYP + tail))
def test_no_bytes_break_the_judgement(tmp_path: Path, content: bytes) -> None:
    """What a CDN serves is a stranger's."""
    assert (kind_of(tmp_path, content) or "video/").startswith("video/")
