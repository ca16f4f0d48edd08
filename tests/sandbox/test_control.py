"""The control endpoints: scheduled faults, invalid ones, counters and reset."""

import pytest

from tests.sandbox.harness import Sandbox


def test_a_fault_applies_to_the_next_times_requests(sandbox: Sandbox) -> None:
    """The fields are those of a directive, and the fault ends after `times`."""
    added = sandbox.add_fault(submit=429, retry_after=1, times=2)
    assert added.status_code == 201
    replies = [sandbox.submit() for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 201]
    assert replies[0].headers["retry-after"] == "1"
    (scheduled,) = sandbox.get("/sandbox/faults").json()["data"]
    assert (scheduled["id"], scheduled["left"], scheduled["served"]) == (added.json()["id"], 0, 2)


def test_a_fault_stays_until_it_is_cleared(sandbox: Sandbox) -> None:
    """All are cleared at once, or one by its id."""
    first = sandbox.add_fault(submit="503").json()
    sandbox.add_fault(submit="429")
    assert sandbox.submit().status_code == 503
    path = f"{sandbox.url}/sandbox/faults"
    assert sandbox.session.delete(path, params={"id": first["id"]}, timeout=5).json() == {"cleared": 1}
    assert sandbox.submit().status_code == 429
    assert sandbox.session.delete(path, timeout=5).json() == {"cleared": 1}
    assert sandbox.submit().status_code == 201


def test_a_fault_can_match_some_requests(sandbox: Sandbox) -> None:
    """It matches by model, part of the prompt, or client request id."""
    sandbox.add_fault(submit=500, match={"model": "veo2"})
    sandbox.add_fault(submit=502, match={"prompt": "dragon"})
    sandbox.add_fault(submit=503, match={"client_request_id": "job-9"})
    assert sandbox.submit("a cat").status_code == 201
    assert sandbox.submit("a cat", model="veo2").status_code == 500
    assert sandbox.submit("a dragon").status_code == 502
    assert sandbox.submit("a cat", name="job-9").status_code == 503


def test_faults_apply_to_polls_downloads_and_the_log(sandbox: Sandbox) -> None:
    """Every stage has its own faults."""
    generation_id = sandbox.bought()
    sandbox.add_fault(poll=504, times=1)
    assert [sandbox.poll(generation_id).status_code for _ in range(2)] == [504, 200]
    url = sandbox.finished(generation_id)["video"]["url"]
    sandbox.add_fault(cdn="html", times=1)
    assert "html" in sandbox.download(url).headers["content-type"]
    sandbox.add_fault(logs=429, retry_after=5, times=1)
    assert [sandbox.get("/v2/logs").status_code for _ in range(2)] == [429, 200]


def test_outcomes_can_be_set_from_outside(sandbox: Sandbox) -> None:
    """The prompts need no directive."""
    sandbox.add_fault(error="face", times=1)
    sandbox.add_fault(stuck=True, times=1, match={"prompt": "forever"})
    assert sandbox.finished(sandbox.bought())["status"] == "error"
    assert sandbox.finished(sandbox.bought())["status"] == "completed"
    assert sandbox.poll(sandbox.bought("forever")).json()["status"] == "generating"


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "submit=200",
        "poll=expired",
        "cdn=card",
        "error=sad",
        "latency=soon",
        "times=1",
        "",
        "submit=429 times=x",
        "submit=429 bought=yes",
        "submit=429 seconds=3",
        "poll=524 word=x",
        "submit=503 envelope=1999",
        "stuck=3",
        "stuck retry_after=1",
        "submit=429 retry_after=",
    ],
)
def test_an_invalid_directive_lists_the_valid_ones(sandbox: Sandbox, words: str) -> None:
    """A typo must fail, or a test would pass without its fault."""
    reply = sandbox.submit(f"[sandbox: {words}]")
    assert reply.status_code == 400
    for known in ("submit=400|", "poll=", "cdn=", "error=object|face", "stuck", "latency=", "Options: times"):
        assert known in reply.json()["message"]
    assert sandbox.purchases()["total"] == 0


@pytest.mark.parametrize(
    "words",
    [{"submti": 429}, {}, {"submit": 429, "poll": 500}, {"submit": 429, "match": {"colour": "red"}}, {"times": 3}],
)
def test_an_invalid_fault_is_refused(sandbox: Sandbox, words: dict[str, object]) -> None:
    """The 400 says what is wrong."""
    reply = sandbox.add_fault(**words)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_requests_are_counted(sandbox: Sandbox) -> None:
    """Submits, polls, downloads, and replies by status."""
    url = sandbox.video_url()
    sandbox.download(url)
    sandbox.submit(duration=5)
    sandbox.submit("[sandbox: submit=503]")
    counters = sandbox.counters()
    assert (counters["submits"], counters["cdn_gets"], counters["4xx"], counters["5xx"]) == (3, 1, 1, 1)
    assert counters["polls"] >= 1
    assert sandbox.purchases()["by_model"] == {"google/veo3": 1}


def test_reset_deletes_everything(sandbox: Sandbox) -> None:
    """Generations, faults and counters are deleted; ids start again."""
    before = sandbox.bought()
    sandbox.add_fault(submit=500)
    assert sandbox.post("/sandbox/reset").status_code == 200
    assert sandbox.poll(before).status_code == 404
    assert sandbox.purchases()["total"] == 0
    assert sandbox.counters()["submits"] == 0
    assert sandbox.bought() == before


def test_an_unknown_path_is_not_found(sandbox: Sandbox) -> None:
    """The 404 has the error envelope."""
    reply = sandbox.get("/v3/anything")
    assert (reply.status_code, reply.json()["status"]) == (404, 404)
