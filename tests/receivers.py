"""A webhook receiver that verifies requests, waits on demand, and counts."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.post_server import post_server


@dataclass(frozen=True)
class Message:
    """A verified request."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class WebhookServer:
    """Answers with `status` once `go_on` is set; stores verified requests and counts forged ones."""

    url: str = ""
    secret: str = ""
    status: int = 200
    messages: list[Message] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)
    forged: int = 0
    calls: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Listen on a free port."""
        receiver = cls()
        receiver.go_on.set()

        with post_server(receiver._answer) as address:
            receiver.url = f"{address}/hook"
            try:
                yield receiver
            finally:
                receiver.go_on.set()

    def jobs(self) -> set[str]:
        """The jobs in the received messages."""
        return {message.data["id"] for message in self.messages}

    def _answer(self, _path: str, headers: Mapping[str, str], body: bytes) -> int:
        self._receive(headers, body)
        self.go_on.wait(60)
        return self.status

    def _receive(self, headers: Mapping[str, str], body: bytes) -> None:
        self.calls += 1
        try:
            Webhook(self.secret or "whsec_AAAA").verify(body, dict(headers))
        except WebhookVerificationError:
            self.forged += 1
            return
        payload = json.loads(body)
        self.traceparents.append(headers.get("traceparent"))
        self.messages.append(Message(headers["webhook-id"], payload["type"], payload["data"]))
