"""The account: the delayed request log, the balance, the transactions; and the endpoints without a key."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.harness import QUICK, Sandbox, until


def test_a_lost_receipt_is_found_in_the_log(sandbox: Sandbox) -> None:
    """The row has the client's request id and the generation's id, so that a client can adopt it."""
    generation_id = sandbox.bought(name="job-1:1")
    row = sandbox.get("/v2/logs", period="1h", model="google/veo3").json()["data"][0]
    assert (row["inference_id"], row["client_request_id"]) == (generation_id, "job-1:1")
    assert (row["status"], row["origin"], row["model"]) == ("succeeded", "api", "google/veo3")
    assert row["cost"] == {"usd": 4.16, "credits": 8_320_000}
    assert row["tokens"] == {"input": 0, "output": 0, "total": 0}


def test_the_log_is_paged_newest_first(sandbox: Sandbox) -> None:
    """A page has at most 100 rows; `has_more` says whether another follows."""
    bought = [sandbox.bought(name=f"job-{n}") for n in range(7)]
    pages = [sandbox.get("/v2/logs", limit=3, offset=offset).json() for offset in (0, 3, 6, 9)]
    assert [row["inference_id"] for page in pages for row in page["data"]] == bought[::-1]
    assert [page["pagination"]["has_more"] for page in pages] == [True, True, False, False]
    assert pages[0]["pagination"] == {"limit": 3, "offset": 0, "total": 7, "has_more": True}


def test_the_log_is_filtered_by_model_status_and_time(sandbox: Sandbox) -> None:
    """Models match by full or short name; repeated parameters are alternatives."""
    sandbox.bought()
    sandbox.bought(model="google/veo-3.0-fast")
    sandbox.bought("[sandbox: error=face]", model="veo2")

    def total(**query: Any) -> int:
        return int(sandbox.get("/v2/logs", **query).json()["pagination"]["total"])

    assert total() == 3
    assert total(model="google/veo3") == total(model="veo3") == 1
    assert total(model=["google/veo3", "veo2"]) == 2
    assert total(model="google/veo3,veo2") == 0
    assert (total(status="failed"), total(status="succeeded")) == (1, 2)
    now = datetime.now(UTC)
    assert total(start=(now - timedelta(hours=1)).isoformat(), end=(now + timedelta(minutes=1)).isoformat()) == 3
    assert total(start=(now - timedelta(hours=2)).isoformat(), end=(now - timedelta(hours=1)).isoformat()) == 0


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 101},
        {"limit": 0},
        {"offset": -1},
        {"period": "forever"},
        {"period": "93d"},
        {"start": "2026-01-01T00:00:00Z"},
        {"start": "then", "end": "now"},
        {"status": "pending"},
    ],
)
def test_an_invalid_log_query_is_refused(sandbox: Sandbox, query: dict[str, Any]) -> None:
    """The 400 names the parameter."""
    reply = sandbox.get("/v2/logs", **query)
    assert reply.status_code == 400
    assert reply.json()["error"]["data"][0]["path"]


def test_log_rows_come_late(start: Start) -> None:
    """A missing row proves nothing until the delay has passed."""
    sandbox = start("--latency-median-s=0", "--latency-minimum-s=0", "--log-delay-s=2", "--render=shared")
    generation_id = sandbox.bought()
    assert sandbox.finished(generation_id)["status"] == "completed"
    assert sandbox.get("/v2/logs").json()["data"] == []
    rows = until(lambda: sandbox.get("/v2/logs").json()["data"] or None)
    assert rows[0]["inference_id"] == generation_id


def test_log_rows_can_come_from_acceptance_on(start: Start) -> None:
    """It is unknown when the real log's delay starts, so both are offered."""
    sandbox = start("--log-delay-s=0", "--log-after=acceptance", "--render=shared")
    generation_id = sandbox.bought()
    assert sandbox.poll(generation_id).json()["status"] == "queued"
    assert sandbox.get("/v2/logs").json()["data"][0]["inference_id"] == generation_id


def test_the_log_has_a_rate_limit(start: Start) -> None:
    """It allows 200 reads a minute."""
    sandbox = start(*QUICK)
    statuses = [sandbox.get("/v2/logs").status_code for _ in range(201)]
    assert statuses == [200] * 200 + [429]


def test_the_balance_falls_on_completion_and_failures_are_free(start: Start) -> None:
    """A generation is charged when it completes."""
    sandbox = start(*QUICK, "--balance-usd=100")
    sandbox.bought("[sandbox: stuck]")
    sandbox.finished(sandbox.bought("[sandbox: error=object]"))
    assert sandbox.get("/v2/billing").json() == {"current_balance": 100.0, "currency": "USD"}
    sandbox.finished(sandbox.bought())
    assert sandbox.get("/v2/billing").json() == {"current_balance": 95.84, "currency": "USD"}
    bought = sandbox.purchases()
    assert (bought["total"], bought["usd"], bought["usd_charged"]) == (3, 12.48, 4.16)


def test_an_empty_account_buys_nothing(start: Start) -> None:
    """The error kind is misspelt as in the real service."""
    sandbox = start(*QUICK, "--balance-usd=5")
    sandbox.finished(sandbox.bought())
    reply = sandbox.submit()
    assert reply.status_code == 403
    assert reply.json()["error"]["data"] == {"kind": "err_insufficent_credits"}
    assert sandbox.purchases()["total"] == 1


def test_there_is_one_transaction_per_debit(sandbox: Sandbox) -> None:
    """They come newest first, with a cursor; the reference is the generation's id."""
    bought = [sandbox.bought() for _ in range(5)]
    for generation_id in bought:
        sandbox.finished(generation_id)
    first = sandbox.get("/v2/billing/transactions", limit=3).json()
    second = sandbox.get("/v2/billing/transactions", limit=3, cursor=first["pagination"]["next_cursor"]).json()
    entries = first["data"] + second["data"]
    assert {entry["reference_id"] for entry in entries} == set(bought)
    assert entries[0]["amount"] == {"usd": 4.16, "credits": 8_320_000}
    assert (first["pagination"]["has_more"], second["pagination"]["has_more"]) == (True, False)
    assert sandbox.get("/v2/billing/transactions", cursor="?").status_code == 400
    assert sandbox.get("/v2/billing/transactions", to="2020-01-01T00:00:00Z").json()["data"] == []


def test_the_catalogue_needs_no_key_and_has_an_etag(sandbox: Sandbox) -> None:
    """Prices depend on the variant; an unchanged catalogue is a 304 without a body."""
    reply = sandbox.get("/v1/models", key=None, id="google/veo3", include="pricing")
    (model,) = reply.json()["data"]
    assert model["pricing"]["variants"][1] == {
        "when": {"generate_audio": True},
        "price": 0.52,
        "unit": "second",
        "per": 1,
    }
    again = sandbox.download(reply.url, If_None_Match=reply.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert sandbox.get("/v1/models", id="google/veo2").json()["data"][0]["id"] == "veo2"


def test_metrics_need_no_key_and_are_scaled(start: Start) -> None:
    """They are real milliseconds, not upstream time."""
    sandbox = start("--time-scale=10", "--render=shared")
    (model,) = sandbox.get("/models/metrics", key=None, aliases="google/veo3").json()["models"]
    duration = model["metrics"]["duration_ms"]
    assert duration["p50"] == 10_500
    assert duration["p50"] < duration["p75"] < duration["p90"] < duration["p99"]
    assert sandbox.get("/models/metrics", key=None, aliases="a,b").json()["models"] == []
    assert sandbox.get("/models/metrics", key=None, alias="google/veo3").status_code == 400
