"""What is in a video, and what stands beside it."""

import pytest

from jobs.artifacts import Artifact, path_of, paths_of
from jobs.media import Media, Mismatch
from jobs.row import job_from, to_fields
from tests.jobs.test_row import VALUES

FILM = Media(
    duration_s=8.0, width=1280, height=720, frame_rate=24.0, video_codec="h264", audio_codec="aac", loudness_lufs=-20.0
)


@pytest.mark.parametrize("media", [FILM, Media(), Media(mismatch=(Mismatch("duration", 8, 4.0),))])
def test_a_row_gives_back_what_was_written(media: Media) -> None:
    """A row holds the media as one small JSON field, without what is not known."""
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
        "2026/11/22/job_a.preview.gif",
        video,
    ]
