"""What a finished job teaches, and which job teaches nothing."""

from typing import Final

import pytest

from jobs.forecast import EDGES_S, Forecast, Latency, Sketch
from jobs.job import Job
from jobs.lessons import lesson
from tests.jobs.test_moves import NOW, a_job

FORECAST: Final = Forecast(Sketch(), Latency.typical(110))
KNOWN: Final = a_job(
    kind="google/veo3:8:720p",
    polls=3,
    intent_at=NOW - 102,
    submitted_at=NOW - 100,
    pending_at=NOW - 10,
    due_at=NOW,
    rendered_at=None,
)
"""Bought a hundred seconds ago, seen pending ten seconds ago."""


def span_s(job: Job, *, now: float = NOW) -> tuple[float, float] | None:
    """The times between which the lesson lies."""
    learnt = lesson(job, FORECAST, now=now)
    return (EDGES_S[min(learnt.shares)], EDGES_S[max(learnt.shares) + 1]) if learnt else None


def test_a_job_finished_between_the_poll_that_saw_it_pending_and_the_one_that_found_it() -> None:
    """The exact moment is nobody's to know."""
    learnt = lesson(KNOWN, FORECAST, now=NOW)

    assert learnt is not None
    assert learnt.kind == "google/veo3:8:720p"
    assert sum(learnt.shares.values()) == pytest.approx(1)
    assert span_s(KNOWN) == pytest.approx((90, 100), rel=0.07)


def test_a_job_found_by_its_first_poll_finished_some_time_before() -> None:
    """It teaches that the first poll may have been late."""
    span = span_s(KNOWN.model_copy(update={"pending_at": None, "polls": 0}))

    assert span is not None
    assert span[0] < 30
    assert span[1] == pytest.approx(100, rel=0.07)


@pytest.mark.parametrize(
    "change",
    [
        {"rendered_at": NOW - 50},
        {"submitted_at": None},
        {"intent_at": NOW - 400},
        {"intent_at": NOW + 5},
        {"pending_at": NOW - 70},
        {"pending_at": None},
        {"pending_at": None, "polls": 0, "due_at": NOW - 40},
        {"submitted_at": NOW + 7},
        {"pending_at": NOW + 7},
    ],
    ids=[
        "its URL had gone and it was counted before",
        "nobody knows when it began",
        "its receipt came late, or it was adopted",
        "the intent is later than the receipt",
        "an outage lies between the polls",
        "no poll saw it pending, but there were some",
        "the first poll was late by an outage",
        "the clock went back behind the receipt",
        "the clock went back behind the last poll",
    ],
)
def test_what_would_blur_the_sketch_teaches_nothing(change: dict[str, float | None]) -> None:
    """A wrong lesson is worse than none."""
    assert lesson(KNOWN.model_copy(update=change), FORECAST, now=NOW) is None


def test_a_row_without_a_kind_teaches_its_models() -> None:
    """A job that was accepted without one is of a kind with all others of its model."""
    learnt = lesson(KNOWN.model_copy(update={"kind": None}), FORECAST, now=NOW)

    assert learnt is not None
    assert learnt.kind == "google/veo3"


def test_an_adopted_generation_is_paced_from_the_intent() -> None:
    """Its receipt was found minutes later: it is probably done, and must not be waited for as if it began now."""
    assert KNOWN.model_copy(update={"intent_at": NOW - 400}).began_at == NOW - 400
    assert KNOWN.began_at == NOW - 100
    assert KNOWN.model_copy(update={"intent_at": None}).began_at == NOW - 100
