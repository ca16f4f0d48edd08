"""Why a job waits, in a sentence that says what happens next."""

from typing import Any, Final

import pytest

from jobs.job import Hold
from jobs.states import State
from producer.waiting import waiting
from tests.jobs.test_moves import NOW, a_job

SENTENCES: Final[list[tuple[State, dict[str, Any], list[str]]]] = [
    (State.QUEUED, {"hold": Hold.THROTTLED, "message": "429 slow down."}, ["Held (throttled): 429 slow down. ", "8 s"]),
    (State.SUBMITTING, {}, ["It is being bought"]),
    (State.IN_DOUBT, {"message": "reply lost"}, ["reply lost", "read again in 8 s", "not bought again"]),
    (State.IN_DOUBT, {"attention_at": NOW}, ["decide", "rushes adopt", "rushes resolve"]),
    (State.STORING, {"downloads": 1, "message": "the archive cannot be written"}, ["paid for", "in 8 s"]),
    (State.RENDERING, {"downloads": 3, "message": "broke off"}, ["paid for", "broke off", "asked for in 8 s"]),
]


@pytest.mark.parametrize(("state", "fields", "words"), SENTENCES)
def test_a_job_that_waits_says_why_and_what_happens_next(
    state: State, fields: dict[str, Any], words: list[str]
) -> None:
    """Nobody should have to read the job log to know whether to act."""
    sentence = waiting(a_job(state, due_at=NOW + 8, **fields), now=NOW)
    assert sentence is not None
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("due_at", "now", "word"), [(NOW - 5, NOW, "at once"), (None, NOW, "soon"), (NOW, None, "soon")]
)
def test_a_time_that_is_past_or_not_known_is_no_number(due_at: float | None, now: float | None, word: str) -> None:
    """A countdown below zero helps nobody."""
    sentence = waiting(a_job(State.STORING, due_at=due_at, downloads=1), now=now)
    assert sentence is not None
    assert f"tried again {word}." in sentence


@pytest.mark.parametrize("state", [State.QUEUED, State.STORING, State.RENDERING, State.COMPLETED, State.FAILED])
def test_a_job_that_simply_goes_on_says_nothing(state: State) -> None:
    """Silence is the normal case."""
    assert waiting(a_job(state, due_at=NOW + 8), now=NOW) is None
