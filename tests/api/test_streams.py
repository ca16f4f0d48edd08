"""Events reach any number of subscribers as they happen, and none of them holds a thread."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from jobs.job import Hold
from jobs.job_log import STREAM
from jobs.ledger import Ledger
from ops.stack.recipe import free_port
from tests import steps
from tests.api.conftest import Api, answers, bought, completed
from tests.stage import child, eventually

ENOUGH = 60
"""More streams than a pool of threads would hold."""


class Stream:
    """An open stream: its answer, and its events as they come."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self.events = events_of(response)

    def next_names(self, count: int) -> list[str]:
        """The names of the next events."""
        return [next(self.events)["event"] for _ in range(count)]


@contextmanager
def stream(api: Api, job_id: str, **headers: str) -> Iterator[Stream]:
    """A stream of a job's events."""
    asked = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with requests.get(f"{api.url}/v1/videos/{job_id}/events", headers=asked, stream=True, timeout=30) as response:
        yield Stream(response)


def events_of(response: requests.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream, as they come."""
    event: dict[str, Any] = {}
    for raw in response.iter_lines(chunk_size=1):
        line = raw.decode()
        name, _, value = line.partition(": ")
        if not line and "data" in event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}
        elif name in {"id", "event", "data"}:
            event[name] = value


def in_background(act: Callable[[], object]) -> threading.Thread:
    """Something that goes on beside the test."""
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def subscribers(api: Api) -> float:
    """How many streams and waits are open."""
    lines = api.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("rushes_api_subscribers ")).split()[1])


def test_a_stream_has_past_and_new_events_until_the_end(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """From the job's beginning, each event once, with an id to go on from."""
    job_id = api.submit()["id"]
    with stream(api, job_id) as reader:
        beside = in_background(lambda: completed(real_ledger, job_id, archive))
        events = list(reader.events)
        beside.join()

    names = [event["event"] for event in events]
    assert reader.response.headers["content-type"].startswith("text/event-stream")
    assert reader.response.headers["x-accel-buffering"] == "no"
    assert names == ["job.accepted", "job.submitting", "job.submitted", "job.rendered", "job.completed"]
    assert [event["data"] for event in events] == api.get(f"/v1/videos/{job_id}/events").json()["data"]
    assert [event["id"] for event in events] == [event["data"]["id"] for event in events]


def test_a_stream_goes_on_where_another_broke_off(api: Api, real_ledger: Ledger) -> None:
    """Last-Event-ID, as browsers send it: nothing twice, nothing missed."""
    job_id = api.submit()["id"]
    bought(real_ledger, job_id)
    entries = api.get(f"/v1/videos/{job_id}/events").json()["data"]

    with stream(api, job_id, Last_Event_ID=entries[0]["id"]) as reader:
        assert reader.next_names(2) == ["job.submitting", "job.submitted"]


def test_a_stream_of_an_ended_job_ends(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """A browser that reconnects after the last event gets 204, and stays away."""
    job_id = api.submit()["id"]
    completed(real_ledger, job_id, archive)
    with stream(api, job_id) as reader:
        last = list(reader.events)[-1]

    with stream(api, job_id, Last_Event_ID=last["id"]) as reader:
        assert (reader.response.status_code, reader.response.content) == (204, b"")


def test_what_is_no_event_id_is_refused(api: Api) -> None:
    """It would be compared as one."""
    with stream(api, api.submit()["id"], Last_Event_ID="yesterday") as reader:
        assert (reader.response.status_code, reader.response.json()["code"]) == (422, "invalid_request")


def test_many_watch_and_a_question_is_still_answered(api: Api, real_ledger: Ledger) -> None:
    """More streams than there are threads: they hold none, and all receive the same."""
    job_id = api.submit()["id"]
    others = [api.submit(f"boat {n}")["id"] for n in range(3)]
    contexts = [stream(api, job_id) for _ in range(ENOUGH)] + [stream(api, other) for other in others]
    streams = [context.__enter__() for context in contexts]
    try:
        assert all(one.next_names(1) == ["job.accepted"] for one in streams)
        assert api.get(f"/v1/videos/{job_id}").ok
        assert subscribers(api) == ENOUGH + 3
        steps.submitting(real_ledger, real_ledger.get(job_id), lease_s=60)
        assert all(one.next_names(1) == ["job.submitting"] for one in streams[:ENOUGH])
    finally:
        for context in contexts:
            context.__exit__(None, None, None)


def test_who_goes_is_forgotten(api: Api) -> None:
    """A subscriber that disconnects is removed."""
    job_id = api.submit()["id"]
    with stream(api, job_id) as reader:
        reader.next_names(1)
        assert subscribers(api) == 1

    eventually(lambda: subscribers(api) == 0, what="the subscriber's end")


def test_what_the_feed_forgot_is_read_in_the_journal(
    api: Api, real_ledger: Ledger, client: "redis.Redis", archive: Path
) -> None:
    """The event stream is capped: a subscriber that falls behind still misses nothing."""
    job_id, other = api.submit()["id"], api.submit()["id"]
    with stream(api, job_id) as reader:
        assert reader.next_names(1) == ["job.accepted"]
        steps.held(real_ledger, real_ledger.get(job_id), 60, Hold.THROTTLED, "slowly")
        assert reader.next_names(1) == ["job.held"]  # what comes now comes by the event stream
        with api.frozen():
            completed(real_ledger, job_id, archive)
            client.xtrim(STREAM, maxlen=0, approximate=False)
            bought(real_ledger, other)
        assert reader.next_names(4)[-1] == "job.completed"


def test_a_stream_says_what_a_queued_job_waits_for(api: Api, real_ledger: Ledger) -> None:
    """A pause writes nothing to its jobs; who follows one of them is told of it all the same."""
    job_id = api.submit()["id"]
    with stream(api, job_id) as reader:
        assert reader.next_names(1) == ["job.accepted"]
        real_ledger.pauses.pause(by="ann", reason="the budget is used up")
        waits = next(reader.events)
        assert (waits["event"], waits["data"]["data"]["why"]) == ("job.waiting", "paused")
        assert "the budget is used up" in waits["data"]["data"]["waiting"]
        listed = requests.get(f"{api.url}/v1/videos/{job_id}/events", timeout=10).json()["data"]
        assert [entry["event"] for entry in listed] == ["job.accepted", "job.waiting"]
        assert listed[1]["id"] == listed[0]["id"] == waits["id"]
        real_ledger.pauses.resume()
        assert next(reader.events)["data"]["data"]["why"] == "ready"
        bought(real_ledger, job_id)
        assert reader.next_names(1) == ["job.submitting"]
    with stream(api, job_id, Last_Event_ID=waits["id"]) as reader:
        assert reader.next_names(1) == ["job.submitting"]


# -- Prefer: wait ---------------------------------------------------------------------------------------------------


def test_a_submit_may_wait_for_the_end(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """One request from the prompt to the video's name."""

    def finish() -> None:
        eventually(lambda: api.get("/v1/videos").json()["data"])
        completed(real_ledger, api.get("/v1/videos").json()["data"][0]["id"], archive)

    beside = in_background(finish)
    answer = api.post("/v1/videos", {"prompt": "a boat"}, Prefer="wait=30")
    beside.join()

    assert (answer.status_code, answer.json()["status"]) == (202, "completed")
    assert answer.headers["preference-applied"] == "wait=30"


def test_a_wait_ends_when_its_time_is_up_and_the_job_goes_on(api: Api) -> None:
    """The reply is the job as it is."""
    job_id = api.submit()["id"]
    began = time.monotonic()

    answer = api.get(f"/v1/videos/{job_id}", Prefer="respond-async, wait=1")

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert time.monotonic() - began >= 1


def test_an_ended_job_is_not_waited_for(api: Api) -> None:
    """Its end is in its job log."""
    job_id = api.submit()["id"]
    api.post(f"/v1/videos/{job_id}/cancel")

    assert api.get(f"/v1/videos/{job_id}", Prefer="wait=60").json()["status"] == "cancelled"


# -- the process's end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["producer.api"], ["uvicorn", "producer.api:app"]])
def test_streams_end_cleanly_when_the_process_stops(redis_url: str, tmp_path: Path, command: list[str]) -> None:
    """Neither do they hold it up, nor are they cut off in the middle of a chunk."""
    port = free_port()
    line = [sys.executable, "-m", *command, *(["--port", str(port)] if len(command) > 1 else [])]
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_API__PORT": str(port), "RUSHES_API__AUTH": "off"}
    url = f"http://127.0.0.1:{port}"
    with child(line, tmp_path / "log", environment) as process:
        eventually(lambda: answers(url), what="the API's start")
        api = Api(url, tmp_path / "log")
        job_id = api.submit()["id"]
        waiting: list[requests.Response] = []
        waiter = in_background(lambda: waiting.append(api.get(f"/v1/videos/{job_id}", Prefer="wait=60")))
        with stream(api, job_id) as reader:
            assert reader.next_names(1) == ["job.accepted"]
            eventually(lambda: subscribers(api) == 2, what="both subscribed")
            process.send_signal(signal.SIGTERM)
            assert list(reader.events) == []  # the end of the chunks came: else this would raise
        waiter.join()
        assert waiting[0].json()["status"] == "queued"
        process.wait(15)
    assert "Traceback" not in (tmp_path / "log").read_text()
