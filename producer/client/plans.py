"""What the client does, apart from how: each call is a plan that asks for requests and pauses, and is told replies.

One plan serves the blocking client and the asynchronous one, which only carry it out.
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
"""How long one request waits for a job's end; the next one follows at once."""

ENDS_AT_ONCE: Final = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to make. `within_s` is how long the answer may take."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came; whether the request arrived is not known."""

    why: str


Plan = Generator[Call | Pause, Reply | Lost | None, T]
"""Yields what to do next, is sent what came of it, returns the result."""


def ask(call: Call, *, repeatable: bool = True) -> Plan[Reply]:
    """One logical call: repeated while that is safe and may help.

    Raises:
        Refused: the answer is no, and will stay so.
        Unreachable: no usable answer came.
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
    raise Unreachable(f"{call.method} {call.path}: {last.why if isinstance(last, Lost) else 'no answer'}")


def submit(order: Mapping[str, Any], key: str | None) -> Plan[Video]:
    """Order a video. The key is minted once, here, so that however often it is sent there is one job."""
    headers = {"idempotency-key": key or secrets.token_hex(16)}
    reply = yield from ask(Call("POST", "/v1/videos", order, headers=headers))
    return video_from(_json(reply))


def get(job_id: str) -> Plan[Video]:
    """A job as it stands."""
    return video_from(_json((yield from ask(Call("GET", f"/v1/videos/{job_id}")))))


def wait(job_id: str, timeout_s: float | None) -> Plan[Video]:
    """A job once it has its video.

    Raises:
        VideoFailed: it ended without one.
        StillGoing: the time is up.
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
    """A job at its end, or as it stands after these seconds; the API waits in whole ones, the rest is a pause."""
    whole = int(wait_s)
    if wait_s > whole:
        yield Pause(wait_s - whole)
    headers = {"prefer": f"wait={whole}"} if whole else {}
    reply = yield from ask(Call("GET", f"/v1/videos/{job_id}", headers=headers, within_s=whole + 30.0))
    return video_from(_json(reply))


def cancel(job_id: str) -> Plan[Video]:
    """Call a job off."""
    return video_from(_json((yield from ask(Call("POST", f"/v1/videos/{job_id}/cancel")))))


def retry(job_id: str, *, pay_again: bool) -> Plan[Video]:
    """Repeat an ended job; asking again gives the same new job, so that it may be repeated."""
    call = Call("POST", f"/v1/videos/{job_id}/retry", {"pay_again": pay_again})
    return video_from(_json((yield from ask(call))))


def delete(job_id: str) -> Plan[None]:
    """Erase an ended job."""
    yield from ask(Call("DELETE", f"/v1/videos/{job_id}"))


def events(job_id: str) -> Plan[list[Event]]:
    """What has happened to a job."""
    reply = yield from ask(Call("GET", f"/v1/videos/{job_id}/events"))
    return [event_from(told) for told in _json(reply)["data"]]


def filters(metadata: Mapping[str, str] | None, **named: Any) -> dict[str, Any]:
    """The query of a list of jobs; what is None is left open."""
    labels = {f"metadata[{label}]": value for label, value in (metadata or {}).items()}
    return {name: value for name, value in named.items() if value is not None} | labels


def page(query: Mapping[str, Any]) -> Plan[tuple[list[Video], str | None]]:
    """Some jobs, and where to go on."""
    told = _json((yield from ask(Call("GET", "/v1/videos", query=query))))
    return [video_from(video) for video in told["data"]], told["last_id"] if told["has_more"] else None


@dataclass(frozen=True, slots=True)
class EndsPage:
    """Some ends, the cursor behind them, and whether to ask again at once."""

    ends: Sequence[End]
    cursor: str
    has_more: bool


def ends(after: str | None, types: Sequence[str]) -> Plan[EndsPage]:
    """What ended after a cursor."""
    query = {"limit": ENDS_AT_ONCE, **({"after": after} if after else {}), **({"type": list(types)} if types else {})}
    told = _json((yield from ask(Call("GET", "/v1/events", query=query))))
    return EndsPage([end_from(end) for end in told["data"]], told["next"], told["has_more"])


def _may_help(reply: Reply) -> bool:
    """Whether the same request may succeed later: the API says so itself; a proxy before it only by its status."""
    told = problem_in(reply.body).get("retryable")
    return told if isinstance(told, bool) else reply.status in {429, 502, 503, 504}


def _asked_s(last: Reply | Lost | None) -> float:
    """The pause that the last reply asks for."""
    asked = retry_after_s(last.headers, now=time.time()) if isinstance(last, Reply) else None
    return min(asked or 0.0, LONGEST_PAUSE_S)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise Unreachable("what answered is not the API: it sent no JSON") from error
