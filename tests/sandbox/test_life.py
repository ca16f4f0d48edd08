"""A generation's life as a client sees it: bought, queued, generating, completed, downloaded."""

import re
from collections.abc import Iterator
from itertools import groupby

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.harness import ANY_PATH, GOOGLE_PATH, QUICK, Sandbox, until

NANOID = re.compile(r"[\w-]{21}")


def test_a_submit_answers_with_an_id_and_the_price(sandbox: Sandbox) -> None:
    """Body and headers agree, so that a client may read either."""
    reply = sandbox.submit(name="job-1.attempt:1")
    assert reply.status_code == 201
    body = reply.json()
    assert body["status"] == "queued"
    assert body["meta"] == {"usage": {"credits_used": 8_320_000, "usd_spent": 4.16}}
    assert reply.headers["x-inference-id"] == body["id"]
    assert reply.headers["x-client-request-id"] == "job-1.attempt:1"
    assert reply.headers["x-aimlapi-credits-used"] == "8320000"
    assert reply.headers["x-aimlapi-usd-spent"] == "4.16"


@pytest.mark.parametrize("path", [ANY_PATH, GOOGLE_PATH])
def test_both_pairs_of_paths_lead_to_a_video(sandbox: Sandbox, path: str) -> None:
    """The older path is still documented, and the seed program uses it."""
    generation_id = sandbox.bought(path=path)
    body = sandbox.poll(generation_id, path).json()
    assert body["status"] == "completed"
    assert sandbox.download(body["video"]["url"]).headers["content-type"] == "video/mp4"


def test_a_generation_passes_through_the_phases_in_order(start: Start) -> None:
    """Queued, generating, completed; never backwards."""
    sandbox = start("--time-scale=30", "--latency-sigma=0", "--latency-median-s=60", "--render=shared")
    generation_id = sandbox.bought()

    def words() -> Iterator[str]:
        while True:
            status = str(sandbox.poll(generation_id).json()["status"])
            yield status
            if status == "completed":
                return

    assert [word for word, _ in groupby(words())] == ["queued", "generating", "completed"]


def test_ids_come_in_every_form_and_all_can_be_polled(sandbox: Sandbox) -> None:
    """Ids have colons, slashes and leading dashes, which a client must escape."""
    ids = [sandbox.bought() for _ in range(60)]
    assert len(set(ids)) == 60
    for form in (
        lambda i: i.endswith(":veo3"),
        lambda i: i.endswith(":google/veo3"),
        lambda i: bool(NANOID.fullmatch(i)) and not i.startswith("-"),
        lambda i: bool(NANOID.fullmatch(i)) and i.startswith("-"),
        lambda i: i.isdecimal(),
        lambda i: i.startswith("cgt-"),
    ):
        example = next(i for i in ids if form(i))
        assert sandbox.poll(example).json()["id"] == example


def test_the_same_seed_gives_the_same_ids(sandbox: Sandbox, start: Start) -> None:
    """A failing run can be repeated; another seed gives other ids."""
    drawn = [sandbox.bought() for _ in range(5)]
    again, other = start(*QUICK), start(*QUICK, "--seed=2")
    assert [again.bought() for _ in range(5)] == drawn
    assert [other.bought() for _ in range(5)] != drawn


def test_the_same_request_id_buys_twice(sandbox: Sandbox) -> None:
    """The id correlates and does not deduplicate, so a blind second POST costs money."""
    first, second = (sandbox.bought(name="job-7") for _ in range(2))
    assert first != second
    assert sandbox.purchases()["by_client_request_id"] == {"job-7": 2}
    assert sandbox.purchases()["bought_twice"] == {"job-7": 2}


@pytest.mark.parametrize("malformed", ["with space", "x" * 129, "sla/sh"])
def test_a_malformed_request_id_is_dropped_and_billed(sandbox: Sandbox, malformed: str) -> None:
    """The service reports no error, so a client must get it right."""
    reply = sandbox.submit(name=malformed)
    assert reply.status_code == 201
    assert "x-client-request-id" not in reply.headers
    assert sandbox.purchases()["without_client_request_id"] == 1


def test_an_unknown_id_is_not_found(sandbox: Sandbox) -> None:
    """The message is the real service's."""
    reply = sandbox.poll("nobody")
    assert (reply.status_code, reply.json()["message"]) == (404, "Inference not found")


def test_no_id_at_all_is_answered_with_unknown(sandbox: Sandbox) -> None:
    """It is a 200 with an error in it, as in the real service."""
    reply = sandbox.get(ANY_PATH)
    assert (reply.status_code, reply.json()["status"]) == (200, "unknown")


@pytest.mark.parametrize("key", [None, "another"])
def test_without_the_key_there_is_only_a_401(sandbox: Sandbox, key: str | None) -> None:
    """The error has the envelope of 2025, as in the real service, and nothing is bought."""
    body = {"model": "google/veo3", "prompt": "x"}
    for reply in (
        sandbox.post(ANY_PATH, body, key=key),
        sandbox.get(ANY_PATH, key=key, generation_id="x"),
        sandbox.get("/v2/logs", key=key),
        sandbox.get("/v2/billing", key=key),
    ):
        assert reply.status_code == 401
        assert reply.json()["statusCode"] == 401
    assert sandbox.purchases()["total"] == 0


def test_strict_paths_keep_the_two_apart(start: Start) -> None:
    """It is unknown whether the real service finds an id on the other path; strict is the worse case."""
    sandbox = start(*QUICK, "--strict-paths")
    generation_id = sandbox.bought(path=GOOGLE_PATH)
    assert sandbox.poll(generation_id, ANY_PATH).status_code == 404
    assert sandbox.poll(generation_id, GOOGLE_PATH).json()["status"] == "completed"


def test_a_url_expires_and_the_next_poll_has_a_fresh_one(start: Start) -> None:
    """A valid URL stays the same; a poll after its expiry returns another."""
    sandbox = start(*QUICK, "--url-life-s=0.4")
    generation_id = sandbox.bought()
    first = sandbox.finished(generation_id)["video"]["url"]
    assert sandbox.download(first).status_code == 200
    until(lambda: True if sandbox.download(first).status_code == 403 else None)
    second = sandbox.finished(generation_id)["video"]["url"]
    assert second != first
    assert sandbox.download(second).status_code == 200


def test_a_made_up_url_is_not_found(sandbox: Sandbox) -> None:
    """Only issued URLs lead to a video."""
    url = sandbox.video_url()
    assert sandbox.download(url.replace("-", "-f")).status_code == 404
    assert sandbox.download(url.rsplit("/", 1)[0] + "/output.mp4").status_code == 404


def test_a_key_that_is_sent_to_the_cdn_is_noticed(sandbox: Sandbox) -> None:
    """The CDN belongs to a third party, so the key must not go there."""
    url = sandbox.video_url()
    sandbox.download(url)
    assert sandbox.counters()["key_leaks"] == 0
    sandbox.download(url, Authorization="Bearer sandbox-key")
    assert sandbox.counters()["key_leaks"] == 1


def test_ranges_are_served(sandbox: Sandbox) -> None:
    """Browsers use ranges to seek, downloaders to resume."""
    url = sandbox.video_url()
    whole = sandbox.download(url)
    assert int(whole.headers["content-length"]) == len(whole.content)
    part = sandbox.download(url, Range="bytes=100-199")
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert sandbox.download(url, Range=f"bytes={len(whole.content)}-").status_code == 416
