"""`/v1/queue`: an administrator pauses buying, everybody sees why a job waits."""

import pytest

from jobs.admission import ACCOUNTS, Limit
from jobs.breakers import Breaker, BreakerTerms
from jobs.job import Hold
from jobs.ledger import Ledger
from tests.api.conftest import Api
from tests.stage import eventually


@pytest.fixture(autouse=True)
def _known_afresh(api: Api) -> None:
    """The API knows of a pause for two seconds after it is over."""
    api.post("/v1/queue/resume")
    eventually(lambda: api.submit()["waiting"] is None, within_s=10)
    for job in api.get("/v1/videos").json()["data"]:
        api.post(f"/v1/videos/{job['id']}/cancel")


def test_a_pause_is_shown_by_the_queue_by_each_job_and_by_readyz(api: Api) -> None:
    """A person who asks why nothing happens reads the reason."""
    assert api.get("/v1/queue").json() == {"object": "queue", "paused": None, "pauses": []}

    pause = api.post("/v1/queue/pause", {"reason": "the budget is used up"}).json()["paused"]

    assert (pause["by"], pause["reason"]) == ("the operator", "the budget is used up")
    assert api.get("/v1/queue").json()["paused"] == pause
    job = api.submit()
    words = "paused by the operator: the budget is used up"
    eventually(lambda: words in (api.get(f"/v1/videos/{job['id']}").json()["waiting"] or ""), within_s=10)
    assert api.get("/readyz").json()["paused"] is True

    assert api.post("/v1/queue/resume").json() == {"object": "queue", "paused": None, "pauses": []}
    assert api.get("/readyz").json()["paused"] is False


def test_a_reason_is_bounded(api: Api) -> None:
    """It is shown with each of ten thousand jobs."""
    answer = api.post("/v1/queue/pause", {"reason": "x" * 301})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_part_of_the_queue_is_paused(api: Api) -> None:
    """A tenant whose batch went wrong, or a model that fails."""
    pauses = [{"model": "google/veo3", "reason": "black videos"}, {"tenant": "shop"}]
    for pause in pauses:
        api.post("/v1/queue/pause", pause)

    shown = api.get("/v1/queue").json()
    assert (shown["paused"], [pause["what"] for pause in shown["pauses"]]) == (
        None,
        ["model:google/veo3", "tenant:shop"],
    )
    job = api.submit()
    eventually(
        lambda: "of model google/veo3" in (api.get(f"/v1/videos/{job['id']}").json()["waiting"] or ""), within_s=10
    )
    assert api.get("/readyz").json()["paused"] is False

    assert api.post("/v1/queue/resume", {"tenant": "shop"}).json()["pauses"] == [shown["pauses"][0]]
    assert api.post("/v1/queue/pause", {"tenant": "shop", "model": "google/veo3"}).status_code == 422


def test_after_a_top_up_an_administrator_tries_at_once(api: Api, real_ledger: Ledger) -> None:
    """The reply says which kinds of request are tried, and how many held jobs wait for nothing else."""
    assert api.post("/v1/queue/try").json() == {"object": "queue.trial", "breakers": [], "jobs": 0}
    terms = BreakerTerms(first_s=60, longest_s=120, after=1)
    real_ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "402", terms=terms)

    assert api.post("/v1/queue/try").json() == {"object": "queue.trial", "breakers": ["submit"], "jobs": 0}

    assert real_ledger.breakers.currently_open()[Breaker.SUBMIT].wait_s == 0
    real_ledger.breakers.passed(Breaker.SUBMIT)


def test_limits_are_set_shown_and_unset(api: Api) -> None:
    """What was set here, and what holds otherwise."""
    assert [one["scope"] for one in api.get("/v1/limits").json()["data"]] == ["account", "tenants"]

    api.put("/v1/limits/tenant:shop", {"in_flight": 3, "weight": 2})
    account, _, shop = api.put("/v1/limits/account", {"per_min": 30, "in_flight": "none"}).json()["data"]

    assert (account["in_flight"], account["per_min"], account["is_set"]) == (None, 30, True)
    assert (shop["scope"], shop["in_flight"], shop["per_min"], shop["weight"]) == ("tenant:shop", 3, None, 2)
    assert len(api.delete("/v1/limits/tenant:shop").json()["data"]) == 2


def test_a_wrong_limit_is_refused_by_name(api: Api) -> None:
    """And nothing is set."""
    for scope, body, named in (
        ("account", {"in_flight": 0}, "body.in_flight"),
        ("account", {"per_min": "many"}, "body.per_min"),
        ("account", {"weight": 2}, "body.weight"),
        ("account", {}, "body"),
        ("everybody", {"in_flight": 1}, "path.scope"),
    ):
        answer = api.put(f"/v1/limits/{scope}", body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["location"].startswith(named), answer.text
    assert not any(one["is_set"] for one in api.get("/v1/limits").json()["data"])


def test_a_queued_job_shows_its_place(api: Api) -> None:
    """When it is asked about by its id; nobody buys here."""
    first, second = api.submit(), api.submit(priority="high")

    assert first["position"] is None
    assert api.get(f"/v1/videos/{first['id']}").json()["position"] == {"of_tenant": 2, "of_all": 2}
    assert api.get(f"/v1/videos/{second['id']}").json()["position"] == {"of_tenant": 1, "of_all": 1}
    refused = api.post("/v1/videos", {"model": "google/veo3", "prompt": "a boat", "not_before": "18:00"})
    assert (refused.status_code, "2026-12-24T18:00:00Z" in refused.text) == (422, True)
    later = api.submit(not_before=60)
    shown = api.get(f"/v1/videos/{later['id']}").json()
    assert (shown["position"], shown["waiting"]) == (None, "It may be bought in 60 s.")


def test_a_job_says_that_it_waits_its_turn_at_a_rate(api: Api, real_ledger: Ledger) -> None:
    """As the limit was set, in the whole fleet."""
    real_ledger.admission.set(ACCOUNTS, Limit(per_min=20))
    job = api.submit()
    words = "Purchases begin at 20 a minute (`rushes limits`): it waits its turn."
    try:
        eventually(lambda: api.get(f"/v1/videos/{job['id']}").json()["waiting"] == words, within_s=10)
    finally:
        real_ledger.admission.unset(ACCOUNTS)
