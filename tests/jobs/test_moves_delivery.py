"""What follows from one try to deliver: each outcome, with each schedule, in milliseconds and without Redis."""

from typing import Final

import pytest

from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome, Settlement
from jobs.moves.delivery import RetryTerms, after_delivery, reason_to_disable
from jobs.test_deliveries import new_test_delivery_id

DELIVERY: Final = Delivery("a:b", "job_1", "job.completed", turn=3, tries=1)
RETRIES: Final = RetryTerms((5.0, 60.0, 3600.0), variation=1.2, disable_after_s=86_400.0)


def tried(outcome: Outcome, *, tries: int = 1, spread: float = 0.5, job_id: str = "job_1") -> Settlement:
    """The result of an attempt that follows `tries` failed ones."""
    delivery = Delivery("a:b", job_id, "job.completed", turn=3, tries=tries)
    return after_delivery(delivery, outcome, RETRIES, took_s=0.25, spread=spread)


def test_what_was_delivered_is_over() -> None:
    """Its line in the log counts this try too."""
    how = tried(Delivered("answered 204", status=204, sent="POST", answer="ok"))
    line = how.line
    assert (how.over, how.blameless, line.delivered, line.tries, line.took_s) == (True, False, True, 2, 0.25)
    assert (line.status, line.sent, line.answer, line.message) == (204, "POST", "ok", "answered 204")


@pytest.mark.parametrize(("tries", "next_in_s"), [(0, 5), (1, 60), (2, 3600)])
def test_what_failed_is_tried_again_by_the_schedule(tries: int, next_in_s: float) -> None:
    """Each try has its own wait; after the last one the delivery is given up."""
    how = tried(NotDelivered("no"), tries=tries)
    assert (how.over, how.next_in_s, how.blameless) == (False, next_in_s, False)


def test_a_wait_is_varied_by_a_fifth() -> None:
    """Deliveries that failed together must not be retried together."""
    waits = [tried(NotDelivered("no"), spread=spread).next_in_s for spread in (0, 0.5, 1)]
    assert waits == [pytest.approx(48), pytest.approx(60), pytest.approx(72)]


@pytest.mark.parametrize(("asked_s", "next_in_s"), [(600, 600), (1, 60), (0, 60), (None, 60)])
def test_a_receiver_that_asks_for_more_time_gets_it(asked_s: float | None, next_in_s: float) -> None:
    """The later of the schedule's time and the receiver's time counts."""
    assert tried(NotDelivered("busy", retry_after_s=asked_s)).next_in_s == next_in_s


def test_what_only_a_newer_version_can_read_waits_for_it() -> None:
    """The receiver was not called: neither its schedule nor its breaker counts that."""
    how = tried(NotDelivered("the row is of a later version", later=True), tries=3)
    assert (how.over, how.blameless, how.next_in_s) == (False, True, 600)


@pytest.mark.parametrize(
    ("how", "blameless"),
    [
        (tried(NotDelivered("no"), tries=3), False),
        (tried(NotDelivered("forgotten", never=True)), True),
        (tried(NotDelivered("gone", unwanted=True)), False),
        (tried(NotDelivered("no"), tries=0, job_id=new_test_delivery_id()), False),
    ],
    ids=["the tries are used up", "the job is forgotten", "nothing more is wanted", "a test delivery is tried once"],
)
def test_what_is_of_no_use_any_more_is_given_up(how: Settlement, blameless: bool) -> None:
    """Only a forgotten job says nothing of the receiver."""
    assert (how.over, how.line.delivered, how.blameless) == (True, False, blameless)


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
    assert after_delivery(DELIVERY, NotDelivered("no"), RetryTerms.doubling(2, 10, attempts=1), took_s=0, spread=0).over
