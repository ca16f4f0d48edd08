"""Drops what a log has said a moment ago: an outage of hours is a line a minute, not one for each attempt."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 60.0
_REMEMBERED: Final = 256


class Repeats(logging.Filter):
    """Drops a warning that is equal to one of the last minute; others, and tracebacks, always pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said_at: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record says something new."""
        if record.levelno != logging.WARNING or record.exc_info:
            return True
        key, now = (record.name, record.getMessage()), self._clock()
        with self._lock:
            said_at = self._said_at.get(key)
            if said_at is not None and now - said_at < EVERY_S:
                return False
            if len(self._said_at) >= _REMEMBERED:
                self._said_at.clear()
            self._said_at[key] = now
        return True
