"""Deliveries: the share of a worker's threads that the telling may use, and what a try comes to."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from jobs.ledger import Ledger, new_job_id
from jobs.outbox import Delivery, Outbox, ReceiverTerms
from jobs.test_deliveries import new_test_delivery_id
from tests.stage import a_request
from worker.deliver import Deliveries, ThreadLimit, settlement
from worker.receiver_registry import ReceiverRegistry
from worker.receivers import Delivered, NotDelivered

DELIVERY = Delivery("a:b", "job_1", "job.completed", turn=3, tries=1)


def test_one_receiver_never_has_all_the_threads_of_the_telling() -> None:
    """A stuck receiver leaves one to the others, also in the smallest worker that has two."""
    share = ThreadLimit(2)
    assert [share.enter("stuck"), share.enter("stuck"), share.enter("quick"), share.enter("third")] == [
        True,
        False,
        True,
        False,
    ]
    share.leave("quick")
    assert share.enter("third")


def test_a_worker_with_one_thread_for_it_tells_all_the_same() -> None:
    """One after the other."""
    share = ThreadLimit(1)
    assert (share.enter("a"), share.enter("b")) == (True, False)
    share.leave("a")
    assert share.enter("b")


def test_what_was_told_is_over() -> None:
    """Its line in the log counts this try too."""
    how = settlement(DELIVERY, Delivered("answered 204", status=204), took_s=0.25, next_try_s=8)
    assert (how.over, how.line.delivered, how.line.tries, how.line.status, how.line.took_s) == (
        True,
        True,
        2,
        204,
        0.25,
    )


def test_what_failed_is_tried_again_when_the_schedule_or_the_receiver_says() -> None:
    """Whichever is later."""
    assert settlement(DELIVERY, NotDelivered("no"), took_s=0, next_try_s=8).next_in_s == 8
    later = settlement(DELIVERY, NotDelivered("busy", retry_after_s=60), took_s=0, next_try_s=8)
    assert (later.over, later.next_in_s) == (False, 60)


def test_what_only_a_newer_version_can_tell_waits_for_it() -> None:
    """The receiver was not called: neither its schedule nor its standing counts that."""
    how = settlement(DELIVERY, NotDelivered("the row is of a later time", later=True), took_s=0, next_try_s=None)
    assert (how.over, how.blameless) == (False, True)


def test_what_is_of_no_use_any_more_is_given_up() -> None:
    """The tries are used up, the job is forgotten, or nothing more is wanted; a test delivery is tried once."""
    test_delivery = Delivery("a:b", new_test_delivery_id(), "job.test", turn=1, tries=0)
    given_up = [
        settlement(DELIVERY, NotDelivered("no"), took_s=0, next_try_s=None),
        settlement(DELIVERY, NotDelivered("no", never=True), took_s=0, next_try_s=8),
        settlement(DELIVERY, NotDelivered("no", unwanted=True), took_s=0, next_try_s=8),
        settlement(test_delivery, NotDelivered("no"), took_s=0, next_try_s=8),
    ]
    assert [(how.over, how.line.delivered) for how in given_up] == [(True, False)] * 4
    assert [how.blameless for how in given_up] == [False, True, False, False]


class Poisoned:
    """A receiver that cannot format one job's event."""

    terms = ReceiverTerms(width=1, lease_s=60)

    def __init__(self, poison: str) -> None:
        self.poison = poison
        self.reached: list[str] = []

    def deliver(self, delivery: Delivery, *_: object) -> Delivered:
        """Deliver, or fail as nobody foresaw."""
        if delivery.job_id == self.poison:
            raise OverflowError("int too large to convert to float")
        self.reached.append(delivery.job_id)
        return Delivered()

    def next_try_s(self, tries: int) -> float:
        """In an hour."""
        return 3600.0 * tries


def test_a_delivery_that_raises_is_its_own_failure_and_holds_no_other(
    client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """An odd row is tried again later, with the traceback in the log; the receiver's other deliveries go on."""
    poison, other = new_job_id(), new_job_id()
    ledger, outbox = Ledger(client), Outbox(client)
    for job_id in (poison, other):
        ledger.accept(a_request(), job_id=job_id, deadline_s=1000)
        outbox.put(job_id, {"hook:x": ["job.completed"]})
    receiver = Poisoned(poison)
    receivers: Any = SimpleNamespace(find=lambda _: receiver, failed=lambda *_, **__: None)
    lanes = Deliveries(ledger, outbox, cast("ReceiverRegistry", receivers), lambda *_: True, worker="w", threads=2)

    lanes.run("hook:x")

    assert receiver.reached == [other]
    assert "OverflowError" in caplog.text
