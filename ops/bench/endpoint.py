"""A webhook receiver as a process: verifies each request, records its id, fails every fiftieth."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from standardwebhooks import Webhook, WebhookVerificationError

from ops.stack.children import die_with_parent
from ops.stack.recipe import HOST

FAILS_EVERY: Final = 50
START_WITHIN_S: Final = 30.0
FORGED: Final = "forged"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The receiver's records, for the benchmark."""

    file: Path

    @classmethod
    @contextmanager
    def started(cls, folder: Path, port: int, secret: str) -> Iterator[Self]:
        """Start the process and wait until it listens."""
        file = folder / "received.jsonl"
        process = subprocess.Popen(  # noqa: S603 (our own command)
            [sys.executable, "-m", "ops.bench.endpoint", str(port), str(file)],
            env={**os.environ, "RECEIVER_SECRET": secret},
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (one prctl call, prepared before the fork)
        )
        try:
            give_up_at = time.monotonic() + START_WITHIN_S
            while not file.exists():
                if time.monotonic() > give_up_at:
                    raise TimeoutError("the receiver did not start")
                time.sleep(0.05)
            yield cls(file)
        finally:
            process.kill()
            process.wait()

    def received(self) -> list[tuple[str, str]]:
        """List the verified requests: job id and `webhook-id`."""
        return [(job, message) for job, message in self._lines() if message != FORGED]

    def forged(self) -> int:
        """Count the requests that could not be verified."""
        return sum(message == FORGED for _, message in self._lines())

    def note(self) -> str:
        """Summarize the numbers of requests and events."""
        counts = Counter(message for _, message in self.received())
        return f"({counts.total()} requests for {len(counts)} events)"

    def _lines(self) -> list[tuple[str, str]]:
        return [tuple(json.loads(line)) for line in self.file.read_text().splitlines()]


def serve(port: int, file: Path, secret: str) -> None:
    """Listen until killed."""
    lock, webhook, count = threading.Lock(), Webhook(secret), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal count
            body = self.rfile.read(int(self.headers["content-length"]))
            job, message = json.loads(body)["data"]["id"], self.headers["webhook-id"]
            try:
                webhook.verify(body, dict(self.headers.items()))
            except WebhookVerificationError:
                message = FORGED
            with lock, file.open("a") as out:
                count += 1
                fails = count % FAILS_EVERY == 0
                out.write(json.dumps([job, message]) + "\n")
            self.send_response(500 if fails else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer((HOST, port), Handler)
    file.touch()
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]), os.environ["RECEIVER_SECRET"])
