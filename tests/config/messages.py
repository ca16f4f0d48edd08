"""Messages as Celery writes them, and as a stranger may: for tests of what a worker reads from its broker."""

import copy
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from jobs.queues import TaskName

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
"""Any JSON, with NaN, Infinity and numbers of any size."""


def a_task(**headers: Any) -> dict[str, Any]:
    """A wake-up as it lies in its queue, but for its body, which is still plain; `headers` replace its own."""
    own = {"lang": "py", "task": TaskName.SUBMIT, "id": "job_1", "eta": None, "expires": None, "retries": 0}
    embedded = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    route = {"exchange": "", "routing_key": "submit"}
    return _envelope([["queued", "job_1"], {}, embedded], own | headers, route)


def a_command(**said: Any) -> dict[str, Any]:
    """A control command as it is published, but for its body; `said` replaces what it says."""
    own: dict[str, Any] = {
        "method": "ping",
        "arguments": {},
        "destination": None,
        "pattern": None,
        "matcher": None,
        "ticket": "t",
    }
    reply_to = {"exchange": "reply.celery.pidbox", "routing_key": "nobody"}
    route = {"exchange": "celery.pidbox", "routing_key": ""}
    return _envelope(own | {"reply_to": reply_to} | said, {"clock": 1, "expires": 2e9}, route)


def an_event(**said: Any) -> dict[str, Any]:
    """An event of a worker's as it is published, but for its body."""
    own = {"type": "worker-heartbeat", "hostname": "one@test", "clock": 1, "timestamp": 1.8e9, "utcoffset": 0, "pid": 1}
    route = {"exchange": "celeryev", "routing_key": "worker.heartbeat"}
    return _envelope(own | said, {"hostname": "two@test"}, route)


def _envelope(body: Any, headers: dict[str, Any], route: dict[str, str]) -> dict[str, Any]:
    properties = {"delivery_tag": "tag", "delivery_info": route, "priority": 0, "body_encoding": "base64"}
    kind = {"content-type": "application/json", "content-encoding": "utf-8"}
    return {"body": body, **kind, "headers": headers, "properties": properties}


def written(message: dict[str, Any]) -> bytes:
    """The message in its bytes; a body that is bytes already is sent as it is."""
    body = message.get("body")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.dumps({**message, "body": b64encode(raw).decode()}).encode()


@st.composite
def altered(draw: st.DrawFn, message: dict[str, Any]) -> bytes:
    """The message with something in it replaced by any JSON, or missing."""
    *steps, last = draw(st.sampled_from(list(_places(message))))
    changed = copy.deepcopy(message)
    holder: Any = changed
    for step in steps:
        holder = holder[step]
    if draw(st.booleans()):
        holder[last] = draw(JSON)
    else:
        del holder[last]
    return written(changed)


def _places(value: Any, here: Sequence[Any] = ()) -> Iterator[Sequence[Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, held in inner:
        yield (*here, step)
        yield from _places(held, (*here, step))


ANYTHING: Final = st.one_of(
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda body: written(a_task() | {"body": body})),
    altered(a_task()),
    altered(a_command()),
    altered(an_event()),
)
"""Any bytes, any JSON, and all that is nearly a message."""
