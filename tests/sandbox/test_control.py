"""Trouble by order, unreadable orders, and a clean start."""

import pytest

from tests.sandbox.harness import Sandbox


def test_trouble_befalls_the_next_so_many_requests(sandbox: Sandbox) -> None:
    """The same words as in a directive, and it is over after `times`."""
    ordered = sandbox.trouble(submit=429, retry_after=1, times=2)
    assert ordered.status_code == 201
    replies = [sandbox.submit() for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 201]
    assert replies[0].headers["retry-after"] == "1"
    (standing,) = sandbox.get("/sandbox/trouble").json()["data"]
    assert (standing["id"], standing["left"], standing["served"]) == (ordered.json()["id"], 0, 2)


def test_trouble_stands_until_it_is_cleared(sandbox: Sandbox) -> None:
    """All at once, or one by its id."""
    first = sandbox.trouble(submit="503").json()
    sandbox.trouble(submit="429")
    assert sandbox.submit().status_code == 503
    path = f"{sandbox.url}/sandbox/trouble"
    assert sandbox.session.delete(path, params={"id": first["id"]}, timeout=5).json() == {"cleared": 1}
    assert sandbox.submit().status_code == 429
    assert sandbox.session.delete(path, timeout=5).json() == {"cleared": 1}
    assert sandbox.submit().status_code == 201


def test_trouble_can_be_aimed(sandbox: Sandbox) -> None:
    """By model, by a part of the prompt, by client request id."""
    sandbox.trouble(submit=500, match={"model": "veo2"})
    sandbox.trouble(submit=502, match={"prompt": "dragon"})
    sandbox.trouble(submit=503, match={"client_request_id": "job-9"})
    assert sandbox.submit("a cat").status_code == 201
    assert sandbox.submit("a cat", model="veo2").status_code == 500
    assert sandbox.submit("a dragon").status_code == 502
    assert sandbox.submit("a cat", name="job-9").status_code == 503


def test_trouble_reaches_polls_downloads_and_the_log(sandbox: Sandbox) -> None:
    """Every stage has its own."""
    generation_id = sandbox.bought()
    sandbox.trouble(poll=504, times=1)
    assert [sandbox.poll(generation_id).status_code for _ in range(2)] == [504, 200]
    url = sandbox.finished(generation_id)["video"]["url"]
    sandbox.trouble(cdn="html", times=1)
    assert "html" in sandbox.download(url).headers["content-type"]
    sandbox.trouble(logs=429, retry_after=5, times=1)
    assert [sandbox.get("/v2/logs").status_code for _ in range(2)] == [429, 200]


def test_fates_can_be_dealt_from_outside(sandbox: Sandbox) -> None:
    """The prompts stay clean."""
    sandbox.trouble(error="face", times=1)
    sandbox.trouble(stuck=True, times=1, match={"prompt": "forever"})
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
def test_an_unreadable_directive_says_what_there_is(sandbox: Sandbox, words: str) -> None:
    """A typo must not pass for a test that ran."""
    reply = sandbox.submit(f"[sandbox: {words}]")
    assert reply.status_code == 400
    for known in ("submit=400|", "poll=", "cdn=", "error=object|face", "stuck", "latency=", "Options: times"):
        assert known in reply.json()["message"]
    assert sandbox.purchases()["total"] == 0


@pytest.mark.parametrize(
    "words",
    [{"submti": 429}, {}, {"submit": 429, "poll": 500}, {"submit": 429, "match": {"colour": "red"}}, {"times": 3}],
)
def test_an_unreadable_order_is_refused(sandbox: Sandbox, words: dict[str, object]) -> None:
    """With a sentence."""
    reply = sandbox.trouble(**words)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_the_books_count_what_was_asked(sandbox: Sandbox) -> None:
    """Submits, polls, downloads, and what came of them."""
    url = sandbox.video_url()
    sandbox.download(url)
    sandbox.submit(duration=5)
    sandbox.submit("[sandbox: submit=503]")
    tally = sandbox.tally()
    assert (tally["submits"], tally["cdn_gets"], tally["4xx"], tally["5xx"]) == (3, 1, 1, 1)
    assert tally["polls"] >= 1
    assert sandbox.purchases()["by_model"] == {"google/veo3": 1}


def test_reset_forgets_everything(sandbox: Sandbox) -> None:
    """Generations, troubles, counters; ids are dealt anew."""
    before = sandbox.bought()
    sandbox.trouble(submit=500)
    assert sandbox.post("/sandbox/reset").status_code == 200
    assert sandbox.poll(before).status_code == 404
    assert sandbox.purchases()["total"] == 0
    assert sandbox.tally()["submits"] == 0
    assert sandbox.bought() == before


def test_an_unknown_path_is_not_found(sandbox: Sandbox) -> None:
    """With an envelope, like everything else."""
    reply = sandbox.get("/v3/anything")
    assert (reply.status_code, reply.json()["status"]) == (404, 404)
