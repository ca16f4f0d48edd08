"""The manual's ledger: it goes by the test's clock, and keeps the wake-ups that a broker would carry."""

import pytest
import redis

from jobs.ledger import Ledger
from jobs.scripts import WakeUp
from tests.stage import Clock, outbox_of


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, sent: list[WakeUp]) -> Ledger:
    """A ledger with one receiver that wants to know of completed jobs."""
    outbox_of(client, clock=clock).register({"shop:notify": ["job.completed"]})
    return Ledger(client, clock=clock, send_wake_up=sent.append)
