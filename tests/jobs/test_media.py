"""What differs from what was asked for, where it can be compared."""

from typing import Any

import pytest

from jobs.artifacts import Artifact, path_of, paths_of
from jobs.media import Media, Mismatch, mismatches
from jobs.row import job_from, to_fields
from tests.jobs.test_row import VALUES

FILM = Media(
    duration_s=8.0, width=1280, height=720, frame_rate=24.0, video_codec="h264", audio_codec="aac", loudness_lufs=-20.0
)
SILENT = Media(duration_s=4.0, width=1280, height=720, video_codec="h264")
ORDER = {"duration": 8, "resolution": "720P", "aspect_ratio": "16:9", "generate_audio": True}


def test_what_came_as_ordered_differs_in_nothing() -> None:
    """The usual case says nothing."""
    assert mismatches(ORDER, FILM) == ()


def test_half_as_long_and_silent_is_told() -> None:
    """Eight seconds with sound were paid for, four silent ones came."""
    assert mismatches(ORDER, SILENT) == (Mismatch("duration", 8, 4.0), Mismatch("generate_audio", True, False))


@pytest.mark.parametrize(
    ("asked", "media", "found"),
    [
        ({"duration": 8}, Media(duration_s=7.96), ()),
        ({"duration": 8}, Media(duration_s=8.6), (Mismatch("duration", 8, 8.6),)),
        ({"duration": 8}, Media(), ()),
        ({"duration": "long"}, SILENT, ()),
        ({"duration": True}, SILENT, ()),
        ({"resolution": "1080p"}, FILM, (Mismatch("resolution", "1080p", "1280x720"),)),
        ({"resolution": "720p"}, Media(width=720, height=1280), ()),
        ({"resolution": "720P"}, Media(width=1280, height=704), (Mismatch("resolution", "720P", "1280x704"),)),
        ({"resolution": "4K"}, FILM, ()),
        ({"duration": 10**400}, FILM, ()),
        ({"duration": -1}, FILM, ()),
        ({"duration": float("inf")}, FILM, ()),
        ({"duration": float("nan")}, FILM, ()),
        ({"resolution": "٤٤٤p"}, FILM, (Mismatch("resolution", "٤٤٤p", "1280x720"),)),
        ({"aspect_ratio": "9:16"}, FILM, (Mismatch("aspect_ratio", "9:16", "1280x720"),)),
        ({"aspect_ratio": "16:9"}, Media(width=854, height=480), ()),
        ({"aspect_ratio": "16:0"}, FILM, ()),
        ({"aspect_ratio": "auto"}, FILM, ()),
        ({"aspect_ratio": "16:9"}, Media(width=0, height=0), ()),
        ({"generate_audio": False}, SILENT, ()),
        ({"generate_audio": False}, FILM, (Mismatch("generate_audio", False, True),)),
        (
            {"generate_audio": True},
            Media(audio_codec="aac", loudness_lufs=-70.0),
            (Mismatch("generate_audio", True, False),),
        ),
        ({"generate_audio": True}, Media(audio_codec="aac"), ()),
        ({"generate_audio": "yes"}, SILENT, ()),
        ({"generate_audio": True}, Media(mismatch=(Mismatch("file_size", 0, 9),)), ()),
        ({}, SILENT, ()),
    ],
)
def test_each_parameter_is_compared_with_a_little_tolerance(
    asked: dict[str, Any], media: Media, found: tuple[Mismatch, ...]
) -> None:
    """An encoder rounds; a track of silence is no sound; a stranger's parameter is not guessed at."""
    assert mismatches(asked, media) == found


@pytest.mark.parametrize("media", [FILM, Media(), Media(mismatch=(Mismatch("duration", 8, 4.0),))])
def test_a_row_gives_back_what_was_written(media: Media) -> None:
    """One small JSON field, without what there is not."""
    text = to_fields({"media": media})["media"]

    assert job_from({**to_fields(VALUES), "media": text}).media == media
    assert len(text) < 250
    assert "null" not in text


def test_what_stands_beside_a_video_is_named_after_it() -> None:
    """The path of the video gives the paths of all of them."""
    video = "2026/11/22/job_a.mp4"
    assert path_of(Artifact.POSTER, video) == "2026/11/22/job_a.poster.webp"
    assert paths_of(video) == [
        "2026/11/22/job_a.json",
        "2026/11/22/job_a.poster.webp",
        "2026/11/22/job_a.preview.webp",
        video,
    ]
