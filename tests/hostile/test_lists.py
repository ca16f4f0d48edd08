"""A list reads no more than it returns, never the pictures, and is charged for what its filters read."""

import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil
import pytest
import redis

from config.settings import Settings
from jobs.job import Terms, VideoRequest
from producer.keys import Scope, make_access
from producer.service import READ_AT_ONCE, Selection, Service, make_service
from tests.api.conftest import Api

ORDERS: Final = 12
PICTURE: Final = f"data:image/png;base64,{b64encode(bytes(3_000_000)).decode()}"
LARGE: Final = VideoRequest("somebody/else", "a boat", {"image_url": PICTURE}, {"team": "a"})
SMALL: Final = VideoRequest("somebody/else", "a boat")
MOST_GROWTH: Final = 64 * 1024 * 1024
"""Bytes that four lists at once may add to the API's memory; the orders have 48 MB, and were held several times."""

PROMPT_S: Final = 5.0
PER_MIN: Final = 4


@pytest.fixture
def settings(redis_url: str, client: object, tmp_path: Path) -> Settings:
    """Settings for an empty Redis."""
    del client
    return Settings.model_validate({"redis": {"url": redis_url}, "state_dir": tmp_path})


@pytest.fixture
def service(settings: Settings) -> Service:
    """A producer in the same process."""
    return make_service(settings)


@pytest.fixture
def keyed(redis_url: str, settings: Settings, tmp_path: Path) -> Iterator[Api]:
    """An API that needs keys, each for four requests a minute."""
    del settings
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_API__REQUESTS_PER_MIN": str(PER_MIN)}
    with Api.started(tmp_path, environment) as started:
        yield started


def as_tenant(api: Api, settings: Settings, tenant: str) -> Api:
    """Call the API with a key of this tenant."""
    return replace(api, key=make_access(settings).issue(tenant, [Scope.SUBMIT, Scope.READ]).token)


def test_lists_of_large_orders_hold_none_of_them_in_memory(api: Api, service: Service) -> None:
    """Four lists at once took more than a gigabyte; others' requests go on beside them."""
    service.submit_many([(LARGE, Terms())] * ORDERS)
    api.get("/v1/videos?limit=1")
    assert api.process is not None
    before = psutil.Process(api.process.pid).memory_info().rss
    with ThreadPoolExecutor(4) as many:
        lists = [many.submit(api.get, "/v1/videos?limit=100&metadata[team]=a") for _ in range(4)]
        began = time.monotonic()
        job_id = api.submit()["id"]
        assert api.get(f"/v1/videos/{job_id}").ok
        beside_s = time.monotonic() - began
        answers = [each.result() for each in lists]

    assert [len(answer.json()["data"]) for answer in answers] == [ORDERS] * 4
    assert max(len(answer.content) for answer in answers) < ORDERS * 5000
    assert beside_s < PROMPT_S
    assert psutil.Process(api.process.pid).memory_info().rss - before < MOST_GROWTH


def test_a_list_shows_a_large_order_as_a_get_does(api: Api, service: Service) -> None:
    """Both show its short form."""
    job_id = service.submit(LARGE).job_id

    (listed,) = api.get("/v1/videos").json()["data"]

    assert listed == api.get(f"/v1/videos/{job_id}").json() | {"position": None}


def test_a_page_reads_no_more_jobs_than_it_returns(service: Service, client: "redis.Redis") -> None:
    """Whatever a page's size is."""
    service.submit_many([(SMALL, Terms())] * 30)
    before = calls(client)

    page = service.page(Selection(), limit=3)

    assert len(page.jobs) == 3
    assert calls(client) - before == 3


def calls(client: "redis.Redis") -> int:
    """Count the rows that were read so far."""
    return int(client.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0))


def test_a_filter_that_matches_nothing_is_charged_by_what_it_reads(
    keyed: Api, settings: Settings, service: Service
) -> None:
    """Where the quota ends the page ends, and its cursor goes on; another tenant's quota is its own."""
    attacker, shop = (as_tenant(keyed, settings, tenant) for tenant in ("attacker", "shop"))
    service.submit_many([(SMALL, Terms(tenant="attacker"))] * (PER_MIN + 1) * READ_AT_ONCE)

    cut = attacker.get("/v1/videos?model=no/model")
    refused = attacker.get("/v1/videos")
    beside = [shop.post("/v1/videos", {"prompt": "a boat"}), shop.get("/v1/videos")]

    assert (cut.status_code, cut.json()["data"], cut.json()["has_more"]) == (200, [], True)
    oldest_read = service.page(Selection(tenant="attacker"), limit=PER_MIN * READ_AT_ONCE, most_read=2000).jobs[-1][0]
    assert cut.json()["last_id"] == oldest_read.id
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
    assert [answer.status_code for answer in beside] == [202, 200]
