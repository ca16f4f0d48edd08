"""One namespace of idempotency keys for each tenant, and what earlier versions wrote is still found."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs.errors import IdempotencyConflict, InvalidRequest
from jobs.idempotency import key_name, validate_key
from jobs.job import Terms
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.row import fingerprint_of
from producer.reuse import Reused
from tests.conftest import immortal_keys
from tests.producer.test_reuse import completed
from tests.stage import a_request, reuse_of

REQUEST = a_request("a paper boat", seed=7)


def accept(
    ledger: Ledger, job_id: str, key: str | None, tenant: str | None = None, prompt: str = "a paper boat"
) -> str:
    """Accept a request with a key; returns the id of the job that answers it."""
    request = a_request(prompt, seed=7)
    return ledger.accept(request, Terms(job_id=job_id, deadline_s=60, idempotency_key=key, tenant=tenant)).job_id


def written_by_an_earlier_version(client: "redis.Redis", name: str, job_id: str) -> None:
    """A key as it was kept before keys had a namespace."""
    client.set(f"{PREFIX}idempotency:{name}", f"{job_id} {fingerprint_of(REQUEST)}", ex=60)


@pytest.mark.parametrize("other", [None, "gym", "shop2", ""])
def test_tenants_do_not_meet(ledger: Ledger, other: str | None) -> None:
    """A tenant's job is found neither by the same key, nor by a key that looks like another's name."""
    first = accept(ledger, "job_1", "order-1", "shop")

    assert accept(ledger, "job_2", "order-1", "shop") == first
    assert ledger.holder("order-1", tenant="shop") == first
    for n, key in enumerate(("order-1", key_name("order-1", "shop"), "shop\0order-1")):
        assert ledger.holder(key, tenant=other) is None
        assert accept(ledger, f"job_other{n}", key, other) == f"job_other{n}"


@pytest.mark.parametrize(
    ("key", "name", "tenant"),
    [
        ("order-1", "order-1", None),
        ("order-1", "order-1", "shop"),
        ("batch:spring:ab12", "batch:spring:ab12", None),
        ("schlüssel 7", "schlüssel 7", "shop"),
        ("order-1.0", f"{key_name('order-1', 'shop')}.0", "shop"),
        ("order.1.99", f"{key_name('order.1', None)}.99", None),
    ],
)
def test_a_key_of_an_earlier_version_is_still_found(
    ledger: Ledger, client: "redis.Redis", key: str, name: str, tenant: str | None
) -> None:
    """A rolling upgrade falls between a request and its repetition; another tenant's is none of the caller's."""
    accept(ledger, "job_1", None, tenant)
    written_by_an_earlier_version(client, name, "job_1")

    assert ledger.holder(key, tenant=tenant) == "job_1"
    assert accept(ledger, "job_2", key, tenant) == "job_1"
    with pytest.raises(IdempotencyConflict, match="job_1"):
        accept(ledger, "job_3", key, tenant, prompt="another boat")
    assert accept(ledger, "job_4", key, "somebody") == "job_4"


def test_an_earlier_versions_reuse_is_still_found(ledger: Ledger, client: "redis.Redis") -> None:
    """A video that it handed out for free is not bought now."""
    job_id = completed(ledger, REQUEST, tenant="shop")
    written_by_an_earlier_version(client, "order-1", job_id)
    client.set(f"{PREFIX}reused:order-1", "1", ex=60)
    ledger.erase(ledger.get(job_id))

    def found(tenant: str) -> Reused | None:
        return reuse_of(client).find(REQUEST, tenant=tenant, idempotency_key="order-1", idempotency_life_s=None)

    assert found("shop") == Reused(job_id, replayed=True)
    assert found("gym") is None


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
