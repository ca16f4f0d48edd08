"""Webhooks over real HTTP: signed as Standard Webhooks says, sent where they may be, judged by their status."""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from config.settings import WebhooksSettings
from config.webhook_endpoints import secret_of
from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.events import ENDS
from jobs.job import Charged, Reason, Stored, VideoRequest
from jobs.payloads import message_id, payload
from jobs.states import State
from jobs.test_deliveries import made_up, new_test_delivery_id
from tests.worker.servers import REFUSING, Server, answer, hang, reset, slow_handshake
from worker.receivers.webhooks import WebhookReceiver, WebhookSender, signed

KEY: Final = b"k" * 32
SECRET: Final = secret_of(KEY, "wh_1", 1)
OLD: Final = secret_of(KEY, "wh_1", 0)
BODY: Final = '{"type":"job.completed"}'
MADE_UP: Final = made_up(new_test_delivery_id(), now=1_800_000_000.0)
JOB: Final = MADE_UP[0].model_copy(
    update={"id": "job_1", "stored": Stored("a/job_1.mp4", 7, "ab", "video/mp4"), "cost_usd": 2.52}
)
REQUEST: Final = VideoRequest("google/veo3", "a secret prompt", {}, {"order": "4711"})
DELIVERY: Final = Delivery("wh_1", "job_1", "job.completed", event_turn=1, at=1_800_000_000, tries=0)


def sender(*, connect_s: float = 2, **settings: Any) -> WebhookSender:
    """A sender that may call this machine, unless the test forbids it."""
    chosen = {"allow_private": True, "timeout_s": 2} | settings
    return WebhookSender(WebhooksSettings.model_validate(chosen), connections=2, connect_s=connect_s)


def send(url: str, secrets: Sequence[str] = (SECRET,), **settings: Any) -> Outcome:
    """Send one request."""
    return sender(**settings).send(url, "job_1.completed", BODY, secrets, now=datetime.now(UTC))


# -- signed ---------------------------------------------------------------------------------------------------------


def test_the_librarys_own_verifier_accepts_what_arrives(server: Server) -> None:
    """Receivers verify with a library in their own language: what comes over the wire is what counts."""
    server.on(answer())
    assert send(server.url) == Delivered(
        "answered 200", 200, f"POST {server.url} webhook-id: job_1.completed {BODY}", answer=""
    )

    (posted,) = server.received
    assert Webhook(SECRET).verify(posted.body, posted.headers) == {"type": "job.completed"}
    assert (posted.method, posted.headers["content-type"]) == ("POST", "application/json")
    for wrong in (posted.body + b" ", b"{}"):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(wrong, posted.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(KEY, "wh_2", 1)).verify(posted.body, posted.headers)


@pytest.mark.parametrize("traceparent", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_a_webhook_carries_on_the_trace_that_its_request_brought(server: Server, traceparent: str | None) -> None:
    """As W3C asks of those who add no span; a request without a trace starts none."""
    server.on(answer())
    job = JOB.model_copy(update={"traceparent": traceparent})
    WebhookReceiver(sender(), server.url, [SECRET]).deliver(DELIVERY, job, REQUEST)
    assert server.received[0].headers.get("traceparent") == traceparent


def test_while_a_secret_is_rotated_both_verify() -> None:
    """The receiver changes over when it likes."""
    headers = signed("job_1.completed", BODY, [SECRET, OLD], now=datetime.now(UTC))
    for secret in (SECRET, OLD):
        Webhook(secret).verify(BODY, headers)
    assert len(headers["webhook-signature"].split()) == 2


def test_a_request_that_is_played_again_later_is_refused() -> None:
    """The signature covers the time at which it was sent, anew with each try."""
    headers = signed("job_1.completed", BODY, [SECRET], now=datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(BODY, headers)


def test_secrets_derive_from_the_deployments_key() -> None:
    """None is kept in Redis; each name and each generation has another, the same on every host."""
    derived = {secret_of(key, name, n) for key in (KEY, b"z" * 32) for name in ("wh_1", "wh_2") for n in (1, 2)}
    assert len(derived) == 8
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in derived)
    assert secret_of(KEY, "wh_1", 1) == SECRET


# -- sent -----------------------------------------------------------------------------------------------------------


def test_the_payload_is_thin() -> None:
    """It says which job ended and how; what was requested is the customer's own and stays here."""
    body = payload("job.completed", JOB, REQUEST, public_url="https://rushes.example/")
    assert body == {
        "type": "job.completed",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {
            "id": "job_1",
            "object": "video",
            "status": "completed",
            "model": "google/veo3",
            "metadata": {"order": "4711"},
            "created_at": "2027-01-15T08:00:00.000Z",
            "completed_at": "2027-01-15T08:00:00.000Z",
            "cost_usd": 2.52,
            "charged": "no",
            "video": {
                "content_url": "https://rushes.example/v1/videos/job_1/content",
                "size_bytes": 7,
                "sha256": "ab",
                "content_type": "video/mp4",
            },
            "error": None,
        },
    }


def test_a_failed_job_says_why_and_whether_it_was_charged() -> None:
    """The receiver's own books depend on it."""
    failed = JOB.model_copy(
        update={
            "state": State.FAILED,
            "stored": None,
            "reason": Reason.REFUSED,
            "message": "no",
            "charged": Charged.UNKNOWN,
        }
    )
    data = payload("job.failed", failed, REQUEST)["data"]
    assert (data["error"], data["charged"], data["video"]) == (
        {"code": "refused", "message": "no"},
        "unknown",
        None,
    )


def test_the_id_is_the_same_for_every_try_of_an_event_and_another_for_another(server: Server) -> None:
    """By it a receiver knows what it has had already."""
    server.on(answer(status="500 No"))
    receiver = WebhookReceiver(sender(), server.url, [SECRET])
    for delivery in (DELIVERY, replace(DELIVERY, event_turn=9, tries=3), replace(DELIVERY, event="job.fetched_late")):
        receiver.deliver(delivery, JOB, REQUEST)
    assert [request.headers["webhook-id"] for request in server.received] == [
        "job_1.completed",
        "job_1.completed",
        "job_1.fetched_late",
    ]


@pytest.mark.parametrize("event", ["job.held", "job.submitted", "job.rendered", "job.needs_attention"])
def test_an_event_that_is_no_end_has_its_own_time_and_its_turn_in_its_id(server: Server, event: str) -> None:
    """It may happen again, and is delivered after it happened: the job in the body may be further by then."""
    server.on(answer())
    receiver = WebhookReceiver(sender(), server.url, [SECRET])
    first = replace(DELIVERY, event=event, event_turn=3, at=1_800_000_042.5)
    for delivery in (first, replace(first, tries=1), replace(first, event_turn=7, at=1_800_000_060)):
        receiver.deliver(delivery, JOB, REQUEST)

    name = f"job_1.{event.removeprefix('job.')}"
    assert [request.headers["webhook-id"] for request in server.received] == [f"{name}.3", f"{name}.3", f"{name}.7"]
    bodies = [json.loads(request.body) for request in server.received]
    assert {body["type"] for body in bodies} == {event}
    assert [body["timestamp"] for body in bodies] == [
        "2027-01-15T08:00:42.500Z",
        "2027-01-15T08:00:42.500Z",
        "2027-01-15T08:01:00.000Z",
    ]
    assert bodies[0]["data"]["status"] == "completed"


@pytest.mark.parametrize("event", ENDS)
def test_an_ends_time_is_the_jobs_end_however_late_it_is_delivered(server: Server, event: str) -> None:
    """The body is the same at each try, at a redelivery, and in `GET /v1/events`."""
    server.on(answer())
    WebhookReceiver(sender(), server.url, [SECRET]).deliver(
        replace(DELIVERY, event=event, event_turn=9, at=1_800_009_999), JOB, REQUEST
    )
    (posted,) = server.received
    assert json.loads(posted.body) == payload(event, JOB, REQUEST)
    assert posted.headers["webhook-id"] == message_id("job_1", event)


def test_a_request_brings_its_own_address(server: Server) -> None:
    """Where no endpoint is known, the job's own is called."""
    server.on(answer())
    receiver = WebhookReceiver(sender(), None, [SECRET])
    assert isinstance(receiver.deliver(DELIVERY, JOB, replace(REQUEST, webhook_url=f"{server.url}/own")), Delivered)
    assert server.received[0].target == "/own"
    assert receiver.deliver(DELIVERY, JOB, REQUEST) == NotDelivered("the request names no address", never=True)


def test_without_a_key_nothing_is_sent(server: Server) -> None:
    """An unsigned request would teach receivers to accept unsigned requests."""
    outcome = WebhookReceiver(sender(), server.url, []).deliver(DELIVERY, JOB, REQUEST)
    assert outcome == NotDelivered("there is no key to sign with (RUSHES_WEBHOOKS__KEYS)")
    assert server.received == []


def test_an_addresss_query_is_in_no_log(server: Server) -> None:
    """The query may hold a receiver's token."""
    server.on(answer())
    outcome = send(f"{server.url}/hook?token=hunter2")
    assert server.received[0].target == "/hook?token=hunter2"
    assert "hunter2" not in str(outcome)


# -- to public addresses only ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "169.254.169.254"])
def test_no_private_address_is_called_unless_a_setting_allows_it(server: Server, host: str) -> None:
    """An address that a stranger names must not reach what only this network can see."""
    port = server.url.rpartition(":")[2]
    outcome = send(f"https://{host}:{port}/", allow_private=False)
    assert isinstance(outcome, NotDelivered)
    assert outcome.message == "its address is not a public one (RUSHES_WEBHOOKS__ALLOW_PRIVATE)"
    assert (server.connections, send(f"http://{host}:{port}/", allow_private=False).message[:10]) == (0, "plain http")


def test_a_name_that_turns_private_between_question_and_connection_is_not_called(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was judged is the one that is used: there is no second question to answer otherwise."""
    nobodys = "192.31.196.1"  # public, and kept for what has no owner
    answers = iter([nobodys, "127.0.0.1", "127.0.0.1"])
    port = int(server.url.rpartition(":")[2])
    real, asked = socket.getaddrinfo, []

    def resolve(host: str, *rest: Any, **named: Any) -> list[Any]:
        if host != "rebinding.example":
            return real(host, *rest, **named)
        asked.append(next(answers))
        return real(asked[-1], *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = send(f"https://rebinding.example:{port}/", allow_private=False, connect_s=0.3)
    assert isinstance(outcome, NotDelivered)
    assert (asked, server.connections) == ([nobodys], 0)
    assert "not a public one" not in outcome.message


def test_a_handshake_that_trickles_frees_the_slot_in_time() -> None:
    """The bound holds for the whole of a connection, and not anew for each byte of it."""
    began = time.monotonic()
    with slow_handshake() as port:
        assert isinstance(send(f"https://127.0.0.1:{port}/", connect_s=1), NotDelivered)
    assert time.monotonic() - began < 4


# -- judged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
def test_any_2xx_means_delivered(server: Server, status: str) -> None:
    """The Standard Webhooks specification says so."""
    server.on(answer(status=status))
    assert isinstance(send(server.url), Delivered)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary", "400 Bad", "404 None", "500 No", "502 No"]
)
def test_anything_else_is_a_failure_and_a_redirect_is_not_followed(
    server: Server, other_server: Server, status: str
) -> None:
    """Where it led, nobody has agreed to be called."""
    server.on(answer(b"<html>", status=status, Location=f"{other_server.url}/"))
    outcome = send(server.url)
    assert isinstance(outcome, NotDelivered)
    assert (outcome.status, outcome.answer, outcome.unwanted) == (int(status[:3]), "<html>", False)
    assert other_server.connections == 0


def test_gone_means_that_nothing_more_is_wanted(server: Server) -> None:
    """410 is how a receiver unsubscribes."""
    server.on(answer(status="410 Gone"))
    outcome = send(server.url)
    assert isinstance(outcome, NotDelivered)
    assert outcome.unwanted


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("999999", 86_400), ("soon", None), ("Fri, 01 Jan 2021 00:00:00 GMT", 0), ("²", None)],
)
def test_retry_after_is_obeyed_up_to_a_day(server: Server, said: str, seconds: float | None) -> None:
    """A receiver that says when it will be back is not called before; nonsense is ignored."""
    server.on(answer(status="503 Busy", Retry_After=said))
    outcome = send(server.url)
    assert isinstance(outcome, NotDelivered)
    assert outcome.retry_after_s == seconds


@pytest.mark.parametrize("act", [hang, reset, lambda wire: wire.trickle(b"HTTP/1.1 200 OK\r\nX: y\r\n")])
def test_a_receiver_that_hangs_resets_or_trickles_is_a_failure_in_bounded_time(server: Server, act: Any) -> None:
    """One thread waits for it, no longer than its timeout."""
    server.on(act)
    outcome = send(server.url, timeout_s=0.5)
    assert isinstance(outcome, NotDelivered)
    assert outcome.message.startswith("no answer (")


def test_an_endless_answer_is_read_no_further_than_an_excerpt(server: Server) -> None:
    """It has received the event, whatever its reply says."""
    server.on(answer(b"x" * 1_000_000))
    outcome = send(server.url)
    assert isinstance(outcome, Delivered)
    assert outcome.answer == "x" * 500


@pytest.mark.parametrize(
    "url", [REFUSING, "http://no-such-host.invalid/", "http://[::1", "http://a..b/", "https://x" * 300]
)
def test_an_address_that_leads_nowhere_is_a_failure(url: str) -> None:
    """It is an outcome, never an exception."""
    assert isinstance(send(url), NotDelivered)


def test_a_certificate_that_nobody_signed_is_refused_unless_it_is_known(
    secured_server: Server, certificate: Path
) -> None:
    """A signed message does not help if it goes to a stranger."""
    secured_server.on(answer())
    assert isinstance(send(secured_server.url), NotDelivered)
    assert isinstance(send(secured_server.url, ca_bundle=certificate), Delivered)


def test_the_schedule_is_longer_than_a_day_and_varied() -> None:
    """A receiver that is away over a weekend misses nothing, and they do not all come back at one moment."""
    receiver = WebhookReceiver(sender(), "https://x.example", [SECRET])
    waits = [receiver.retries.wait_s(failures, spread=0.5) for failures in range(1, 11)]
    known = [wait for wait in waits if wait is not None]
    assert sum(known) > 2 * 86_400
    assert (len(known), waits[-1]) == (9, None)
    assert receiver.retries.wait_s(1, spread=0) == pytest.approx(4)
    assert receiver.retries.wait_s(1, spread=1) == pytest.approx(6)
