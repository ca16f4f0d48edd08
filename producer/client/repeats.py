"""When a call is repeated, and how long it waits before that."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from producer.client.errors import problem_in
from producer.client.retry_after import retry_after_s

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before each repetition."""

LONGEST_PAUSE_S: Final = 30.0
"""A server is not obeyed for longer."""

Pause = Callable[[float], None]
AsyncPause = Callable[[float], Awaitable[None]]


def may_help(status: int, body: bytes) -> bool:
    """Whether the same request may succeed later: the API's problem says so, a proxy's status suggests it."""
    retryable = problem_in(body).get("retryable")
    return retryable if isinstance(retryable, bool) else status in {429, 502, 503, 504}


def asked_s(headers: Mapping[str, str]) -> float:
    """The pause in seconds that a reply asks for, at most `LONGEST_PAUSE_S`."""
    return min(retry_after_s(headers, now=time.time()) or 0.0, LONGEST_PAUSE_S)
