"""Whole videos and everything that only looks like one."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.films import FTYP, MDAT, MOOV, MP4, box, filmed
from worker.containers import content_type_of


def kind_of(folder: Path, content: bytes) -> str | None:
    """What a file with this content is taken for."""
    path = folder / "file"
    path.write_bytes(content)
    return content_type_of(str(path))


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


def test_a_real_webm_is_told_from_an_mp4(tmp_path: Path) -> None:
    """Other vendors' models may render to WebM."""
    assert kind_of(tmp_path, filmed(tmp_path / "film.webm", "libvpx")) == "video/webm"


WHOLE: Final = {
    "moov first": MP4,
    "mdat first": FTYP + MDAT + MOOV,
    "with other boxes": FTYP + box(b"free", b"x" * 50) + MOOV + box(b"uuid") + MDAT,
    "mdat with a 64-bit length": FTYP + MOOV + box(b"mdat", b"frames", large=True),
    "mdat to the end of the file": FTYP + MOOV + box(b"mdat", b"frames", length=0),
    "several mdat": FTYP + MOOV + MDAT + MDAT,
}
BROKEN: Final = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "JSON": b'{"error":"gone"}',
    "only a brand": FTYP,
    "no table": FTYP + MDAT,
    "no frames": FTYP + MOOV,
    "no brand": MOOV + MDAT,
    "one byte short": MP4[:-1],
    "one byte too many": MP4 + b"x",
    "a header cut in two": MP4 + b"\0\0\0\x10fr",
    "a long header cut in two": MP4 + b"\0\0\0\1free\0\0",
    "a length shorter than its header": FTYP + MOOV + MDAT + box(b"free", length=7),
    "a long length shorter than its header": FTYP + MOOV + MDAT + box(b"free", large=True, length=15),
    "a length beyond the end": FTYP + MOOV + box(b"mdat", b"frames", length=10_000),
    "a length beyond everything": FTYP + MOOV + box(b"mdat", b"frames", large=True, length=2**64 - 1),
    "an image": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    "brand at the wrong place": b"ftyp" + MP4,
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_boxes_that_fill_the_file_make_an_mp4(tmp_path: Path, content: bytes) -> None:
    """The row of boxes is all that is judged; the frames are the upstream's affair."""
    assert kind_of(tmp_path, content) == "video/mp4"


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_anything_else_is_no_video(tmp_path: Path, content: bytes) -> None:
    """Error pages come with status 200, and connections end early without an error."""
    assert kind_of(tmp_path, content) is None


def test_a_row_without_end_is_given_up(tmp_path: Path) -> None:
    """A hundred thousand tiny boxes are an attack on our time."""
    assert kind_of(tmp_path, FTYP + box(b"free") * 100_001 + MOOV + MDAT) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the file is written anew
@given(content=st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: FTYP + tail))
def test_no_bytes_break_the_judgement(tmp_path: Path, content: bytes) -> None:
    """What a CDN serves is a stranger's."""
    assert kind_of(tmp_path, content) in {None, "video/mp4", "video/webm"}
