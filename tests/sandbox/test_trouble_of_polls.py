"""What can go wrong with a poll, and in how many forms the same news is told."""

from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Start
from tests.sandbox.harness import Sandbox


@pytest.mark.parametrize("kind", ["401", "403", "404", "429", "500", "502", "503", "504", "524"])
def test_a_poll_that_fails_says_nothing_of_the_generation(sandbox: Sandbox, kind: str) -> None:
    """The next one finds it as it is."""
    generation_id = sandbox.bought(f"[sandbox: poll={kind} retry_after=3 times=1]")
    failed = sandbox.poll(generation_id)
    assert (failed.status_code, failed.headers["retry-after"]) == (int(kind), "3")
    assert sandbox.poll(generation_id).json()["status"] == "completed"


def test_each_generation_has_its_own_count(sandbox: Sandbox) -> None:
    """Two of the same prompt do not share their troubles."""
    prompt = "[sandbox: poll=524 times=2]"
    first, second = sandbox.bought(prompt), sandbox.bought(prompt)
    for generation_id in (first, second):
        assert [sandbox.poll(generation_id).status_code for _ in range(3)] == [524, 524, 200]


def test_a_dropped_poll_is_a_reset(sandbox: Sandbox) -> None:
    """And the next is not."""
    generation_id = sandbox.bought("[sandbox: poll=drop times=1]")
    with pytest.raises(requests.ConnectionError):
        sandbox.poll(generation_id)
    assert sandbox.poll(generation_id).json()["status"] == "completed"


def test_hung_slow_and_spoilt_polls(sandbox: Sandbox) -> None:
    """Directives queue up: each is met in its turn."""
    generation_id = sandbox.bought(
        "[sandbox: poll=hang seconds=0.1 times=1 poll=slow seconds=0.1 times=1 poll=malformed times=1]"
        " and [sandbox: poll=empty times=1]"
    )
    assert sandbox.poll(generation_id).json()["status"] == "completed"
    assert sandbox.poll(generation_id).json()["status"] == "completed"
    for _ in range(2):
        with pytest.raises(requests.JSONDecodeError):
            sandbox.poll(generation_id).json()
    assert sandbox.poll(generation_id).json()["status"] == "completed"


def test_a_stuck_generation_never_ends(sandbox: Sandbox) -> None:
    """Only the client's own deadline does."""
    generation_id = sandbox.bought("[sandbox: stuck]")
    assert [sandbox.poll(generation_id).json()["status"] for _ in range(3)] == ["generating"] * 3


@pytest.mark.parametrize(
    ("directive", "status"),
    [
        ("latency=90000 poll=word word=limbo", "limbo"),
        ("stuck latency=0 poll=word word=limbo", "limbo"),
        ("latency=90000 poll=old_words", "waiting"),
        ("stuck latency=0 poll=old_words", "active"),
        ("latency=0 poll=word", "completed"),
        ("latency=0 poll=old_words", "completed"),
    ],
)
def test_words_that_are_unknown_or_old_stand_for_still_running(sandbox: Sandbox, directive: str, status: str) -> None:
    """A client that takes an unknown word for the end loses a paid video."""
    assert sandbox.poll(sandbox.bought(f"[sandbox: {directive}]")).json()["status"] == status


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("object", {"name": "Error", "message": "The video could not be generated"}),
        ("string", "The video could not be generated"),
        ("null", None),
    ],
)
def test_failures_come_in_every_shape(sandbox: Sandbox, kind: str, error: object) -> None:
    """An object, a string, or nothing at all; the status decides."""
    body = sandbox.finished(sandbox.bought(f"[sandbox: error={kind}]"))
    assert (body["status"], body["error"]) == ("error", error)


def test_a_failure_with_details_lists_them(sandbox: Sandbox) -> None:
    """As for a picture without a face."""
    body = sandbox.finished(sandbox.bought("[sandbox: error=face]"))
    assert body["error"]["detail"][0]["type"] == "face_detection_error"


def test_a_failure_can_lose_its_own_id(sandbox: Sandbox) -> None:
    """Seen: an empty id and the word `unknown`."""
    body = sandbox.finished(sandbox.bought("[sandbox: error=unknown]"))
    assert (body["id"], body["status"]) == ("", "unknown")


def test_completed_comes_in_every_form(sandbox: Sandbox) -> None:
    """An array, no size, no video, a dummy error beside it."""

    def told(kind: str) -> dict[str, Any]:
        return sandbox.finished(sandbox.bought(f"[sandbox: poll={kind}]"))

    assert [list(video) for video in told("array")["video"]] == [["url"]]
    assert list(told("no_size")["video"]) == ["url"]
    assert "video" not in told("no_video")
    assert told("succeeded")["status"] == "succeeded"
    assert [url[:4] for url in told("url_list")["video"]] == ["http"]
    assert told("url_text")["video"].startswith("http")
    assert told("odd_success")["status"] == "published"
    assert told("filtered")["video"] is None
    assert told("cancelled")["status"] == "cancelled"
    dummy = told("dummy_error")
    assert dummy["error"] == {"name": "string", "message": "string"}
    assert sandbox.download(dummy["video"]["url"]).status_code == 200


def test_latency_can_be_asked_for(start: Start) -> None:
    """In upstream seconds, scaled like all of them."""
    sandbox = start("--time-scale=100", "--render=shared")
    slow, quick = sandbox.bought("[sandbox: latency=8000]"), sandbox.bought("[sandbox: latency=10]")
    assert sandbox.finished(quick)["status"] == "completed"
    assert sandbox.poll(slow).json()["status"] == "queued"
