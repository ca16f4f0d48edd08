"""Deliveries over HTTP: what an administrator sees of every endpoint, and a tenant of its own receivers."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis

from jobs.job_log import STREAM
from jobs.ledger import Ledger
from producer.keys import Keys, Scope
from producer.receivers import make_receivers
from producer.webhooks import make_webhooks
from tests.api.conftest import Api, bought
from tests.receivers import WebhookServer
from tests.stage import Stage, eventually


@pytest.fixture
def receiver() -> Iterator[WebhookServer]:
    """A customer's server."""
    with WebhookServer.started() as started:
        yield started


@pytest.fixture
def keyed_api(stage: Stage) -> Iterator[Api]:
    """An API that asks for keys, on a stage where receivers may be on this machine."""
    stage.environment |= {
        "RUSHES_WEBHOOKS__KEYS": "k" * 32,
        "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true",
        "RUSHES_WEBHOOKS__RETRY_S": "0.2,0.2,1000",
    }
    with Api.started(stage.folder, stage.environment) as started:
        yield started


def holder(api: Api, client: "redis.Redis", tenant: str, *scopes: Scope) -> Api:
    """The API as a program with a key of its own calls it."""
    issued = Keys(client).issue(tenant, scopes or (Scope.SUBMIT, Scope.READ))
    return Api(api.url, api.log, issued.token)


def endpoint(stage: Stage, receiver: WebhookServer, tenant: str | None = None, *, events: Sequence[str] = ()) -> str:
    """Make the receiver an endpoint."""
    webhooks = make_webhooks(stage.settings)
    added = webhooks.add(receiver.url, events=events, tenant=tenant)
    receiver.secret = webhooks.secrets(added.id).current
    return added.id


def test_an_operator_sees_failed_deliveries_and_redelivers(
    stage: Stage, keyed_api: Api, client: "redis.Redis", receiver: WebhookServer
) -> None:
    """Without a shell on the machine: list, test, deliveries, redeliver."""
    office, shop = holder(keyed_api, client, "office", Scope.ADMIN), holder(keyed_api, client, "shop")
    wh = endpoint(stage, receiver)
    receiver.status = 500
    with stage.worker():
        job_id = shop.submit()["id"]
        stage.ended(job_id)
        eventually(lambda: receiver.calls == 3, what="the tries that come soon")
        eventually(lambda: office.get("/v1/webhooks").json()["data"][0]["waiting"] == 1)
        failed = office.get(f"/v1/webhooks/{wh}/deliveries?delivered=false&limit=2").json()
        older = office.get(f"/v1/webhooks/{wh}/deliveries?limit=2&after={failed['last_id']}").json()
        assert [(line["status"], line["tries"]) for line in failed["data"] + older["data"]] == [
            (500, 3),
            (500, 2),
            (500, 1),
        ]
        assert (failed["has_more"], older["has_more"]) == (True, False)
        assert f"webhook-id: {job_id}.completed" in failed["data"][0]["sent"]

        receiver.status = 200
        tested = office.post(f"/v1/webhooks/{wh}/test")
        assert (tested.status_code, tested.json()["delivered"], tested.json()["event"]) == (200, True, "job.test")
        again = office.post(f"/v1/webhooks/{wh}/redeliver", {"job_id": job_id})
        assert (again.status_code, again.json()["receivers"]) == (202, {wh: ["job.completed"]})
        eventually(lambda: receiver.messages[-1].id == f"{job_id}.completed", what="the redelivery")

    arrived = office.get(f"/v1/webhooks/{wh}/deliveries?delivered=true&job_id={job_id}").json()["data"]
    assert arrived[0]["answer"] == "ok"


def test_a_tenant_sees_and_repeats_its_own_deliveries(
    stage: Stage, keyed_api: Api, client: "redis.Redis", receiver: WebhookServer
) -> None:
    """Not what the operator's or another tenant's were; nor anything of another tenant's job."""
    shop, gym = holder(keyed_api, client, "shop"), holder(keyed_api, client, "gym")
    everybodys, gyms, shops = (endpoint(stage, receiver, tenant) for tenant in (None, "gym", "shop"))
    with stage.worker():
        job_id = shop.submit()["id"]
        stage.ended(job_id)
        log = make_receivers(stage.settings).log
        eventually(lambda: log(everybodys) and log(shops), what="both delivered")
        assert log(gyms) == []

        seen = shop.get(f"/v1/videos/{job_id}/deliveries").json()["data"]
        assert [(line["receiver"], line["event"], line["delivered"]) for line in seen] == [
            (shops, "job.completed", True)
        ]
        again = shop.post(f"/v1/videos/{job_id}/redeliver").json()
        assert again["receivers"] == {shops: ["job.completed"]}
        eventually(lambda: len(log(shops)) == 2, what="the redelivery")
        assert len(log(everybodys)) == 1

    assert shop.post(f"/v1/videos/{job_id}/redeliver", {"receiver": everybodys}).json()["code"] == "not_found"
    for path in ("deliveries", "redeliver"):
        ask = gym.get if path == "deliveries" else gym.post
        assert ask(f"/v1/videos/{job_id}/{path}").json()["code"] == "not_found"
    for path in ("/v1/webhooks", f"/v1/webhooks/{shops}/deliveries"):
        assert shop.get(path).json()["code"] == "forbidden"


def test_a_receiver_may_follow_a_jobs_whole_way(
    stage: Stage, keyed_api: Api, client: "redis.Redis", receiver: WebhookServer
) -> None:
    """In the order in which it happened, each event under an id of its own; the list of endpoints names them."""
    office, shop = holder(keyed_api, client, "office", Scope.ADMIN), holder(keyed_api, client, "shop")
    events = ["job.accepted", "job.submitting", "job.submitted", "job.rendered", "job.storing", "job.completed"]
    wh = endpoint(stage, receiver, "shop", events=events)
    assert office.get("/v1/webhooks").json()["data"][0]["events"] == events
    with stage.worker():
        job_id = shop.submit()["id"]
        stage.ended(job_id)
        eventually(lambda: len(receiver.messages) == len(events), what="the last event")

    assert [message.type for message in receiver.messages] == events
    *steps, end = [message.id for message in receiver.messages]
    assert all(re.fullmatch(rf"{job_id}\.[a-z]+\.\d+", step) for step in steps)
    assert end == f"{job_id}.completed"
    log = shop.get(f"/v1/videos/{job_id}/events").json()["data"]
    turns = {entry["event"]: entry["turn"] for entry in log}
    assert steps == [f"{job_id}.{event.removeprefix('job.')}.{turns[event]}" for event in events[:-1]]
    seen = office.get(f"/v1/webhooks/{wh}/deliveries?delivered=true").json()["data"]
    assert [line["event"] for line in reversed(seen)] == events
    assert shop.get("/v1/events").json()["data"][0]["type"] == "job.completed"


def test_an_erased_job_shows_no_excerpt_and_cannot_be_redelivered(
    stage: Stage, keyed_api: Api, client: "redis.Redis", receiver: WebhookServer
) -> None:
    """The log of deliveries outlives the job; what it quotes of it must not."""
    office, shop = holder(keyed_api, client, "office", Scope.ADMIN), holder(keyed_api, client, "shop")
    wh = endpoint(stage, receiver)
    with stage.worker():
        job_id = shop.submit(metadata={"customer": "Ada Lovelace"})["id"]
        stage.ended(job_id)
        eventually(lambda: "Ada" in office.get(f"/v1/webhooks/{wh}/deliveries").text, what="a delivery that quotes")
    assert shop.delete(f"/v1/videos/{job_id}").ok

    (line,) = office.get(f"/v1/webhooks/{wh}/deliveries").json()["data"]
    assert (line["job_id"], line["status"], line["sent"], line["answer"]) == (job_id, 200, None, None)
    assert shop.get(f"/v1/videos/{job_id}/deliveries").json()["code"] == "erased"
    assert office.post(f"/v1/webhooks/{wh}/redeliver", {"job_id": job_id}).json()["code"] == "erased"


def test_what_cannot_be_done_says_why(stage: Stage, keyed_api: Api, client: "redis.Redis", tmp_path: Path) -> None:
    """No worker, no such endpoint, a disabled one, a job under way."""
    office, shop = holder(keyed_api, client, "office", Scope.ADMIN), holder(keyed_api, client, "shop")
    webhooks = make_webhooks(stage.settings)
    wh = webhooks.add("http://127.0.0.1:9/hook").id
    job_id = shop.submit()["id"]
    bought(Ledger(client), job_id)
    quick = stage.environment | {"RUSHES_API__LONGEST_WAIT_S": "0.2"}

    with Api.started(tmp_path, quick) as impatient:
        waiting = Api(impatient.url, impatient.log, office.key).post(f"/v1/webhooks/{wh}/test")
    assert (waiting.status_code, waiting.json()["object"]) == (202, "webhook.test")
    assert office.post(f"/v1/webhooks/{wh}/redeliver", {"job_id": job_id}).json()["code"] == "not_ended"
    assert office.post(f"/v1/webhooks/{wh}/redeliver", {"job_id": "job_4711"}).json()["code"] == "not_found"
    assert shop.post(f"/v1/videos/{job_id}/redeliver").json()["code"] == "not_ended"
    assert office.get("/v1/webhooks/wh_never/deliveries").json()["code"] == "not_found"
    webhooks.disable(wh)
    disabled = office.post(f"/v1/webhooks/{wh}/test")
    assert (disabled.status_code, disabled.json()["code"]) == (409, "endpoint_disabled")


def test_a_receiver_that_was_down_catches_up_with_the_same_body(
    stage: Stage, keyed_api: Api, client: "redis.Redis", receiver: WebhookServer
) -> None:
    """Under the same `webhook-id`, of its own tenant's jobs only."""
    shop, gym = holder(keyed_api, client, "shop"), holder(keyed_api, client, "gym")
    endpoint(stage, receiver, "shop")
    began = shop.get("/v1/events?after=latest").json()
    assert (began["data"], began["has_more"]) == ([], False)
    with stage.worker():
        job_id = shop.submit(metadata={"order": "4711"})["id"]
        stage.ended(job_id)
        eventually(lambda: receiver.messages, what="the webhook")

    caught_up = shop.get(f"/v1/events?after={began['next']}").json()
    (end,) = caught_up["data"]
    (message,) = receiver.messages
    assert (end["id"], end["type"], end["data"]) == (message.id, message.type, message.data)
    assert shop.get(f"/v1/events?after={caught_up['next']}").json()["data"] == []
    assert shop.get("/v1/events?type=job.failed").json()["data"] == []
    assert gym.get("/v1/events").json()["data"] == []


def test_a_cursor_that_is_too_old_says_what_to_do(keyed_api: Api, client: "redis.Redis") -> None:
    """And what it says is true: the list has what the event stream has not."""
    shop = holder(keyed_api, client, "shop")
    shop.submit("one that ends before")
    began = shop.get("/v1/events?after=latest").json()
    job_id = shop.submit()["id"]
    assert shop.post(f"/v1/videos/{job_id}/cancel").ok
    client.xtrim(STREAM, maxlen=1, approximate=False)

    answer = shop.get(f"/v1/events?after={began['next']}")

    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (410, "cursor_too_old", False)
    listed = re.search(r"GET (/v1/videos\?ended_from=[0-9.]+),", answer.json()["detail"])
    assert listed
    assert [job["id"] for job in shop.get(listed[1]).json()["data"]] == [job_id]
