"""The client's calls without I/O: each is a plan, a generator that yields requests and pauses and is sent the replies.

The blocking and the asynchronous client run the same plans.
"""

import json
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from producer.client.errors import FIRST_REFUSAL, StillGoing, Unreachable, VideoFailed, problem_in, refused
from producer.client.records import End, Event, Video, end_from, event_from, video_from
from producer.client.retry_after import retry_after_s

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before each repetition."""

LONGEST_PAUSE_S: Final = 30.0
"""A server is not obeyed for longer."""

WAIT_S: Final = 30.0
"""Seconds that one request waits for a job's end; the next one follows at once."""

ENDS_AT_ONCE: Final = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to make. `within_s` is its time-out."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No reply came; the request may have arrived."""

    why: str


Plan = Generator[Call | Pause, Reply | Lost | None, T]
"""Yields the next step, is sent its outcome, returns the result."""


def ask(call: Call, *, repeatable: bool = True) -> Plan[Reply]:
    """Make one logical call; it is repeated while that is safe and may help.

    Raises:
        Refused: the API refused the request for good.
        Unreachable: no usable reply came.
    """
    last: Reply | Lost | None = None
    for pause_s in (*PAUSES_S, None):
        last = yield call
        match last:
            case Reply(status) if status < FIRST_REFUSAL:
                return last
            case Reply() if not (repeatable and _may_help(last)):
                raise refused(last.status, last.body)
            case Lost() if not repeatable:
                break
        if pause_s is not None:
            yield Pause(max(pause_s, _asked_s(last)))
    if isinstance(last, Reply):
        raise refused(last.status, last.body)
    raise Unreachable(f"{call.method} {call.path}: {last.why if isinstance(last, Lost) else 'no reply'}")


def submit(body: Mapping[str, Any], key: str | None) -> Plan[Video]:
    """Submit a request. The key is made once, here, so that repeated sending makes one job."""
    headers = {"idempotency-key": key or secrets.token_hex(16)}
    reply = yield from ask(Call("POST", "/v1/videos", body, headers=headers))
    return video_from(_json(reply))


def get(job_id: str) -> Plan[Video]:
    """Read a job."""
    return video_from(_json((yield from ask(Call("GET", f"/v1/videos/{job_id}")))))


def wait(job_id: str, timeout_s: float | None) -> Plan[Video]:
    """Wait for a job's video.

    Raises:
        VideoFailed: the job ended without one.
        StillGoing: the time-out has passed.
    """
    left_s = timeout_s
    while True:
        wait_s = WAIT_S if left_s is None else min(left_s, WAIT_S)
        video = yield from _get_waiting(job_id, wait_s)
        if video.status == "completed":
            return video
        if video.has_ended:
            raise VideoFailed(video)
        if left_s is not None:
            left_s -= wait_s
            if left_s <= 0:
                raise StillGoing(video)


def _get_waiting(job_id: str, wait_s: float) -> Plan[Video]:
    """Read a job at its end or after `wait_s`; the API waits whole seconds, the rest is a pause."""
    whole = int(wait_s)
    if wait_s > whole:
        yield Pause(wait_s - whole)
    headers = {"prefer": f"wait={whole}"} if whole else {}
    reply = yield from ask(Call("GET", f"/v1/videos/{job_id}", headers=headers, within_s=whole + 30.0))
    return video_from(_json(reply))


def cancel(job_id: str) -> Plan[Video]:
    """Cancel a job."""
    return video_from(_json((yield from ask(Call("POST", f"/v1/videos/{job_id}/cancel")))))


def retry(job_id: str, *, pay_again: bool) -> Plan[Video]:
    """Retry an ended job; a repeated call returns the same new job."""
    call = Call("POST", f"/v1/videos/{job_id}/retry", {"pay_again": pay_again})
    return video_from(_json((yield from ask(call))))


def delete(job_id: str) -> Plan[None]:
    """Erase an ended job."""
    yield from ask(Call("DELETE", f"/v1/videos/{job_id}"))


def events(job_id: str) -> Plan[list[Event]]:
    """Read a job's events."""
    reply = yield from ask(Call("GET", f"/v1/videos/{job_id}/events"))
    return [event_from(event) for event in _json(reply)["data"]]


def filters(metadata: Mapping[str, str] | None, **named: Any) -> dict[str, Any]:
    """Build the query of a list of jobs; None is left out."""
    labels = {f"metadata[{label}]": value for label, value in (metadata or {}).items()}
    return {name: value for name, value in named.items() if value is not None} | labels


def page(query: Mapping[str, Any]) -> Plan[tuple[list[Video], str | None]]:
    """Read a page of jobs, and the id to continue after, if there are more."""
    found = _json((yield from ask(Call("GET", "/v1/videos", query=query))))
    return [video_from(video) for video in found["data"]], found["last_id"] if found["has_more"] else None


@dataclass(frozen=True, slots=True)
class EndsPage:
    """Some ends, the cursor after them, and whether there are more now."""

    ends: Sequence[End]
    cursor: str
    has_more: bool


def ends(after: str | None, types: Sequence[str]) -> Plan[EndsPage]:
    """Read a page of ends after a cursor."""
    query = {"limit": ENDS_AT_ONCE, **({"after": after} if after else {}), **({"type": list(types)} if types else {})}
    found = _json((yield from ask(Call("GET", "/v1/events", query=query))))
    return EndsPage([end_from(end) for end in found["data"]], found["next"], found["has_more"])


def _may_help(reply: Reply) -> bool:
    """Whether the same request may succeed later: the API's problem says so, a proxy's status suggests it."""
    retryable = problem_in(reply.body).get("retryable")
    return retryable if isinstance(retryable, bool) else reply.status in {429, 502, 503, 504}


def _asked_s(last: Reply | Lost | None) -> float:
    """The pause that the last reply asks for."""
    asked = retry_after_s(last.headers, now=time.time()) if isinstance(last, Reply) else None
    return min(asked or 0.0, LONGEST_PAUSE_S)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise Unreachable("the reply is not the API's: it is not JSON") from error
