"""Faults of submits, and whether they buy."""

import pytest
import requests

from tests.sandbox.harness import Sandbox

NOTHING_BOUGHT = ["400", "401", "403", "card", "moderation", "404", "429", "500", "502", "503", "504", "524"]


@pytest.mark.parametrize("kind", NOTHING_BOUGHT)
def test_a_refusal_buys_nothing(sandbox: Sandbox, kind: str) -> None:
    """Without `bought=yes` none buys."""
    reply = sandbox.submit(f"[sandbox: submit={kind}]")
    assert reply.status_code == (int(kind) if kind.isdecimal() else 403)
    assert sandbox.purchases()["total"] == 0


@pytest.mark.parametrize("kind", ["500", "502", "503", "504", "524"])
def test_a_5xx_may_hide_a_purchase(sandbox: Sandbox, kind: str) -> None:
    """So a 5xx on a submit is in doubt, not failed."""
    reply = sandbox.submit(f"[sandbox: submit={kind} bought=yes]", name="job-1")
    assert reply.status_code == int(kind)
    assert sandbox.purchases()["by_client_request_id"] == {"job-1": 1}


def test_a_429_comes_with_or_without_retry_after(sandbox: Sandbox) -> None:
    """The service has not been seen to send it, but a client must obey it."""
    assert "retry-after" not in sandbox.submit("[sandbox: submit=429]").headers
    assert sandbox.submit("[sandbox: submit=429 retry_after=2]").headers["retry-after"] == "2"


def test_times_counts_the_troubles_down(sandbox: Sandbox) -> None:
    """Each prompt has its own count: the third try of the first succeeds."""
    prompt = "A dragon [sandbox: submit=429 times=2]"
    assert [sandbox.submit(prompt).status_code for _ in range(3)] == [429, 429, 201]
    assert sandbox.submit(f"{prompt}!").status_code == 429


def test_a_524_is_a_page_of_html(sandbox: Sandbox) -> None:
    """A proxy sends it."""
    reply = sandbox.submit("[sandbox: submit=524]")
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.text.startswith("<!DOCTYPE html>")


def test_errors_come_in_the_envelopes_of_two_years(sandbox: Sandbox) -> None:
    """The real service uses both."""
    new = sandbox.submit("[sandbox: submit=503]")
    assert new.headers["content-type"] == "application/problem+json"
    assert (new.json()["status"], new.json()["error"]["name"]) == (503, "ServiceUnavailableException")
    old = sandbox.submit("[sandbox: submit=503 envelope=2025]")
    assert (old.json()["statusCode"], old.json()["path"]) == (503, "/v2/video/generations")


@pytest.mark.parametrize(("kind", "says"), [("403", "err_insufficent_credits"), ("card", "err_unverified_card")])
def test_a_403_says_what_kind_it_is(sandbox: Sandbox, kind: str, says: str) -> None:
    """A code says it, not the message."""
    assert sandbox.submit(f"[sandbox: submit={kind}]").json()["error"]["data"] == {"kind": says}


@pytest.mark.parametrize(("bought", "total"), [("yes", 1), ("no", 0)])
def test_a_dropped_reply_looks_the_same_bought_or_not(sandbox: Sandbox, bought: str, total: int) -> None:
    """The client sees a reset in both cases."""
    with pytest.raises(requests.ConnectionError):
        sandbox.submit(f"[sandbox: submit=drop bought={bought}]", name="job-1")
    assert sandbox.purchases()["total"] == total
    assert sandbox.counters()["unanswered"] >= 1


@pytest.mark.parametrize(("bought", "total"), [("yes", 1), ("no", 0)])
def test_a_hang_looks_the_same_bought_or_not(sandbox: Sandbox, bought: str, total: int) -> None:
    """The client times out in both cases."""
    with pytest.raises(requests.ReadTimeout):
        sandbox.submit(f"[sandbox: submit=hang bought={bought} seconds=30]", timeout_s=0.3)
    assert sandbox.purchases()["total"] == total


def test_a_hang_that_ends_answers_after_all(sandbox: Sandbox) -> None:
    """A client that waits gets the receipt, or a reset if nothing was bought."""
    assert sandbox.submit("[sandbox: submit=hang seconds=0.2]").status_code == 201
    with pytest.raises(requests.ConnectionError):
        sandbox.submit("[sandbox: submit=hang seconds=0.2 bought=no]")


def test_a_slow_reply_comes_in_pieces(sandbox: Sandbox) -> None:
    """Each piece arrives within the read time-out, so only a total time-out ends it."""
    reply = sandbox.submit("[sandbox: submit=slow seconds=0.5]", timeout_s=0.4)
    assert reply.json()["status"] == "queued"
    assert reply.elapsed.total_seconds() < 0.4


@pytest.mark.parametrize("kind", ["malformed", "empty"])
def test_a_spoilt_receipt_is_a_2xx_that_was_bought(sandbox: Sandbox, kind: str) -> None:
    """The body has no readable id."""
    reply = sandbox.submit(f"[sandbox: submit={kind}]")
    assert reply.ok
    with pytest.raises(requests.JSONDecodeError):
        reply.json()
    assert sandbox.purchases()["total"] == 1


def test_receipts_come_in_every_format(sandbox: Sandbox) -> None:
    """The id or the usage may be missing or have another name."""
    receipts = {
        kind: sandbox.submit(f"[sandbox: submit={kind}]")
        for kind in ("no_id", "generation_id", "no_meta", "tokens_used", "no_usd")
    }
    bodies = {kind: receipt.json() for kind, receipt in receipts.items()}
    assert "id" not in bodies["no_id"]
    assert "x-inference-id" not in receipts["no_id"].headers
    assert "id" not in bodies["generation_id"]
    assert bodies["generation_id"]["generation_id"] == receipts["generation_id"].headers["x-inference-id"]
    assert "meta" not in bodies["no_meta"]
    assert bodies["tokens_used"]["meta"]["usage"] == {"tokens_used": 8_320_000}
    assert bodies["no_usd"]["meta"]["usage"] == {"credits_used": 8_320_000}
    assert sandbox.purchases()["total"] == 5
