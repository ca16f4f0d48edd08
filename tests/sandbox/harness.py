"""Starts a sandbox and calls it as a client does."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")

KEY = "sandbox-key"
ANY_PATH = "/v2/video/generations"
GOOGLE_PATH = "/v2/generate/video/google/generation"
TIMEOUT_S = 30.0
QUICK = ("--latency-median-s=0", "--latency-minimum-s=0", "--log-delay-s=0", "--render=shared")


@dataclass
class Sandbox:
    """A running sandbox and the requests that tests send to it."""

    url: str
    process: subprocess.Popen[str]
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, *, key: str | None = KEY, **query: object) -> requests.Response:
        """GET with the key."""
        return self.session.get(self.url + path, params=query, headers=bearer(key), timeout=TIMEOUT_S)  # type: ignore[arg-type] # requests turns any value into text

    def post(
        self, path: str, body: object = None, *, key: str | None = KEY, timeout_s: float = TIMEOUT_S, **headers: str
    ) -> requests.Response:
        """POST JSON with the key; header names are written with underscores."""
        return self.session.post(self.url + path, json=body, headers=bearer(key) | dashed(headers), timeout=timeout_s)

    def submit(
        self,
        prompt: str = "A dragon",
        *,
        path: str = ANY_PATH,
        name: str | None = None,
        timeout_s: float = TIMEOUT_S,
        **fields: object,
    ) -> requests.Response:
        """Submit a video request; `name` is the client request id."""
        body = {"model": "google/veo3", "prompt": prompt, **fields}
        return self.post(path, body, timeout_s=timeout_s, **({"x_client_request_id": name} if name else {}))

    def bought(self, prompt: str = "A dragon", **fields: Any) -> str:
        """Submit a request that must be accepted; returns the generation's id."""
        reply = self.submit(prompt, **fields)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def poll(self, generation_id: str, path: str = ANY_PATH) -> requests.Response:
        """Poll once."""
        return self.get(path, generation_id=generation_id)

    def finished(self, generation_id: str) -> dict[str, Any]:
        """Poll until it is completed or failed."""

        def done() -> dict[str, Any] | None:
            body: dict[str, Any] = self.poll(generation_id).json()
            return body if body["status"] not in ("queued", "generating") else None

        return until(done)

    def video_url(self, prompt: str = "A dragon", **fields: object) -> str:
        """Submit a request and wait for the video's URL."""
        return str(self.finished(self.bought(prompt, **fields))["video"]["url"])

    def download(self, url: str, *, timeout_s: float = TIMEOUT_S, **headers: str) -> requests.Response:
        """GET without the key, as from the CDN; header names are written with underscores."""
        return self.session.get(url, headers=dashed(headers), timeout=timeout_s)

    def add_fault(self, **terms: object) -> requests.Response:
        """Schedule a fault at the control endpoint."""
        return self.post("/sandbox/faults", terms)

    def purchases(self) -> dict[str, Any]:
        """Read the counts of purchases."""
        found: dict[str, Any] = self.get("/sandbox/purchases").json()
        return found

    def counters(self) -> dict[str, Any]:
        """Read the counts of requests."""
        found: dict[str, Any] = self.get("/sandbox/requests").json()
        return found

    def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(TIMEOUT_S)


def bearer(key: str | None) -> dict[str, str]:
    """Build the Authorization header."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def dashed(headers: dict[str, str]) -> dict[str, str]:
    """Turn keyword arguments into header names."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def until(condition: Callable[[], T | None]) -> T:
    """Call the condition until it returns something."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if (answer := condition()) is not None:
            return answer
        time.sleep(0.01)
    raise AssertionError("the condition did not come true in time")


def command(*options: str) -> list[str]:
    """Build the command line of a sandbox."""
    return [sys.executable, "-m", "ops.sandbox", *options]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Sandbox]:
    """Run a sandbox on a free port during the block."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    line = command("--port=0", f"--ready-file={ready}", *options)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:

        def address() -> str | None:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            return ready.read_text() if ready.exists() else None

        try:
            with requests.Session() as session:
                yield Sandbox(until(address), process, session)
        finally:
            process.kill()
