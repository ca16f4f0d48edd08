"""A worker rebuilds each message from the few fields that it needs, or drops it."""

import json
import zlib
from base64 import b64decode, b64encode
from typing import Any, Final

import pytest
from celery import Celery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.celery_app import KEY_PREFIX, make_app
from config.envelopes import MOST_BYTES, UnreadableMessage, cleaned
from config.settings import Settings
from config.wake_ups import wake_up_sender
from jobs.queues import QueueName
from jobs.scripts import WakeUp
from jobs.states import State
from tests.config.messages import ANYTHING, a_command, a_task, an_event, written

PLACES: Final = (
    *({"queue": queue.value} for queue in QueueName),
    {"queue": "x.reply.celery.pidbox"},
    {"exchange": "celery.pidbox"},
    {"exchange": "celeryev"},
)
DEEP: Final = b"[" * 200_000


def _without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    *steps, last = path
    holder = message
    for step in steps:
        holder = holder[step]
    del holder[last]
    return message


def _with(message: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return message | {name.replace("_", "-"): value for name, value in fields.items()}


def _in_place(message: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return message | {"properties": message["properties"] | properties}


NO_TASKS: Final[dict[str, bytes]] = {
    "a number": b"5",
    "null": b"null",
    "nothing": b"",
    "a list": b"[]",
    "an empty object": b"{}",
    "bytes": bytes(range(256)),
    "half a character": b'{"body": "\xc3"}',
    "depth": DEEP,
    "size": written(a_task(origin="x") | {"junk": "x" * MOST_BYTES}),
    "a huge number": b'{"headers": {"retries": ' + b"9" * 10_000 + b"}}",
    "body: a number": written(_with(a_task(), body=5)),
    "body: null": written(_with(a_task(), body=None)),
    "body: nothing": written(_with(a_task(), body=b"")),
    "body: an object": written(_with(a_task(), body={"task": "rushes.submit", "id": "1", "args": [], "kwargs": {}})),
    "body: two parts": written(_with(a_task(), body=[[], {}])),
    "body: depth": written(_with(a_task(), body=b"[" * 40_000)),
    "body: bytes": written(_with(a_task(), body=b"\x80\x04\x95")),
    "body: a typed value": written(_with(a_task(), body=[[{"__type__": "uuid", "__value__": 5}], {}, {}])),
    "body: a callback": written(_with(a_task(), body=[["j", 1], {}, {"callbacks": [{"task": "rushes.submit"}]}])),
    "body: no base64": written(a_task()).replace(b'"body": "', b'"body": "A'),
    "body: another encoding": written(_in_place(a_task(), body_encoding="rot13")),
    "body: no encoding": written(_in_place(a_task(), body_encoding=None)),
    "no headers": written(_without(a_task(), "headers")),
    "headers: null": written(_with(a_task(), headers=None)),
    "headers: a list": written(_with(a_task(), headers=[])),
    "id: a list": written(a_task(id=[1])),
    "id: missing": written(_without(a_task(), "headers", "id")),
    "id: long": written(a_task(id="x" * 300)),
    "task: a list": written(a_task(task=["a"])),
    "task: missing": written(_without(a_task(), "headers", "task")),
    "expires: an object": written(a_task(expires={})),
    "expires: no time": written(a_task(expires="tomorrow")),
    "eta: an object": written(a_task(eta={})),
    "eta: a number": written(a_task(eta=5)),
    "eta: the year 1": written(a_task(eta="0001-01-01T00:00:00+23:59")),
    "eta: the year 9999": written(a_task(eta="9999-12-31T23:59:59-23:59")),
    "retries: a word": written(a_task(retries="x")),
    "retries: huge": written(a_task(retries=10**40)),
    "argsrepr: an object": written(a_task(argsrepr={})),
    "shadow: a list": written(a_task(shadow=[])),
    "parent: an object": written(a_task(parent_id={})),
    "content type: a list": written(_with(a_task(), content_type=[1])),
    "content type: pickle": written(_with(a_task(), content_type="application/x-python-serialize")),
    "content type: yaml": written(_with(a_task(), content_type="application/x-yaml")),
    "content encoding: an object": written(_with(a_task(), content_encoding={})),
    "properties: null": written(_with(a_task(), properties=None)),
    "properties: missing": written(_without(a_task(), "properties")),
    "route: a list": written(_in_place(a_task(), delivery_info=[])),
    "route: no text": written(_in_place(a_task(), delivery_info={"exchange": [1], "routing_key": {}})),
    "compressed": written(_with(a_task(compression="zlib"), body=zlib.compress(b"0" * 1_000_000))),
    "compressed by a list": written(a_task(compression=[1])),
}

NO_COMMANDS: Final[dict[str, bytes]] = {
    "a number": b"5",
    "nothing": b"",
    "depth": DEEP,
    "body: null": written(_with(a_command(), body=None)),
    "body: a list": written(_with(a_command(), body=[1])),
    "method: a list": written(a_command(method=["ping"])),
    "method: unknown": written(a_command(method="format_disk")),
    "method: ends workers": written(a_command(method="shutdown")),
    "method: other queues": written(a_command(method="add_consumer", arguments={"queue": "x", "exchange_type": "y"})),
    "method: no queues": written(a_command(method="cancel_consumer", arguments={"queue": ["submit"]})),
    "arguments: a list": written(a_command(arguments=[1])),
    "destination: a number": written(a_command(destination=5)),
    "destination: a word": written(a_command(destination="one@test")),
    "pattern: never done": written(a_command(pattern="(.*)*(.*)*(.*)*x$", matcher="pcre")),
    "reply: nowhere": written(a_command(reply_to={"exchange": "reply.celery.pidbox"})),
    "reply: a list": written(a_command(reply_to=[1])),
    "reply: elsewhere": written(a_command(reply_to={"exchange": "another", "routing_key": "x"})),
    "ticket: an object": written(a_command(ticket={})),
    "clock: a word": written(_with(a_command(), headers={"clock": "x"})),
    "clock: infinite": written(_with(a_command(), headers={"clock": float("inf")})),
    "compressed": written(_with(a_command(), headers={"compression": "zlib"}, body=zlib.compress(b"0" * 1_000_000))),
}


@pytest.mark.parametrize("raw", NO_TASKS.values(), ids=NO_TASKS)
def test_what_is_no_wake_up_is_dropped_with_a_reason(raw: bytes) -> None:
    """Such messages would end a worker, run code or exhaust its memory; the reason repeats no content."""
    with pytest.raises(UnreadableMessage) as dropped:
        cleaned(raw, queue="submit")

    assert 0 < len(str(dropped.value)) <= 300
    assert "\n" not in str(dropped.value)


@pytest.mark.parametrize("raw", NO_COMMANDS.values(), ids=NO_COMMANDS)
def test_what_is_no_command_is_dropped(raw: bytes) -> None:
    """A command may ask a worker something; it may not end it, hang it, or take its queues away."""
    with pytest.raises(UnreadableMessage):
        cleaned(raw, exchange="celery.pidbox")


def test_a_secret_in_a_message_is_not_in_the_reason() -> None:
    """The reason goes to the log, which others read."""
    with pytest.raises(UnreadableMessage) as dropped:
        cleaned(written(a_task(id=["hush"], eta="hush")), queue="submit")

    assert "hush" not in str(dropped.value)


def test_our_own_wake_up_passes_as_it_was_sent(redis_url: str, client: Any) -> None:
    """It keeps its countdown and its arguments."""
    app: Celery = make_app(Settings.model_validate({"redis": {"url": redis_url}}))
    assert wake_up_sender(lambda: app)(WakeUp(State.RENDERING, "job_1", 60.0))
    raw = client.lpop(f"{KEY_PREFIX}poll").encode()
    sent, read = json.loads(raw), json.loads(cleaned(raw, queue="poll"))

    assert json.loads(b64decode(read["body"])) == json.loads(b64decode(sent["body"]))
    assert all(sent["headers"][name] == value for name, value in read["headers"].items())
    assert {"task", "id", "eta", "retries", "root_id", "argsrepr"} <= set(read["headers"])
    assert read["properties"]["delivery_info"] == {"exchange": "", "routing_key": "poll"}


def test_a_message_goes_back_to_the_queue_that_it_came_from() -> None:
    """Whatever route it claims: what a worker has not begun when it ends is put back."""
    claimed = _in_place(a_task(), delivery_info={"exchange": "", "routing_key": "elsewhere"})

    read = json.loads(cleaned(written(claimed), queue="notify"))

    assert read["properties"]["delivery_info"]["routing_key"] == "notify"


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (a_command(), {"exchange": "celery.pidbox"}),
        (a_command(method="query_task", arguments={"ids": ["1"]}), {"exchange": "celery.pidbox"}),
        (an_event(), {"exchange": "celeryev"}),
        (_with(an_event(), body=[{"type": "task-received"}]), {"exchange": "celeryev"}),
        (_with(a_command(), body={"one@test": {"ok": "pong"}}), {"queue": "x.reply.celery.pidbox"}),
    ],
)
def test_what_celery_says_to_itself_passes(message: dict[str, Any], where: dict[str, str]) -> None:
    """Flower and `celery inspect` go on asking."""
    read = json.loads(cleaned(written(message), **where))

    assert json.loads(b64decode(read["body"])) == message["body"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no finding
@given(raw=ANYTHING, where=st.sampled_from(PLACES))
def test_any_bytes_are_read_or_dropped(raw: bytes, where: dict[str, str]) -> None:
    """Nothing else can happen at this border, and what passes is what Celery may be given."""
    try:
        read = json.loads(cleaned(raw, **where))
    except UnreadableMessage:
        return
    json.loads(b64decode(read["body"], validate=True))
    assert read["content-type"] == "application/json"
    assert read["headers"].get("compression") is None
    assert b64encode(b64decode(read["body"])).decode() == read["body"]
