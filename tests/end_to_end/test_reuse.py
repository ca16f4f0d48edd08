"""Reuse from end to end: a worker makes the video once, and a later request for the same gets it at no cost."""

import json
from collections.abc import Iterator

import pytest
import redis

from producer.client import Refused, Rushes
from producer.keys import Keys, Scope
from tests.api.conftest import Api, staged_api
from tests.stage import Stage, eventually

__all__ = ["staged_api"]

REQUEST = {"prompt": "a paper boat", "seed": 7, "seconds": "4"}


@pytest.fixture
def reusing(stage: Stage) -> Iterator[Api]:
    """The API of a deployment that allows reuse."""
    stage.environment["RUSHES_REUSE__ENABLED"] = "true"
    with Api.started(stage.folder, stage.environment) as started:
        yield started


def holder(api: Api, client: "redis.Redis", tenant: str) -> Api:
    """The API as a tenant's program calls it."""
    return Api(api.url, api.log, Keys(client).issue(tenant, (Scope.SUBMIT, Scope.READ)).token)


def test_the_same_request_again_costs_nothing_and_says_so(stage: Stage, reusing: Api, client: "redis.Redis") -> None:
    """This lasts until the original is erased; another tenant buys its own."""
    shop, gym = holder(reusing, client, "shop"), holder(reusing, client, "gym")
    with stage.worker():
        first = shop.post("/v1/videos", {**REQUEST, "dedupe": "prompt"})
        assert (first.status_code, first.json()["reused"]) == (202, False)
        job_id = first.json()["id"]
        stage.ended(job_id)
        eventually(lambda: client.keys("rushes:reuse:*"), what="the note of it")

        again = shop.post("/v1/videos", {**REQUEST, "dedupe": "prompt", "metadata": {"a": "b"}})
        job = again.json()
        assert (again.status_code, job["id"], job["reused"], job["status"]) == (200, job_id, True, "completed")
        assert again.headers["location"] == f"/v1/videos/{job_id}"
        assert shop.get(f"/v1/videos/{job_id}").json()["reused"] is False
        batch = shop.post("/v1/videos/batch", {"requests": [{**REQUEST, "dedupe": "prompt"}, REQUEST]}).json()["data"]
        assert [(one["status"], one["video"]["reused"]) for one in batch] == [(200, True), (202, False)]
        assert gym.post("/v1/videos", {**REQUEST, "dedupe": "prompt"}).json()["id"] != job_id
        with Rushes(reusing.url, api_key=shop.key) as rushes:
            handle = rushes.submit("a paper boat", seed=7, seconds=4, dedupe="prompt")
            assert handle.reused
            assert handle.wait(timeout_s=30).status == "completed"
        for other in batch:
            stage.ended(other["video"]["id"])
        eventually(lambda: len(stage.sandbox.purchases()) == 3, what="first, the one without dedupe, the gym's")

        for ended in {handle.id, job_id, batch[1]["video"]["id"]}:
            assert shop.delete(f"/v1/videos/{ended}").ok
        anew = shop.post("/v1/videos", {**REQUEST, "dedupe": "prompt"})
        assert (anew.status_code, anew.json()["reused"]) == (202, False)


def test_a_key_is_answered_the_same_each_time(stage: Stage, reusing: Api, client: "redis.Redis") -> None:
    """The answer is the same when it was lost and the request is sent again."""
    shop = holder(reusing, client, "shop")
    with stage.worker():
        job_id = shop.post("/v1/videos", REQUEST).json()["id"]
        stage.ended(job_id)
        eventually(lambda: client.keys("rushes:reuse:*"), what="the note of it")
    asked = [shop.post("/v1/videos", {**REQUEST, "dedupe": "prompt"}, Idempotency_Key="order-2") for _ in range(2)]

    assert [(answer.status_code, answer.json()["id"], answer.json()["reused"]) for answer in asked] == [
        (200, job_id, True),
        (200, job_id, True),
    ]
    assert [answer.headers["idempotency-replayed"] for answer in asked] == ["false", "true"]


def test_what_cannot_be_reused_says_why(stage: Stage, reusing: Api, client: "redis.Redis") -> None:
    """Nobody pays for what was asked for free, without an error."""
    shop = holder(reusing, client, "shop")
    seedless = shop.post("/v1/videos", {"prompt": "a boat", "dedupe": "prompt"})
    assert (seedless.status_code, seedless.json()["errors"][0]["location"]) == (422, "body.seed")
    assert shop.post("/v1/videos", {**REQUEST, "dedupe": "image"}).json()["errors"][0]["location"] == "body.dedupe"
    assert stage.rushes("submit", "a boat", "--dedupe").returncode == 7

    stage.environment["RUSHES_REUSE__ENABLED"] = "false"
    refused = stage.rushes("submit", "a boat", "--seed", "7", "--dedupe")
    assert (refused.returncode, "RUSHES_REUSE__ENABLED" in refused.stderr) == (7, True)
    assert shop.get("/v1/videos").json()["data"] == []


def test_it_is_off_unless_it_is_allowed(stage: Stage, staged_api: Api, client: "redis.Redis") -> None:
    """A worker keeps no index then, and the error names the setting."""
    with stage.worker():
        stage.ended(staged_api.submit("a paper boat", seed=7)["id"])
    with Rushes(staged_api.url) as rushes, pytest.raises(Refused, match="RUSHES_REUSE__ENABLED"):
        rushes.submit("a paper boat", seed=7, dedupe="prompt")
    assert not client.keys("rushes:reuse:*")


def test_the_command_line_says_that_nothing_was_bought(stage: Stage) -> None:
    """The id is on standard output, and the reuse is reported beside it."""
    stage.environment["RUSHES_REUSE__ENABLED"] = "true"
    command = ("submit", "a paper boat", "--seed", "7", "--dedupe")
    with stage.worker():
        job_id = stage.rushes(*command).stdout.strip()
        stage.ended(job_id)
        eventually(lambda: stage.client.keys("rushes:reuse:*"), what="the note of it")
        again = stage.rushes(*command)
        assert (again.stdout.strip(), "nothing was bought" in again.stderr) == (job_id, True)
        assert json.loads(stage.rushes(*command, "--json").stdout)["reused"] is True
    assert list(stage.sandbox.purchases().values()) == [1]
