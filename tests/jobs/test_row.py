"""A job's row: what is written is what is read."""

from typing import Any, Final

import pytest

from jobs.artifacts import Artifact
from jobs.errors import UnreadableRow
from jobs.job import Charged, Family, Job, Reason, Stored, Video
from jobs.media import Media, Mismatch
from jobs.row import job_from, serialized, to_fields
from jobs.states import State

VALUES: Final[dict[str, Any]] = {
    "id": "job_1",
    "state": State.FAILED,
    "turn": 7,
    "model": "google/veo3",
    "accepted_at": 1_800_000_000.25,
    "deadline_at": 1_800_001_000.0,
    "deadline_s": 1000.0,
    "polls": 3,
    "family": Family.GOOGLE,
    "video": Video("https://cdn.example/clip.mp4", file_size=7),
    "stored": Stored("2026/job_1.mp4", 7, "ab", "video/mp4"),
    "media": Media(duration_s=8.0, mismatch=(Mismatch("duration", 5, 8.0), Mismatch("audio", asked=True, got=False))),
    "artifacts": (Artifact.POSTER, Artifact.PREVIEW),
    "cost_usd": 3.36,
    "charged": Charged.YES,
    "reason": Reason.NOT_STORED,
    "message": "ein B\u00f6\u00f6t, a boat",
}


def test_a_row_is_read_as_it_was_written() -> None:
    """Each value keeps its type and its precision."""
    assert job_from(to_fields(VALUES)) == Job(**VALUES)


def test_numbers_of_a_mismatch_stay_what_they_were() -> None:
    """The API shows 5 where 5 was asked for, not 5.0."""
    media = job_from(to_fields(VALUES)).media

    assert media is not None
    assert [(type(found.asked), type(found.got)) for found in media.mismatch] == [(int, float), (bool, bool)]


def test_a_newer_versions_fields_are_ignored() -> None:
    """Two versions of the code share the jobs during a deploy."""
    assert job_from({**to_fields(VALUES), "mood": "good"}) == Job(**VALUES)


@pytest.mark.parametrize("values", [{"mood": "good"}, {"message": None}, {"media": object()}])
def test_what_a_row_cannot_hold_is_not_written(values: dict[str, Any]) -> None:
    """A typing error in a field's name must not become a field that nobody reads."""
    with pytest.raises(ValueError, match=next(iter(values))):
        to_fields(values)


@pytest.mark.parametrize(
    ("field", "value"), [("cost_usd", "nan"), ("turn", "three"), ("media", '{"width": "wide"}'), ("state", "x" * 1000)]
)
def test_an_unreadable_row_names_the_field(field: str, value: str) -> None:
    """An operator sees what to look at, in a bounded line that holds nothing of the row."""
    with pytest.raises(UnreadableRow, match=f"^{field}") as caught:
        job_from({**to_fields(VALUES), field: value})
    assert len(str(caught.value)) <= 200
    assert value not in str(caught.value)


@pytest.mark.parametrize("parameters", [{"a": object()}, {1: 2, "b": 3}, {"a": "\ud83d"}])
def test_what_is_no_json_is_not_serialized(parameters: Any) -> None:
    """Validation says why."""
    assert serialized(parameters) is None
