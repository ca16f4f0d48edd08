"""Faults of polls, and the formats of a poll's reply."""

from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Start
from tests.sandbox.harness import Sandbox


@pytest.mark.parametrize("kind", ["401", "403", "404", "429", "500", "502", "503", "504", "524"])
def test_a_poll_that_fails_says_nothing_of_the_generation(sandbox: Sandbox, kind: str) -> None:
    """The next poll finds it unchanged."""
    generation_id = sandbox.bought(f"[sandbox: poll={kind} retry_after=3 times=1]")
    failed = sandbox.poll(generation_id)
    assert (failed.status_code, failed.headers["retry-after"]) == (int(kind), "3")
    assert sandbox.poll(generation_id).json()["status"] == "completed"


def test_each_generation_has_its_own_count(sandbox: Sandbox) -> None:
    """Two generations of the same prompt count separately."""
    prompt = "[sandbox: poll=524 times=2]"
    first, second = sandbox.bought(prompt), sandbox.bought(prompt)
    for generation_id in (first, second):
        assert [sandbox.poll(generation_id).status_code for _ in range(3)] == [524, 524, 200]


def test_a_dropped_poll_is_a_reset(sandbox: Sandbox) -> None:
    """The next poll is answered."""
    generation_id = sandbox.bought("[sandbox: poll=drop times=1]")
    with pytest.raises(requests.ConnectionError):
        sandbox.poll(generation_id)
    assert sandbox.poll(generation_id).json()["status"] == "completed"


def test_hung_slow_and_spoilt_polls(sandbox: Sandbox) -> None:
    """Directives are used in sequence."""
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
    """Only the client's deadline ends the job."""
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
    """A client that reads an unknown word as the end loses a paid video."""
    assert sandbox.poll(sandbox.bought(f"[sandbox: {directive}]")).json()["status"] == status


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("object", {"name": "Error", "message": "The video could not be generated"}),
        ("string", "The video could not be generated"),
        ("null", None),
    ],
)
def test_failures_come_in_every_format(sandbox: Sandbox, kind: str, error: object) -> None:
    """The error is an object, a string or null; the status decides."""
    body = sandbox.finished(sandbox.bought(f"[sandbox: error={kind}]"))
    assert (body["status"], body["error"]) == ("error", error)


def test_a_failure_with_details_lists_them(sandbox: Sandbox) -> None:
    """A picture without a face is an example."""
    body = sandbox.finished(sandbox.bought("[sandbox: error=face]"))
    assert body["error"]["detail"][0]["type"] == "face_detection_error"


def test_a_failure_can_lose_its_own_id(sandbox: Sandbox) -> None:
    """The real service has sent an empty id and the status `unknown`."""
    body = sandbox.finished(sandbox.bought("[sandbox: error=unknown]"))
    assert (body["id"], body["status"]) == ("", "unknown")


def test_completed_comes_in_every_format(sandbox: Sandbox) -> None:
    """The video may be an array, lack its size or be missing, or have a dummy error beside it."""

    def reply_of(kind: str) -> dict[str, Any]:
        return sandbox.finished(sandbox.bought(f"[sandbox: poll={kind}]"))

    assert [list(video) for video in reply_of("array")["video"]] == [["url"]]
    assert list(reply_of("no_size")["video"]) == ["url"]
    assert "video" not in reply_of("no_video")
    assert reply_of("succeeded")["status"] == "succeeded"
    assert [url[:4] for url in reply_of("url_list")["video"]] == ["http"]
    assert reply_of("url_text")["video"].startswith("http")
    assert reply_of("odd_success")["status"] == "published"
    assert reply_of("filtered")["video"] is None
    assert reply_of("cancelled")["status"] == "cancelled"
    dummy = reply_of("dummy_error")
    assert dummy["error"] == {"name": "string", "message": "string"}
    assert sandbox.download(dummy["video"]["url"]).status_code == 200


def test_latency_can_be_asked_for(start: Start) -> None:
    """It is in upstream seconds."""
    sandbox = start("--time-scale=100", "--render=shared")
    slow, quick = sandbox.bought("[sandbox: latency=8000]"), sandbox.bought("[sandbox: latency=10]")
    assert sandbox.finished(quick)["status"] == "completed"
    assert sandbox.poll(slow).json()["status"] == "queued"
