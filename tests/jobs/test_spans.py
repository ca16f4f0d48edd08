"""The spans of a job, from logs of every kind: steps with their times, and nothing that tenants wrote."""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.events import EVENTS, Event, LogEntry
from jobs.job import Charged, Hold, Job, Reason
from jobs.spans import DELIVERY_ENDS, FOLLOW_UP_ENDS, JOB_ENDS, Span, delivery_span, follow_up_span, job_spans
from jobs.states import State

T: Final = 1_800_000_000.0
SECRET: Final = "a prompt of a tenant's, or a signed address"
JOB: Final = Job(
    id="job_1",
    model="google/veo3",
    tenant="shop",
    kind="google/veo3:8:720p",
    state=State.STORING,
    turn=9,
    accepted_at=T,
    finished_at=T + 100,
    deadline_at=T + 1000,
    deadline_s=1000,
    generation_id="g1",
    cost_usd=3.36,
    polls=3,
    charged=Charged.YES,
)

Line = tuple[float, str, State, Mapping[str, Any]]


def log_of(*lines: Line) -> list[LogEntry]:
    """A job log whose times are seconds from the acceptance."""
    return [LogEntry(f"{at}-0", event, T + at, state, 1, data) for at, event, state, data in lines]


def spans_of(*lines: Line) -> tuple[Span, list[Span]]:
    """The spans of a job that the last line ends."""
    (_, event, _, data) = lines[-1]
    whole, steps = job_spans(JOB, Event(event, "job_1", 10, data, JOB), log_of(*lines))
    return whole, list(steps)


def times(steps: list[Span]) -> list[tuple[str, float, float, bool]]:
    """What took how long."""
    return [(step.name, round(step.start - T, 3), round(step.end - T, 3), step.failed) for step in steps]


QUEUED: Final[Line] = (0, "job.accepted", State.QUEUED, {"model": "google/veo3", "account": "default"})
INTENT: Final[Line] = (2, "job.submitting", State.SUBMITTING, {"attempt": 1, "request_id": "job_1.1-x"})
BOUGHT: Final[Line] = (3, "job.submitted", State.RENDERING, {"generation_id": "g1", "cost_usd": 3.36})
PENDING: Final[Line] = (20, "job.polled", State.RENDERING, {"result": "generating", "wait_s": 10.0})
FOUND: Final[Line] = (33, "job.rendered", State.STORING, {"url": SECRET, "late_s": 1.5, "note": SECRET})
CLAIMED: Final[Line] = (33.5, "job.storing", State.STORING, {"worker": "w"})
DONE: Final[Line] = (35, "job.completed", State.COMPLETED, {"path": SECRET, "size_bytes": 7, "took_s": 35.0})


def test_a_healthy_job_has_four_steps() -> None:
    """They are what a person waits for; polls are moments of the generation."""
    whole, steps = spans_of(QUEUED, INTENT, BOUGHT, PENDING, FOUND, CLAIMED, DONE)
    assert (whole.name, whole.start, whole.end, whole.failed) == ("job", T, T + 35, False)
    assert times(steps) == [
        ("wait", 0, 2, False),
        ("purchase", 2, 3, False),
        ("generate", 3, 33, False),
        ("download", 33.5, 35, False),
    ]
    assert steps[1].attributes == {
        "rushes.attempt": 1,
        "rushes.request_id": "job_1.1-x",
        "rushes.generation_id": "g1",
        "rushes.cost_usd": 3.36,
        "rushes.outcome": "job.submitted",
    }
    (poll,) = steps[2].moments
    assert (poll.name, poll.at, poll.attributes) == (
        "job.polled",
        T + 20,
        {"rushes.wait_s": 10.0, "rushes.result": "generating"},
    )
    assert whole.attributes == {
        "rushes.job_id": "job_1",
        "rushes.model": "google/veo3",
        "rushes.kind": "google/veo3:8:720p",
        "rushes.tenant": "shop",
        "rushes.account": "default",
        "rushes.cost_usd": 3.36,
        "rushes.generation_id": "g1",
        "rushes.polls": 3,
        "rushes.attempt": 0,
        "rushes.state": "completed",
        "rushes.charged": "yes",
        "rushes.outcome": "job.completed",
    }


def test_each_try_of_a_purchase_and_of_a_download_has_a_span() -> None:
    """A hold within the wait is a moment of it; a download that asks for a fresh URL polls again."""
    held = {"hold": Hold.THROTTLED, "wait_s": 2.0, "message": SECRET}
    _, steps = spans_of(
        QUEUED,
        (1, "job.held", State.QUEUED, held),
        INTENT,
        (3, "job.held", State.QUEUED, held),
        (5, "job.submitting", State.SUBMITTING, {"attempt": 2}),
        (6, "job.in_doubt", State.IN_DOUBT, {"message": SECRET}),
        (7, "job.still_in_doubt", State.IN_DOUBT, {"wait_s": 1.0}),
        (8, "job.adopted", State.RENDERING, {"generation_id": "g1", "by": "the upstream's log"}),
        FOUND,
        CLAIMED,
        (34, "job.store_failed", State.RENDERING, {"message": SECRET, "wait_s": 1.0}),
        (36, "job.rendered", State.STORING, {"url": SECRET}),
        (37, "job.storing", State.STORING, {}),
        (38, "job.storing", State.STORING, {}),
        (39, "job.completed", State.COMPLETED, {}),
    )
    assert times(steps) == [
        ("wait", 0, 2, False),
        ("purchase", 2, 3, False),
        ("wait", 3, 5, False),
        ("purchase", 5, 6, True),
        ("doubt", 6, 8, False),
        ("generate", 8, 33, False),
        ("download", 33.5, 34, True),
        ("fresh_url", 34, 36, False),
        ("download", 37, 38, False),
        ("download", 38, 39, False),
    ]
    assert [moment.attributes["rushes.hold"] for moment in steps[0].moments] == ["throttled"]
    assert [moment.name for moment in steps[4].moments] == ["job.still_in_doubt"]


@pytest.mark.parametrize(
    ("end", "state", "failed"),
    [
        ("job.failed", State.FAILED, True),
        ("job.expired", State.EXPIRED, True),
        ("job.cancelled", State.CANCELLED, False),
    ],
)
def test_an_end_without_a_video_is_told_by_its_reason(end: str, state: State, failed: bool) -> None:
    """A cancel is what somebody asked for; the upstream's words may quote the prompt."""
    why = {"reason": Reason.DEADLINE_PASSED, "message": SECRET, "charged": Charged.UNKNOWN}
    whole, steps = spans_of(QUEUED, INTENT, BOUGHT, (50, end, state, why))
    assert (whole.failed, steps[-1].name, steps[-1].failed) == (failed, "generate", failed)
    assert whole.attributes["rushes.reason"] == "deadline_passed"


def test_a_retry_goes_on_with_its_generation() -> None:
    """It waits for no purchase."""
    _, steps = spans_of((0, "job.accepted", State.RENDERING, {"retry_of": "job_0"}), FOUND, CLAIMED, DONE)
    assert [step.name for step in steps] == ["generate", "download"]


def test_of_a_log_that_was_cut_the_rest_is_shown() -> None:
    """It keeps the newest entries."""
    whole, steps = spans_of(PENDING, FOUND, CLAIMED, DONE)
    assert [step.name for step in steps] == ["download"]
    assert [moment.name for moment in whole.moments] == ["job.polled"]
    assert (whole.start, whole.end) == (T, T + 35)


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ("generating", "generating"),
        ("throttled: not so fast", "throttled"),
        (SECRET, "unclear"),
        (f"prompt: {SECRET}", "unclear"),
        ("x" * 41, "unclear"),
    ],
)
def test_of_a_polls_result_only_the_word_is_shown(result: str, shown: str) -> None:
    """What follows it is the upstream's, and may quote the prompt."""
    _, steps = spans_of(QUEUED, INTENT, BOUGHT, (20, "job.polled", State.RENDERING, {"result": result}), FOUND, DONE)
    assert steps[2].moments[0].attributes["rushes.result"] == shown


def test_a_delivery_has_its_own_time() -> None:
    """Its event is written with its batch's."""
    data = {"receiver": "wh_1", "of": "job.completed", "try": 2, "began_at": T + 40, "took_s": 0.25, "message": SECRET}
    span = delivery_span(Event("delivery.failed", "job_1", 10, data, JOB))
    assert times([span]) == [("deliver", 40, 40.25, True)]
    assert span.attributes == {
        "rushes.receiver": "wh_1",
        "rushes.of": "job.completed",
        "rushes.try": 2,
        "rushes.outcome": "delivery.failed",
    }


def test_a_description_begins_when_it_did_and_a_late_fetch_at_the_end() -> None:
    """A late fetch is one long wait, with its polls."""
    described = {"made": ["manifest"], "took_s": 0.5}
    late = (200.0, "job.late_fetch_waits", State.EXPIRED, {"result": "generating", "wait_s": 60.0})
    log = log_of(
        DONE, late, (300, "job.fetched_late", State.EXPIRED, {}), (301, "job.described", State.EXPIRED, described)
    )

    def ended_by(event: str, data: Mapping[str, Any]) -> Span:
        span = follow_up_span(JOB, Event(event, "job_1", 11, data, JOB), log)
        assert span is not None
        return span

    assert times([ended_by("job.described", described)]) == [("describe", 300.5, 301, False)]
    fetched = ended_by("job.fetched_late", {})
    assert times([fetched]) == [("late_fetch", 100, 300, False)]
    assert [moment.at for moment in fetched.moments] == [T + 200]
    assert follow_up_span(JOB, Event("job.described", "job_1", 11, described, JOB), ()) is None, "its log was erased"


HOSTILE: Final = st.fixed_dictionaries(
    dict.fromkeys(
        ("message", "url", "note", "path", "result", "sha256", "model", "what_a_newer_version_adds"), st.just(SECRET)
    )
)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.sampled_from(sorted(EVENTS)), st.sampled_from(State), HOSTILE), max_size=30
    )
)
def test_any_log_makes_spans_in_order_that_hold_no_secret(lines: list[Line]) -> None:
    """A log is what happened, not what should have."""
    lines = [*sorted(lines, key=lambda line: line[0]), (1e6, "job.failed", State.FAILED, {"message": SECRET})]
    whole, steps = spans_of(*lines)
    assert all(whole.start <= step.start <= step.end <= whole.end for step in steps)
    assert all(one.end <= other.start for one, other in itertools.pairwise(steps))
    assert SECRET not in repr((whole, steps))


def test_every_event_that_ends_a_span_is_one() -> None:
    """A renamed event would end none."""
    assert {*JOB_ENDS, *FOLLOW_UP_ENDS, *DELIVERY_ENDS} <= EVENTS.keys()
