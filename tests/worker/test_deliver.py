"""Deliveries: the share of a worker's threads that they may use, and the results of attempts."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from jobs.delivery import Delivered, Delivery
from jobs.job import Terms
from jobs.ledger import Ledger, new_job_id
from jobs.moves.delivery import RetryTerms
from jobs.outbox import Outbox, ReceiverTerms
from tests.stage import a_request
from worker.deliver import Deliveries, ThreadLimit
from worker.receivers.registry import ReceiverRegistry


def test_one_receiver_never_has_all_the_threads_of_deliveries() -> None:
    """A stuck receiver leaves one thread to the others, even in the smallest worker, which has two."""
    share = ThreadLimit(2)
    assert [share.enter("stuck"), share.enter("stuck"), share.enter("quick"), share.enter("third")] == [
        True,
        False,
        True,
        False,
    ]
    share.leave("quick")
    assert share.enter("third")


def test_a_worker_with_one_thread_delivers_all_the_same() -> None:
    """It serves one receiver after the other."""
    share = ThreadLimit(1)
    assert (share.enter("a"), share.enter("b")) == (True, False)
    share.leave("a")
    assert share.enter("b")


class Poisoned:
    """A receiver that cannot format one job's event."""

    terms = ReceiverTerms(width=1, lease_s=60)
    retries = RetryTerms((3600.0,))

    def __init__(self, poison: str) -> None:
        self.poison = poison
        self.reached: list[str] = []

    def deliver(self, delivery: Delivery, *_: object) -> Delivered:
        """Deliver the event; raises for one job."""
        if delivery.job_id == self.poison:
            raise OverflowError("int too large to convert to float")
        self.reached.append(delivery.job_id)
        return Delivered()


def test_a_delivery_that_raises_is_its_own_failure_and_holds_no_other(
    client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """An odd row is tried again later, with the traceback in the log; the receiver's other deliveries go on."""
    poison, other = new_job_id(), new_job_id()
    ledger, outbox = Ledger(client), Outbox(client)
    for job_id in (poison, other):
        ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
        outbox.put(job_id, {"hook:x": ["job.completed"]})
    receiver = Poisoned(poison)
    receivers: Any = SimpleNamespace(find=lambda _: receiver)
    deliveries = Deliveries(ledger, outbox, cast("ReceiverRegistry", receivers), lambda *_: True, worker="w", threads=2)

    deliveries.run("hook:x")

    assert receiver.reached == [other]
    assert "OverflowError" in caplog.text
