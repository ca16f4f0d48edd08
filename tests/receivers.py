"""A webhook receiver that verifies requests, waits on demand, and counts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError


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

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._receive(body, dict(self.headers.items()))
                receiver.go_on.wait(60)
                self.send_response(receiver.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield receiver
            finally:
                receiver.go_on.set()
                server.shutdown()
                thread.join()

    def jobs(self) -> set[str]:
        """The jobs in the received messages."""
        return {message.data["id"] for message in self.messages}

    def _receive(self, body: bytes, headers: dict[str, str]) -> None:
        self.calls += 1
        try:
            Webhook(self.secret or "whsec_AAAA").verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return
        payload = json.loads(body)
        named = {name.lower(): value for name, value in headers.items()}
        self.traceparents.append(named.get("traceparent"))
        self.messages.append(Message(named["webhook-id"], payload["type"], payload["data"]))
