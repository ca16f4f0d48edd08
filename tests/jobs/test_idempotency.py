"""One namespace of idempotency keys for each tenant."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs.errors import InvalidRequest
from jobs.idempotency import key_name, validate_key
from jobs.job import Terms
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from tests.conftest import immortal_keys
from tests.stage import a_request

REQUEST = a_request("a paper boat", seed=7)


def accept(
    ledger: Ledger, job_id: str, key: str | None, tenant: str | None = None, prompt: str = "a paper boat"
) -> str:
    """Accept a request with a key; returns the id of the job that answers it."""
    request = a_request(prompt, seed=7)
    return ledger.accept(request, Terms(job_id=job_id, deadline_s=60, idempotency_key=key, tenant=tenant)).job_id


@pytest.mark.parametrize("other", [None, "gym", "shop2", ""])
def test_tenants_do_not_meet(ledger: Ledger, other: str | None) -> None:
    """A tenant's job is found neither by the same key, nor by a key that looks like another's name."""
    first = accept(ledger, "job_1", "order-1", "shop")

    assert accept(ledger, "job_2", "order-1", "shop") == first
    assert ledger.holder("order-1", tenant="shop") == first
    for n, key in enumerate(("order-1", key_name("order-1", "shop"), "shop\0order-1")):
        assert ledger.holder(key, tenant=other) is None
        assert accept(ledger, f"job_other{n}", key, other) == f"job_other{n}"


@pytest.mark.parametrize("key", ["k" * 100_000, "*", "a b\n\r\0c", "🐉", "job:job_1", "../../x", "{a}"])
def test_a_keys_name_in_redis_is_ours(ledger: Ledger, client: "redis.Redis", key: str) -> None:
    """The name has one length, whatever key a caller chose."""
    assert accept(ledger, "job_1", key) == accept(ledger, "job_2", key)

    (name,) = client.scan_iter(f"{PREFIX}idempotency:*")
    assert name == f"{PREFIX}idempotency:{key_name(key, None)}"
    assert len(name) == len(f"{PREFIX}idempotency:") + 64
    assert immortal_keys(client) == []


@pytest.mark.parametrize("key", ["", "\ud800", 4711, b"order-1", ["order-1"], False])
def test_what_is_no_text_is_no_key(key: Any) -> None:
    """An empty key, from a variable that was never set, would make all requests one job."""
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        validate_key(key)


def test_the_same_request_is_known_whatever_is_expected_of_its_video(ledger: Ledger) -> None:
    """A model's default that changes overnight does not turn a repeated request into a conflict."""
    first = accept(ledger, "job_1", "order-1")
    expected = replace(REQUEST, expected={"duration": 8})

    again = ledger.accept(expected, Terms(job_id="job_2", deadline_s=60, idempotency_key="order-1"))

    assert (again.job_id, again.replayed) == (first, True)
