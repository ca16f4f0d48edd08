"""Decodes a stream of server-sent events, line by line."""

import json
from typing import Final

from producer.client.records import ENDS, Event, event_from

_NO_CONTENT: Final = 204
SILENCE_S: Final = 60.0
"""The API sends a heartbeat every 15 s; after this silence the connection is dead."""


class EventReader:
    """Decodes a job's events, and keeps the position to resume from."""

    def __init__(self) -> None:
        self._last_id: str | None = None
        self._data = ""
        self.has_ended = False

    def headers(self) -> dict[str, str]:
        """Return the headers that request the stream after the last event received."""
        after = {"last-event-id": self._last_id} if self._last_id else {}
        return {"accept": "text/event-stream", **after}

    def begin(self, status: int) -> None:
        """Start on a reply; 204 means that no events are left."""
        self._data = ""
        self.has_ended = status == _NO_CONTENT

    def decode(self, line: str) -> Event | None:
        """Take one line; returns the event that the line completes, if any."""
        name, _, value = line.partition(": ")
        if name == "data":
            self._data = value
        if line or not self._data:
            return None
        event, self._data = event_from(json.loads(self._data)), ""
        self._last_id = event.id
        self.has_ended = event.state in ENDS
        return event
