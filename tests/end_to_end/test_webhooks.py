"""Webhooks from end to end: a real worker, receivers that verify, and trouble of each kind."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from jobs.job import Terms
from jobs.states import State
from producer.ends import EndsRead
from producer.receivers import make_receivers
from producer.webhooks import make_webhooks
from tests.receivers import WebhookServer
from tests.stage import Stage, a_request, eventually


@pytest.fixture
def receiver() -> Iterator[WebhookServer]:
    """A customer's server."""
    with WebhookServer.started() as started:
        yield started


@pytest.fixture
def other_receiver() -> Iterator[WebhookServer]:
    """Another customer's server."""
    with WebhookServer.started() as started:
        yield started


@pytest.fixture(autouse=True)
def _signing(stage: Stage) -> None:
    stage.environment |= {
        "RUSHES_WEBHOOKS__KEYS": "k" * 32,
        "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true",
        "RUSHES_WEBHOOKS__RETRY_S": "0.2,0.2,0.4,1,1,1,1,1,1,1,1,1",
    }


def add(stage: Stage, receiver: WebhookServer, *events: str) -> str:
    """Make the receiver an endpoint, with its secret in its own configuration."""
    webhooks = make_webhooks(stage.settings)
    endpoint = webhooks.add(receiver.url, events=events)
    receiver.secret = webhooks.secrets(endpoint.id).current
    return endpoint.id


def test_an_endpoint_receives_every_end_and_can_verify_it(
    stage: Stage, receiver: WebhookServer, other_receiver: WebhookServer
) -> None:
    """A filter chooses the events; the video is stored before its event is delivered."""
    add(stage, receiver)
    add(stage, other_receiver, "job.failed")
    with stage.worker():
        done = stage.ended(stage.service.submit(a_request("a clip")).job_id)
        failed = stage.ended(stage.service.submit(a_request("clip [sandbox: error=face]")).job_id)
        eventually(lambda: len(receiver.messages) == 2 and other_receiver.messages)

    messages = {message.id: message for message in receiver.messages}
    assert set(messages) == {f"{done.id}.completed", f"{failed.id}.failed"}
    assert done.stored is not None
    assert messages[f"{done.id}.completed"].data["video"]["sha256"] == done.stored.sha256
    assert [message.id for message in other_receiver.messages] == [f"{failed.id}.failed"]
    assert receiver.forged == other_receiver.forged == 0


def test_a_slow_receiver_delays_no_video_and_no_other_receiver(
    stage: Stage, receiver: WebhookServer, other_receiver: WebhookServer
) -> None:
    """It blocks only its few slots."""
    add(stage, receiver)
    add(stage, other_receiver)
    receiver.go_on.clear()
    with stage.worker(threads=8):
        jobs = {stage.service.submit(a_request(f"clip {n}")).job_id for n in range(20)}
        assert {stage.ended(job_id).state for job_id in jobs} == {State.COMPLETED}
        eventually(lambda: other_receiver.jobs() == jobs, what="the quick receiver")
        assert receiver.calls <= 4, "no more than its slots"

        receiver.go_on.set()
        eventually(lambda: receiver.jobs() == jobs, within_s=60, what="the slow receiver")


def test_slow_receivers_of_one_tenant_delay_no_other_tenants_and_no_row(
    stage: Stage, receiver: WebhookServer, other_receiver: WebhookServer
) -> None:
    """Twelve that take long hold a quarter of the threads that deliver, whatever a request names besides."""
    stage.environment["RUSHES_SQL__ENABLED"] = "true"
    webhooks = make_webhooks(stage.settings)
    for _ in range(12):
        webhooks.add(receiver.url, tenant="attacker")
    webhooks.add(other_receiver.url, tenant="shop")
    receiver.go_on.clear()
    with stage.worker(threads=16, RUSHES_WORKER__THREADS="16", RUSHES_WEBHOOKS__TIMEOUT_S="60"):
        request = replace(a_request(), webhook_url=receiver.url)
        stage.ended(stage.service.submit(request, Terms(tenant="attacker")).job_id)
        eventually(lambda: receiver.calls == 2, what="the slow receivers' share")

        stage.ended(stage.service.submit(a_request(), Terms(tenant="shop")).job_id)
        eventually(lambda: other_receiver.calls, within_s=10, what="the other tenant's webhook")
        eventually(lambda: not make_receivers(stage.settings).waiting().get("sql"), within_s=10, what="the row")
        assert receiver.calls == 2

        receiver.go_on.set()
        eventually(lambda: not _waiting(stage), within_s=60, what="the slow receivers' deliveries")
    assert receiver.calls == 13


@pytest.mark.long
def test_a_receiver_that_was_down_misses_nothing_and_knows_what_it_had(stage: Stage, receiver: WebhookServer) -> None:
    """Each try carries the same `webhook-id`."""
    endpoint = add(stage, receiver)
    receiver.status = 503
    with stage.worker(threads=8):
        jobs = {stage.service.submit(a_request(f"clip {n}")).job_id for n in range(4)}
        for job_id in jobs:
            stage.ended(job_id)
        eventually(lambda: receiver.calls > 4)
        receiver.status = 200
        eventually(lambda: not _waiting(stage), within_s=60)

    assert {message.id for message in receiver.messages} == {f"{job_id}.completed" for job_id in jobs}
    log = make_receivers(stage.settings).log(endpoint, limit=100)
    assert {line.status for line in log} == {200, 503}
    assert log[0].answer == "ok"


def test_a_request_can_bring_its_own_address(stage: Stage, receiver: WebhookServer) -> None:
    """The address receives this job only, and the upstream never sees it."""
    receiver.secret = make_webhooks(stage.settings).secrets("webhook_url").current
    with stage.worker():
        said = stage.rushes("submit", "a clip", "--webhook-url", receiver.url)
        assert said.returncode == 0, said.stderr
        stage.ended(stage.service.submit(a_request("another")).job_id)
        eventually(lambda: receiver.jobs() == {said.stdout.strip()})

    assert stage.service.get(said.stdout.strip()).request.body() == {"model": "google/veo3", "prompt": "a clip"}


@pytest.mark.long
def test_an_endpoint_that_is_gone_or_fails_for_too_long_is_disabled_loudly(
    stage: Stage, receiver: WebhookServer, other_receiver: WebhookServer
) -> None:
    """Nobody is called for ever; a person enables it again, and what waited is delivered."""
    gone, failing = add(stage, receiver), add(stage, other_receiver)
    receiver.status, other_receiver.status = 410, 500
    with stage.worker(RUSHES_WEBHOOKS__DISABLE_AFTER_S="1") as worker:
        job_id = stage.ended(stage.service.submit(a_request()).job_id).id
        webhooks = make_webhooks(stage.settings)
        eventually(lambda: all(endpoint.disabled_at for endpoint in webhooks.all()), what="both disabled")
        eventually(lambda: worker.said().count("webhook.disabled") == 2)
        assert "answered 410" in (webhooks.get(gone).disabled_why or "")
        assert receiver.calls == 1

        other_receiver.status = 200
        missed = stage.ended(stage.service.submit(a_request("meanwhile")).job_id).id
        enabled = stage.rushes("webhooks", "enable", failing)
        assert enabled.returncode == 0
        eventually(lambda: other_receiver.messages[-1].id == f"{job_id}.completed" and not _waiting(stage))

    assert missed not in other_receiver.jobs()
    cursor = enabled.stdout.strip().rpartition("after=")[2]
    caught_up = stage.service.ends.after(cursor, limit=10)
    assert isinstance(caught_up, EndsRead)
    assert missed in [end.job.id for end in caught_up.ends]


def test_secrets_are_rotated_while_both_are_valid(stage: Stage, receiver: WebhookServer) -> None:
    """A receiver that still has the old secret finds no message forged."""
    endpoint = add(stage, receiver)
    old = receiver.secret
    rotated = json.loads(stage.rushes("webhooks", "rotate", endpoint, "--json").stdout)
    assert rotated["secret"] != old
    with stage.worker():
        first = stage.ended(stage.service.submit(a_request()).job_id)
        eventually(lambda: receiver.jobs() == {first.id})
        receiver.secret = rotated["secret"]
        second = stage.ended(stage.service.submit(a_request()).job_id)
        eventually(lambda: second.id in receiver.jobs())
    assert receiver.forged == 0


@pytest.mark.long
def test_the_command_line_adds_tests_shows_and_removes(stage: Stage, receiver: WebhookServer) -> None:
    """These commands cover an operator's first quarter of an hour."""
    added = json.loads(stage.rushes("webhooks", "add", receiver.url, "--description", "shop", "--json").stdout)
    receiver.secret = added["secret"]
    with stage.worker():
        assert stage.rushes("webhooks", "test", added["id"]).returncode == 0
        assert [message.type for message in receiver.messages] == ["job.test"]
        job_id = stage.ended(stage.service.submit(a_request()).job_id).id
        eventually(lambda: job_id in receiver.jobs())
        assert stage.rushes("webhooks", "redeliver", added["id"], job_id).returncode == 0
        eventually(lambda: [message.id for message in receiver.messages].count(f"{job_id}.completed") == 2)

    lines = json.loads(stage.rushes("webhooks", "deliveries", added["id"], "--json").stdout)
    assert (lines[0]["status"], f"webhook-id: {job_id}.completed" in lines[0]["sent"]) == (200, True)
    assert added["secret"] not in json.dumps(lines)
    assert "shop" in stage.rushes("webhooks", "list").stdout
    standing = {entry.name: entry.known for entry in make_receivers(stage.settings).receivers()}
    assert standing == {added["id"]: True}
    assert stage.rushes("webhooks", "secret", added["id"]).stdout.strip() == added["secret"]
    assert stage.rushes("webhooks", "remove", added["id"]).returncode == 0
    assert stage.rushes("webhooks", "test", added["id"]).returncode == 5


def test_what_cannot_be_called_is_refused_in_a_sentence(stage: Stage) -> None:
    """Else a job would be paid for whose end nobody receives."""
    del stage.environment["RUSHES_WEBHOOKS__ALLOW_PRIVATE"]
    assert "https://" in stage.rushes("webhooks", "add", "http://a.example").stderr
    assert "job.completed" in stage.rushes("webhooks", "add", "https://a.example", "--event", "finished").stderr
    del stage.environment["RUSHES_WEBHOOKS__KEYS"]
    assert stage.rushes("webhooks", "add", "https://a.example").returncode == 9
    refused = stage.rushes("submit", "a clip", "--webhook-url", "https://a.example")
    assert (refused.returncode, "RUSHES_WEBHOOKS__KEYS" in refused.stderr) == (7, True)
    assert stage.rushes("submit", "a clip", "--webhook-url", "ftp://a.example").returncode == 7


def test_no_secret_is_in_redis_or_in_the_log(stage: Stage, receiver: WebhookServer) -> None:
    """A person who reads the ledger can forge no request to a customer."""
    add(stage, receiver)
    with stage.worker(RUSHES_LOG__LEVEL="DEBUG") as worker:
        stage.ended(stage.service.submit(a_request()).job_id)
        eventually(lambda: receiver.messages)
        said = worker.said()

    held = json.dumps({key: str(_dump(stage, key)) for key in stage.client.scan_iter(count=1000)})
    for secret in (receiver.secret, receiver.secret.removeprefix("whsec_"), "k" * 32):
        assert secret not in said
        assert secret not in held


def _waiting(stage: Stage) -> dict[str, int]:
    return make_receivers(stage.settings).waiting()


def _dump(stage: Stage, key: str) -> object:
    readers: dict[str, Callable[[str], object]] = {
        "hash": stage.client.hgetall,
        "string": stage.client.get,
        "stream": stage.client.xrange,
        "list": lambda name: stage.client.lrange(name, 0, -1),
        "zset": lambda name: stage.client.zrange(name, 0, -1),
        "set": stage.client.smembers,
    }
    return readers[str(stage.client.type(key))](key)
