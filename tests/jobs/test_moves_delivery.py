"""What follows one try to deliver: each outcome, with each schedule, in milliseconds and without Redis."""

from typing import Final

import pytest

from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome, line_of
from jobs.moves.delivery import RetryTerms, Timed, after_delivery, reason_to_disable, released
from jobs.moves.move import Move
from jobs.test_deliveries import new_test_delivery_id
from jobs.work_items import Item

RETRIES: Final = RetryTerms((5.0, 60.0, 3600.0), variation=1.2, disable_after_s=86_400.0)


def delivery(*, tries: int = 1, job_id: str = "job_1") -> Delivery:
    """A delivery that has failed `tries` times."""
    return Delivery("a:b", job_id, "job.completed", event_turn=3, at=7.0, tries=tries)


def tried(
    outcome: Outcome, *, tries: int = 1, spread: float = 0.5, job_id: str = "job_1", retries: RetryTerms = RETRIES
) -> Move:
    """What follows an attempt after `tries` failed ones."""
    timed = Timed(began_at=9.0004, took_s=0.25049)
    return after_delivery(delivery(tries=tries, job_id=job_id), outcome, retries, timed=timed, spread=spread)


def test_what_was_delivered_is_over() -> None:
    """The next event of this job begins with no tries."""
    assert tried(Delivered()) == Move(
        event="delivery.succeeded",
        delivered=True,
        tries=0,
        data={"receiver": "a:b", "of": "job.completed", "try": 2, "began_at": 9.0, "took_s": 0.25},
    )


@pytest.mark.parametrize(("tries", "wait_s"), [(0, 5), (1, 60), (2, 3600)])
def test_what_failed_is_tried_again_by_the_schedule(tries: int, wait_s: float) -> None:
    """Each try has its own wait, and the job log says why and when."""
    move = tried(NotDelivered("no"), tries=tries)
    assert (move.event, move.due_in_s, move.tries, move.delivered) == ("delivery.failed", wait_s, tries + 1, False)
    assert move.data == {
        "receiver": "a:b",
        "of": "job.completed",
        "try": tries + 1,
        "began_at": 9.0,
        "took_s": 0.25,
        "message": "no",
        "wait_s": wait_s,
    }


def test_a_wait_is_varied_by_a_fifth() -> None:
    """Deliveries that failed together must not be retried together."""
    waits = [tried(NotDelivered("no"), spread=spread).due_in_s for spread in (0, 0.5, 1)]
    assert waits == [pytest.approx(48), pytest.approx(60), pytest.approx(72)]


@pytest.mark.parametrize(("asked_s", "wait_s"), [(600, 600), (1, 60), (0, 60), (None, 60)])
def test_a_receiver_that_asks_for_more_time_gets_it(asked_s: float | None, wait_s: float) -> None:
    """The later of the schedule's time and the receiver's time counts."""
    assert tried(NotDelivered("busy", retry_after_s=asked_s)).due_in_s == wait_s


def test_what_only_a_newer_version_can_read_waits_for_it() -> None:
    """The receiver was not called: neither its schedule nor its breaker counts that."""
    outcome = NotDelivered("the row is of a later version", later=True)
    move = tried(outcome, tries=3)
    assert (move.event, move.due_in_s, move.tries) == ("delivery.failed", 600, 3)
    assert outcome.is_blameless


@pytest.mark.parametrize(
    ("outcome", "tries", "job_id", "is_blameless"),
    [
        (NotDelivered("no"), 3, "job_1", False),
        (NotDelivered("forgotten", never=True), 1, "job_1", True),
        (NotDelivered("gone", unwanted=True), 1, "job_1", False),
        (NotDelivered("no"), 0, new_test_delivery_id(), False),
    ],
    ids=["the tries are used up", "the job is forgotten", "nothing more is wanted", "a test delivery is tried once"],
)
def test_what_is_of_no_use_any_more_is_given_up(
    outcome: NotDelivered, tries: int, job_id: str, is_blameless: bool
) -> None:
    """The next event goes on; only a forgotten job says nothing of the receiver."""
    move = tried(outcome, tries=tries, job_id=job_id)
    assert (move.event, move.delivered, move.due_in_s, move.tries) == ("delivery.abandoned", True, None, 0)
    assert outcome.is_blameless is is_blameless


def test_a_delivery_that_is_given_back_is_due_at_once_and_says_nothing() -> None:
    """It was claimed, but there was no time for it."""
    assert released() == Move(event=None, due_in_s=0)


@pytest.mark.parametrize(
    "outcome", [Delivered("answered 204", 204, "POST", "ok"), NotDelivered("no", 500, "POST", "?")]
)
def test_a_line_of_the_log_counts_this_try_too(outcome: Outcome) -> None:
    """It keeps what was sent and what was answered."""
    line = line_of(delivery(), outcome, 0.25)
    assert (line.job_id, line.event, line.tries, line.took_s) == ("job_1", "job.completed", 2, 0.25)
    assert (line.delivered, line.message) == (isinstance(outcome, Delivered), outcome.message)
    assert (line.status, line.sent, line.answer) == (outcome.status, outcome.sent, outcome.answer)


def test_a_delivery_is_the_first_event_that_waits() -> None:
    """Its item holds a line for each: the event, the job's turn then, and the time."""
    item = Item("deliver:a:b", "job_1", 9, 2, ["job.expired 5 7.500", "job.fetched_late 6 9.000"], None, None)
    assert Delivery.of(item) == Delivery("a:b", "job_1", "job.expired", 5, 7.5, tries=2)


@pytest.mark.parametrize("events", [[], ["job.expired"], ["job.expired five 7.500"], ["job.expired 5 7.500 more"]])
def test_an_item_that_a_newer_version_wrote_is_no_delivery(events: list[str]) -> None:
    """Its worker leaves it to a newer one."""
    with pytest.raises(ValueError, match=r"\w"):
        Delivery.of(Item("deliver:a:b", "job_1", 9, 2, events, None, None))


@pytest.mark.parametrize(
    ("outcome", "failing_s", "why"),
    [
        (NotDelivered("answered 410", unwanted=True), 0, "it wants no further deliveries: answered 410"),
        (NotDelivered("no answer"), 86_400, "it has been failing for 24 h, last: no answer"),
        (NotDelivered("no answer"), 86_399, None),
        (Delivered(), 1e9, None),
    ],
)
def test_an_endpoint_that_wants_nothing_or_fails_for_too_long_is_disabled(
    outcome: Outcome, failing_s: float, why: str | None
) -> None:
    """One delivery that arrives is enough to stay."""
    assert reason_to_disable(outcome, RETRIES, failing_s=failing_s) == why


def test_a_receiver_that_the_settings_name_is_never_disabled() -> None:
    """Only the operator removes a hook."""
    hooks = RetryTerms.doubling(2, 10, attempts=5)
    assert hooks == RetryTerms((2, 4, 8, 10))
    assert reason_to_disable(NotDelivered("gone", unwanted=True), hooks, failing_s=1e9) is None


def test_one_attempt_is_one_attempt() -> None:
    """There is nothing to wait for then."""
    once = RetryTerms.doubling(2, 10, attempts=1)
    assert tried(NotDelivered("no"), tries=0, retries=once).event == "delivery.abandoned"
