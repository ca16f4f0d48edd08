"""Large bodies with a key: a tenant has a few in memory at once, and others are answered meanwhile."""

import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil
import pytest

from config.settings import Settings
from producer.api.parsing import LARGE_BODIES
from producer.keys import Scope, make_access
from tests.api.conftest import Api
from tests.stage import eventually

PNG: Final = b"\x89PNG\r\n\x1a\n"
CONNECTIONS: Final = 36
BYTES: Final = 12_000_000
MOST_GROWTH: Final = LARGE_BODIES.of_a_tenant * BYTES * 2
"""Twice what one tenant's bodies have, because Python joins them; all connections' have 432 MB."""

ORDER: Final = {
    "model": "somebody/else",
    "prompt": "a boat",
    "image_url": f"data:image/png;base64,{b64encode(PNG + bytes(5_000_000)).decode()}",
}
PROMPT_S: Final = 5.0


@pytest.fixture
def keyed(redis_url: str, client: object, tmp_path: Path) -> Iterator[Api]:
    """An API that needs keys."""
    del client
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_API__REQUESTS_PER_MIN": "100000"}
    with Api.started(tmp_path, environment) as started:
        yield started


def as_tenant(api: Api, redis_url: str, tenant: str) -> Api:
    """Call the API with a key of this tenant."""
    settings = Settings.model_validate({"redis": {"url": redis_url}})
    return replace(api, key=make_access(settings).issue(tenant, [Scope.SUBMIT, Scope.READ]).token)


def stalled(api: Api) -> bytes:
    """Send all of a large body but its last bytes, and read the reply."""
    head = f"POST /v1/videos HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {api.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {BYTES}\r\n\r\n"
    address = ("127.0.0.1", int(api.url.rpartition(":")[2]))
    with closing(socket.create_connection(address, timeout=20)) as opened:
        with suppress(OSError):
            opened.sendall(head.encode() + b"[" + b" " * (BYTES - 100))
        with suppress(OSError):
            return opened.recv(65_536)
    return b""


def test_bodies_that_never_end_hold_little_memory_and_nobody_up(keyed: Api, redis_url: str) -> None:
    """Those beyond the tenant's part wait unread, and are refused; another tenant's large order is accepted."""
    attacker, shop = (as_tenant(keyed, redis_url, tenant) for tenant in ("attacker", "shop"))
    assert keyed.process is not None
    shop.post("/v1/videos", ORDER)
    process = psutil.Process(keyed.process.pid)
    before, most = process.memory_info().rss, 0
    with ThreadPoolExecutor(CONNECTIONS) as many:
        attack = [many.submit(stalled, attacker) for _ in range(CONNECTIONS)]
        eventually(lambda: any(each.done() for each in attack), what="the first refusal")
        most = process.memory_info().rss
        began = time.monotonic()
        answers = [shop.post("/v1/videos", ORDER), shop.post("/v1/videos", {"prompt": "a boat"})]
        beside_s = time.monotonic() - began
        replies = [each.result() for each in attack]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert beside_s < PROMPT_S
    assert most - before < MOST_GROWTH
    refused = [reply for reply in replies if b" 429 " in reply[:20]]
    assert len(refused) >= CONNECTIONS - LARGE_BODIES.of_a_tenant - 1
    assert b"retry-after" in refused[0].lower()


def test_a_reply_that_waits_holds_no_body(keyed: Api, redis_url: str) -> None:
    """A caller may wait for the job's end for minutes; the picture is in the archive."""
    tenant = as_tenant(keyed, redis_url, "shop")
    assert keyed.process is not None
    process = psutil.Process(keyed.process.pid)
    count = 2 * LARGE_BODIES.of_a_tenant
    with ThreadPoolExecutor(count) as many:
        list(many.map(lambda _: tenant.post("/v1/videos", ORDER), range(count)))  # what it takes to submit them
        before = process.memory_info().rss
        waiting = [many.submit(tenant.post, "/v1/videos", ORDER, Prefer="wait=60") for _ in range(count)]
        eventually(lambda: len(tenant.get("/v1/videos?limit=100").json()["data"]) == 2 * count, what="all orders")
        bound = before + count * len(json.dumps(ORDER)) // 2  # the allocator keeps a part of it either way
        eventually(lambda: process.memory_info().rss < bound, what="the bodies' end")
        assert not any(each.done() for each in waiting)
        for job in tenant.get("/v1/videos?limit=100").json()["data"]:
            tenant.post(f"/v1/videos/{job['id']}/cancel")  # which ends the waits
        assert {each.result().status_code for each in waiting} <= {200, 202}


def test_health_is_answered_while_large_bodies_are_parsed_and_submitted(keyed: Api, redis_url: str) -> None:
    """No step of a large body belongs on the event loop."""
    attacker = as_tenant(keyed, redis_url, "attacker")
    with ThreadPoolExecutor(4) as many:
        attack = [many.submit(attacker.post, "/v1/videos", ORDER) for _ in range(12)]
        waited = []
        while not all(each.done() for each in attack):
            began = time.monotonic()
            assert keyed.get("/healthz").ok
            waited.append(time.monotonic() - began)

    assert [each.result().status_code for each in attack] == [202] * 12
    assert sorted(waited)[int(len(waited) * 0.9)] < 0.5
