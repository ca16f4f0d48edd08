"""The real parts of a test: a clock, a sandbox process, worker processes, and waiting on conditions."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import redis
import requests

from config import inputs
from config.inputs import Inputs
from config.settings import Settings
from jobs.job import Job, VideoRequest
from jobs.ledger import Ledger
from jobs.outbox import Outbox
from jobs.scripts import Retention, Scripts, SendWakeUp
from producer.reuse import Reuse
from producer.service import Service, make_service

ROOT: Final = Path(__file__).parents[1]
SANDBOX_KEY: Final = "sandbox-key"
DRAGON: Final = "A menacing evil dragon appears in a distance above the tallest mountain."
TIME_SCALE: Final = 100.0


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds


def reuse_of(client: "redis.Redis") -> Reuse:
    """The index of videos that may be handed out again."""
    return Reuse(Scripts(client, retention=Retention(), clock=None, subscribers=()))


def inputs_of(client: "redis.Redis", settings: Settings) -> Inputs:
    """The inputs of large requests."""
    return inputs.inputs_of(settings, Scripts(client, retention=Retention(), clock=None, subscribers=()))


def outbox_of(client: "redis.Redis", *, clock: Clock | None = None, send_wake_up: SendWakeUp | None = None) -> Outbox:
    """The outboxes, by this clock or Redis's."""
    return Outbox(Scripts(client, retention=Retention(), clock=clock, subscribers=(), send_wake_up=send_wake_up))


def a_request(prompt: str = DRAGON, **parameters: Any) -> VideoRequest:
    """Make a request for a short video."""
    return VideoRequest("google/veo3", prompt, parameters)


def eventually(condition: Callable[[], object], *, within_s: float = 30.0, what: str = "the condition") -> None:
    """Wait until the condition is true; fail the test if that takes too long."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true within {within_s:g} s"
        time.sleep(0.02)


@dataclass
class Sandbox:
    """A running sandbox upstream."""

    url: str

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *options: str) -> Iterator[Self]:
        """Start a sandbox and wait until it listens."""
        ready = folder / "ready"
        command = [sys.executable, "-m", "ops.sandbox", "--port", "0", "--ready-file", str(ready), "--render", "shared"]
        command += ["--time-scale", f"{TIME_SCALE:g}", *options]
        with child(command, folder / "sandbox.log"):
            eventually(ready.exists, what="the sandbox's start")
            yield cls(ready.read_text().strip())

    def reset(self) -> None:
        """Delete all purchases and faults."""
        requests.post(f"{self.url}/sandbox/reset", timeout=5).raise_for_status()

    def purchases(self) -> dict[str, int]:
        """Count the generations bought for each job; each try of a purchase has its own request id."""
        counts: Counter[str] = Counter()
        for request_id, bought in self._read("purchases")["by_client_request_id"].items():
            counts[request_id.rpartition(".")[0]] += bought
        return dict(counts)

    def requests(self) -> dict[str, int]:
        """Count the requests of each kind."""
        counted: dict[str, int] = self._read("requests")
        return counted

    def add_fault(self, **terms: Any) -> None:
        """Schedule a fault for coming requests."""
        requests.post(f"{self.url}/sandbox/faults", json=terms, timeout=5).raise_for_status()

    def calm(self) -> None:
        """Remove all faults."""
        requests.delete(f"{self.url}/sandbox/faults", timeout=5).raise_for_status()

    def _read(self, what: str) -> dict[str, Any]:
        response = requests.get(f"{self.url}/sandbox/{what}", timeout=5)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@dataclass
class Worker:
    """A running worker process."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def terminate(self, *, within_s: float = 60) -> int:
        """Send SIGTERM and wait; returns the exit code."""
        self.process.terminate()
        return self.process.wait(within_s)

    def said(self) -> str:
        """Read its log so far."""
        return self.log.read_text(errors="replace")


@dataclass
class Stage:
    """A small deployment for one test."""

    client: "redis.Redis"
    redis_url: str
    sandbox: Sandbox
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Set the environment of every process."""
        self.environment = {
            "RUSHES_REDIS__URL": self.redis_url,
            "RUSHES_STATE_DIR": str(self.folder / "state"),
            "RUSHES_UPSTREAM__BASE_URL": self.sandbox.url,
            "RUSHES_UPSTREAM__API_KEY": SANDBOX_KEY,
            "RUSHES_TIME_SCALE": "100",
            "RUSHES_LIMITS__IN_FLIGHT": "0",
            "RUSHES_POLL__LATENESS_S": "0.1",
            "RUSHES_POLL__FIRST_S": "0.3",
            "RUSHES_POLL__INTERVAL_S": "0.2",
            "RUSHES_DESCRIBE__PROBE": "false",
            "RUSHES_DESCRIBE__MANIFEST": "false",
            "RUSHES_DESCRIBE__PREVIEWS": "false",
            "RUSHES_SQL__ENABLED": "false",
            "RUSHES_RESCUE__EVERY_S": "0.3",
        }
        yield self

    @property
    def settings(self) -> Settings:
        """The settings of this deployment's processes."""
        kept = dict(os.environ)
        os.environ.update(self.environment)
        try:
            return Settings()
        finally:
            os.environ.clear()
            os.environ.update(kept)

    @property
    def service(self) -> Service:
        """A producer of this deployment."""
        return make_service(self.settings)

    @property
    def ledger(self) -> Ledger:
        """The ledger, with Redis's clock."""
        return Ledger(self.client)

    @contextmanager
    def worker(
        self, *, threads: int = 4, name: str = "one", app: str = "worker.app", queues: str = "", **environment: str
    ) -> Iterator[Worker]:
        """Run a worker process for all queues or some, and wait until it works."""
        before = self._seen(name)
        with self.starting_worker(threads=threads, name=name, app=app, queues=queues, **environment) as worker:
            eventually(
                lambda: self._seen(name) - before or worker.process.poll() is not None,
                what=f"the start of worker {name}",
            )
            assert worker.process.poll() is None, worker.said()
            yield worker

    @contextmanager
    def starting_worker(
        self, *, threads: int = 4, name: str = "one", app: str = "worker.app", queues: str = "", **environment: str
    ) -> Iterator[Worker]:
        """Run a worker process without waiting until it works, because something prevents that."""
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            app,
            "worker",
            "-c",
            str(threads),
            "-n",
            f"{name}@test",
        ]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command += ["-Q", queues] if queues else []
        log = self.folder / f"{name}.log"
        with child(command, log, {**self.environment, **environment}) as process:
            yield Worker(name, process, log)

    def _seen(self, name: str) -> set[str]:
        """The worker processes of this name that have shown signs of life."""
        return {seen for seen in self.ledger.workers(within_s=3600) if seen.startswith(f"{name}@test.")}

    def rushes(self, *arguments: str, stdin: str = "", timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run the command line as a user would."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments],
            env={**os.environ, **self.environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=self.folder,
        )

    def ended(self, job_id: str, *, within_s: float = 60) -> Job:
        """Wait for the job's end and return it."""
        job = self.service.wait(job_id, timeout_s=within_s)
        assert job.is_final, f"{job_id} is still {job.state}"
        return job


@contextmanager
def receiving_ctrl_c() -> Iterator[None]:
    """Stop ignoring Ctrl-C, which tests and their children inherit from a background shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def child(
    command: list[str], log: Path, environment: dict[str, str] | None = None, **how: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that ends with its test; `how` goes to `Popen`."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **{"cwd": ROOT, **how},
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
