"""What an operator's Prometheus reads: enough to see trouble, nothing that is secret, never more and more series."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from jobs.breakers import Breaker, BreakerTerms
from jobs.job import Hold
from jobs.ledger import Ledger
from ops.stack.recipe import free_port
from producer.keys import Keys, Scope
from tests.api.conftest import Api, bought
from tests.monitoring import checked, promtool

Series = dict[str, float]


@pytest.fixture
def fresh(client: "redis.Redis", redis_url: str, tmp_path: Path) -> Iterator[Api]:  # noqa: ARG001 (it empties Redis)
    """An API that has counted nothing yet, and asks for keys."""
    with Api.started(tmp_path, {"RUSHES_REDIS__URL": redis_url, "RUSHES_STATE_DIR": str(tmp_path)}) as started:
        yield started


@pytest.fixture
def access(client: "redis.Redis") -> Keys:
    """Issues keys."""
    return Keys(client)


def holder(api: Api, access: Keys, *scopes: Scope) -> Api:
    """The API as the holder of a new key calls it."""
    return Api(api.url, api.log, access.issue("shop", scopes).token)


def series(scraper: Api) -> Series:
    """Every series, with its value."""
    answer = scraper.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_it_counts_requests_by_route_and_jobs_by_state(fresh: Api, access: Keys, real_ledger: Ledger) -> None:
    """A route is named by its pattern."""
    shop, scraper = holder(fresh, access, Scope.SUBMIT, Scope.READ), holder(fresh, access, Scope.METRICS)
    ids = [shop.submit()["id"] for _ in range(3)]
    bought(real_ledger, ids[0])
    for job_id in ids:
        shop.get(f"/v1/videos/{job_id}")

    found = series(scraper)

    assert found['rushes_api_requests_total{method="POST",route="/v1/videos",status="202"}'] == 3
    assert found['rushes_api_requests_total{method="GET",route="/v1/videos/{job_id}",status="200"}'] == 3
    assert found['rushes_api_request_seconds_count{route="/v1/videos/{job_id}"}'] == 3
    assert (found['rushes_jobs{state="queued"}'], found['rushes_jobs{state="rendering"}']) == (2, 1)
    assert (found["rushes_api_subscribers"], found["rushes_redis_up"]) == (0, 1)


def test_it_says_how_the_whole_fleet_is(fresh: Api, access: Keys, real_ledger: Ledger) -> None:
    """The same from any API, and after any restart: it is read from the ledger."""
    shop, scraper = holder(fresh, access, Scope.SUBMIT, Scope.READ), holder(fresh, access, Scope.METRICS)
    ids = [shop.submit()["id"] for _ in range(3)]
    bought(real_ledger, ids[0])
    assert series(scraper)['rushes_jobs_waiting{reason="ready"}'] == 2
    real_ledger.worker_seen("one", "1.0")
    real_ledger.breakers.refused(Breaker.SUBMIT, Hold.BAD_KEY, "401", terms=BreakerTerms(60, 60, after=1))

    found = series(scraper)

    assert found["rushes_workers"] == 1
    assert found['rushes_in_flight{account="default"}'] == 1
    assert found['rushes_breaker_open{account="default",kind="submit",reason="bad_key"}'] == 1
    assert found['rushes_breaker_open{account="default",kind="poll",reason="bad_key"}'] == 0
    assert (found['rushes_jobs_waiting{reason="breaker"}'], found['rushes_jobs_waiting{reason="ready"}']) == (2, 0)
    assert found['rushes_overdue_seconds{queue="queued"}'] >= 0
    real_ledger.pauses.pause(by="ann", reason="budget")
    paused = series(scraper)
    assert (paused["rushes_paused"], paused['rushes_jobs_waiting{reason="paused"}']) == (1, 2)


def test_without_redis_it_says_so_and_nothing_else(tmp_path: Path) -> None:
    """The alarm that Redis is gone comes from here; a made-up 0 would silence others."""
    around = {"RUSHES_REDIS__URL": f"redis://127.0.0.1:{free_port()}/0", "RUSHES_API__AUTH": "off"}
    with Api.started(tmp_path, {**around, "RUSHES_STATE_DIR": str(tmp_path)}) as api:
        found = series(api)
    assert found["rushes_redis_up"] == 0
    assert {name.partition("{")[0] for name in found if not name.startswith("rushes_api_")} == {"rushes_redis_up"}


@promtool
def test_it_keeps_the_conventions_of_prometheus(fresh: Api, access: Keys) -> None:
    """Names, units, types and help, as promtool judges them."""
    scraper = holder(fresh, access, Scope.METRICS)
    assert checked("check", "metrics", stdin=scraper.get("/metrics").text) == ""


def test_it_needs_a_key_of_its_own_kind(fresh: Api, access: Keys) -> None:
    """It covers all tenants, so that not even an administrator of keys reads it by the way."""
    assert fresh.get("/metrics").status_code == 401
    for scope in set(Scope) - {Scope.METRICS}:
        assert holder(fresh, access, scope).get("/metrics").json()["code"] == "forbidden"
    scraper = holder(fresh, access, Scope.METRICS)
    assert scraper.get("/metrics").ok
    assert scraper.get("/v1/videos").status_code == 403


def test_it_shows_no_secret(fresh: Api, access: Keys) -> None:
    """Neither key nor prompt, nor whose job it is."""
    shop, scraper = holder(fresh, access, Scope.SUBMIT, Scope.READ), holder(fresh, access, Scope.METRICS)
    job_id = shop.submit("a private matter", metadata={"campaign": "hidden"})["id"]
    shop.get(f"/v1/videos?metadata[campaign]=hidden&after={job_id}")

    text = scraper.get("/metrics").text

    for secret in ("private", "hidden", "shop", job_id, str(shop.key), str(shop.key).split("_")[1]):
        assert secret not in text


def test_no_caller_makes_series_grow(fresh: Api, access: Keys) -> None:
    """Whatever ids, addresses and methods are made up: each series would stay in memory for good."""
    shop, scraper = holder(fresh, access, Scope.READ), holder(fresh, access, Scope.METRICS)

    def nonsense(start: int) -> None:
        for n in range(start, start + 20):
            shop.get(f"/v1/videos/job_{n:026d}")
            shop.get(f"/v1/videos/{n}/{n}")
            shop.get(f"/{n}?{n}={n}")
            requests.request(f"BREW{n}", f"{fresh.url}/v1/videos", timeout=30)
            requests.request(f"BREW{n}", f"{fresh.url}/v1/videos/{n}", timeout=30)

    nonsense(0)
    before = set(series(scraper))
    before = set(series(scraper))  # by now it has counted itself
    nonsense(100)

    assert set(series(scraper)) == before
    assert not [name for name in before if re.search(r"BREW|job_0", name)]
