"""A stream of a job's events, line by line."""

import json
from typing import Any, Final

from producer.client.records import ENDS, Event, event_from

_NO_CONTENT: Final = 204
_SILENCE_S: Final = 60.0
"""The API says every quarter of a minute that it is alive; a longer silence is a dead connection."""


class Listener:
    """Puts events together, and knows where a stream has to go on."""

    def __init__(self, job_id: str) -> None:
        self._path = f"/v1/videos/{job_id}/events"
        self._last_id: str | None = None
        self._data = ""
        self.has_ended = False

    def call(self) -> dict[str, Any]:
        """What to ask for: the stream, after the last event heard."""
        after = {"last-event-id": self._last_id} if self._last_id else {}
        return {"url": self._path, "headers": {"accept": "text/event-stream", **after}, "timeout": _SILENCE_S}

    def begin(self, status: int) -> None:
        """An answer begins; with 204 there is nothing left to hear."""
        self._data = ""
        self.has_ended = status == _NO_CONTENT

    def hear(self, line: str) -> Event | None:
        """One line; the event that it ends, if it ends one."""
        name, _, value = line.partition(": ")
        if name == "data":
            self._data = value
        if line or not self._data:
            return None
        event, self._data = event_from(json.loads(self._data)), ""
        self._last_id = event.id
        self.has_ended = event.state in ENDS
        return event
