"""What differs from the request and from what goes without saying, where it can be compared."""

from typing import Any

import pytest

from jobs.media import Media, Mismatch
from worker.describe.mismatches import mismatches

FILM = Media(
    duration_s=8.0, width=1280, height=720, frame_rate=24.0, video_codec="h264", audio_codec="aac", loudness_lufs=-20.0
)
SILENT = Media(duration_s=4.0, width=1280, height=720, video_codec="h264")
REQUEST = {"duration": 8, "resolution": "720P", "aspect_ratio": "16:9", "generate_audio": True}


def test_what_came_as_requested_differs_in_nothing() -> None:
    """In the usual case there is nothing to report."""
    assert mismatches(REQUEST, FILM) == ()


def test_half_as_long_and_silent_is_reported() -> None:
    """Eight seconds with sound were paid for, four silent ones came."""
    assert mismatches(REQUEST, SILENT) == (Mismatch("duration", 8, 4.0), Mismatch("generate_audio", True, False))


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
