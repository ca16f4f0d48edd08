"""One tenant's pictures fill neither Redis nor, beyond its share, the archive."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from config.settings import Settings
from producer.keys import Scope, make_access
from tests.api.conftest import Api

PNG: Final = b"\x89PNG\r\n\x1a\n"
ORDERS: Final = 8
PICTURE_BYTES: Final = 4_000_000
BODY: Final = {
    "model": "somebody/else",
    "prompt": "a boat",
    "image_url": f"data:image/png;base64,{b64encode(PNG + bytes(PICTURE_BYTES)).decode()}",
}
SHARE: Final = 6 * len(json.dumps(BODY["image_url"]))
MOST_BYTES_OF_AN_ORDER: Final = 50_000
"""What Redis may grow by for one order: a job's row, log and events, and its buffers; the picture has 5 MB."""


@pytest.fixture
def keyed(redis_url: str, client: object, tmp_path: Path) -> Iterator[Api]:
    """An API that needs keys, where each tenant has room for five such orders."""
    del client
    with Api.started(tmp_path, {"RUSHES_REDIS__URL": redis_url, "RUSHES_QUEUE__INPUT_BYTES": str(SHARE)}) as started:
        yield started


def as_tenant(api: Api, redis_url: str, tenant: str) -> Api:
    """Call the API with a key of this tenant."""
    settings = Settings.model_validate({"redis": {"url": redis_url}})
    return replace(api, key=make_access(settings).issue(tenant, [Scope.SUBMIT, Scope.READ]).token)


def test_pictures_fill_neither_redis_nor_more_than_a_share_of_the_archive(
    keyed: Api, redis_url: str, client: "redis.Redis", tmp_path: Path
) -> None:
    """Thirty orders of 8 MB filled 240 MB of Redis; now the tenant is told what is used, and others go on."""
    attacker, shop = (as_tenant(keyed, redis_url, tenant) for tenant in ("attacker", "shop"))
    shop.post("/v1/videos", {"prompt": "a boat"})
    before = used(client)

    answers = [attacker.post("/v1/videos", BODY) for _ in range(ORDERS)]

    assert [answer.status_code for answer in answers] == [202] * 5 + [413] * 3
    refused: dict[str, Any] = answers[-1].json()
    assert (refused["code"], refused["retryable"], refused["charged"]) == ("inputs_full", False, "no")
    assert f"of {SHARE} bytes are used" in refused["detail"]
    assert used(client) - before < ORDERS * MOST_BYTES_OF_AN_ORDER
    kept = list((tmp_path / "state" / "archive" / "inputs").iterdir())
    assert sum(file.stat().st_size for file in kept) <= SHARE
    assert shop.post("/v1/videos", BODY).status_code == 202


def test_a_tenant_makes_room_by_erasing(keyed: Api, redis_url: str) -> None:
    """As the refusal says."""
    tenant = as_tenant(keyed, redis_url, "shop")
    ids = [tenant.post("/v1/videos", BODY).json()["id"] for _ in range(5)]
    assert tenant.post("/v1/videos", BODY).status_code == 413

    tenant.post(f"/v1/videos/{ids[0]}/cancel")
    assert tenant.delete(f"/v1/videos/{ids[0]}").status_code == 200

    assert tenant.post("/v1/videos", BODY).status_code == 202


def test_a_lost_answer_costs_no_room_twice(keyed: Api, redis_url: str) -> None:
    """The key finds its job, even when there is no room for another."""
    tenant = as_tenant(keyed, redis_url, "shop")
    answers = [tenant.post("/v1/videos", BODY, Idempotency_Key="k") for _ in range(ORDERS)]
    others = [tenant.post("/v1/videos", BODY) for _ in range(5)]
    replayed = tenant.post("/v1/videos", BODY, Idempotency_Key="k")
    conflict = tenant.post("/v1/videos", BODY | {"prompt": "a plane"}, Idempotency_Key="k")

    assert len({answer.json()["id"] for answer in [*answers, replayed]}) == 1
    assert [answer.status_code for answer in others] == [202] * 4 + [413]
    assert conflict.json()["code"] == "idempotency_conflict"


def used(client: "redis.Redis") -> int:
    """The bytes that Redis holds."""
    return int(client.info("memory")["used_memory_dataset"])
