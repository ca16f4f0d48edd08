"""The drill's deployment with what watches it: an API, and a real Prometheus with the alarms' rules in a hurry."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import requests

from ops.chaos.deployment import Deployment
from ops.stack.recipe import HOST, free_port

RULES: Final = Path(__file__).with_name("alarms.yml")

THRESHOLDS: Final[Mapping[str, tuple[str, str]]] = {
    "RushesRescuerSilent": ("> 60", "> 8"),
    "RushesDoubtsAgeing": ("> 3600", "> 6"),
    "RushesJobsOverdue": ("> 60", "> 4"),
    "RushesPollsLate": ("> 5", "> 1"),
    "RushesReceiverFailing": ("> 600", "> 3"),
}
"""What an alarm's limit is in the drill; its real one would take minutes or hours to reach."""

_IN_A_HURRY: Final = (
    (r"(?m)^(\s+for:) .*$", r"\1 1s"),
    (r"\[15m:\]", "[20s:1s]"),
    (r"\[\d+m\]", "[15s]"),
)


def in_a_hurry(rules: str, *, archive_bytes: int) -> str:
    """Return the rules with durations of seconds; the archive is full with less than `archive_bytes` free."""
    for name, (usual, now) in {**THRESHOLDS, "RushesArchiveFull": ("< 2e9", f"< {archive_bytes}")}.items():
        before, it, rest = rules.partition(f"- alert: {name}\n")
        assert usual in rest.partition("- alert: ")[0], f"{name} has no limit {usual}"
        rules = before + it + rest.replace(usual, now, 1)
    for usual, now in _IN_A_HURRY:
        rules = re.sub(usual, now, rules)
    return rules


class Watched(Deployment):
    """A worker of each kind, an API and Prometheus, over the drill's Redis and sandbox."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.with_faults = False
        self.ports = {name: free_port() for name in ("api", "worker", "second worker", "prometheus")}
        self.archive = self.folder / "state/archive"
        self._throttling = threading.Event()
        self._api: subprocess.Popen[bytes] | None = None
        self._prometheus: subprocess.Popen[bytes] | None = None

    @contextmanager
    def watched(self, *, archive_bytes: int) -> Iterator[None]:
        """Start all of it, and wait until Prometheus has read everything once."""
        with self.open():
            try:
                self.start_api()
                self._start_prometheus(in_a_hurry(RULES.read_text(), archive_bytes=archive_bytes))
                yield
            finally:
                for process in (self._prometheus, self._api):
                    if process is not None:
                        process.kill()
                        process.wait()

    def environment(self) -> dict[str, str]:
        """Return the drill's settings, with metrics."""
        return super().environment() | {
            "RUSHES_WORKER__METRICS_LISTEN": f"{HOST}:{self.ports['worker']}",
            "RUSHES_API__AUTH": "off",
            "RUSHES_API__PORT": str(self.ports["api"]),
            "RUSHES_SQL__ENABLED": "false",
        }

    def start_api(self) -> None:
        """Start the API."""
        self._api = self._start([sys.executable, "-m", "producer.api"], "api")
        self._until(lambda: self._says("api", "/healthz"), "the API")

    def kill_api(self) -> None:
        """Kill the API with SIGKILL."""
        assert self._api is not None
        self._api.kill()
        self._api.wait()

    def kill_workers(self) -> None:
        """Kill every worker with SIGKILL."""
        self._kill_all()

    def kill_redis(self) -> None:
        """Kill Redis with SIGKILL."""
        assert self._redis is not None
        self._redis.kill()
        self._redis.wait()

    def start_redis(self) -> None:
        """Start Redis with its data."""
        self._start_redis()

    def freeze_worker(self) -> None:
        """Stop the worker where it is."""
        self.workers[0].send_signal(signal.SIGSTOP)

    def throttle_worker(self) -> None:
        """Let the worker run for a fifth of the time."""
        self._throttling.clear()
        threading.Thread(target=self._throttle, name="throttle", daemon=True).start()

    def _throttle(self) -> None:
        while not self._throttling.is_set():
            self.freeze_worker()
            self._throttling.wait(2.4)
            self.workers[0].send_signal(signal.SIGCONT)
            self._throttling.wait(0.6)

    def go_on(self) -> None:
        """Let the worker go on."""
        self._throttling.set()
        self.workers[0].send_signal(signal.SIGCONT)

    def start_silent_worker(self) -> None:
        """Start a second worker whose rescuer makes one round an hour."""
        listen = f"{HOST}:{self.ports['second worker']}"
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-n", "silent@chaos"]
        settings = {"RUSHES_WORKER__METRICS_LISTEN": listen, "RUSHES_RESCUE__EVERY_S": "3600"}
        self.workers.append(self._start(command, "silent", settings))

    def kill_silent_worker(self) -> None:
        """Kill the second worker."""
        silent = self.workers.pop()
        silent.kill()
        silent.wait()

    def add_fault(self, **terms: Any) -> None:
        """Give the upstream a fault."""
        self._add_fault(**terms)

    def heal_upstream(self) -> None:
        """Take all faults from the upstream."""
        requests.delete(f"{self.sandbox_url}/sandbox/faults", timeout=10).raise_for_status()

    def command(self, *words: str) -> Any:
        """Send a command to Redis."""
        with self.connection() as client:
            return client.execute_command(*words)

    def firing(self) -> set[str]:
        """Return the names of the alarms that fire."""
        with suppress(requests.RequestException):
            found = requests.get(f"http://{HOST}:{self.ports['prometheus']}/api/v1/alerts", timeout=5).json()
            return {one["labels"]["alertname"] for one in found["data"]["alerts"] if one["state"] == "firing"}
        return set()

    def evaluated(self, expression: str) -> list[Any]:
        """Return what Prometheus says to an expression now."""
        url = f"http://{HOST}:{self.ports['prometheus']}/api/v1/query"
        answer = requests.get(url, params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        found: list[Any] = answer["data"]["result"]
        return found

    def _start_prometheus(self, rules: str) -> None:
        (self.folder / "alarms.yml").write_text(rules)
        targets = {
            "rushes-api": [f"{HOST}:{self.ports['api']}"],
            "rushes-worker": [f"{HOST}:{self.ports[name]}" for name in ("worker", "second worker")],
        }
        scraped = "".join(
            f"- {{job_name: {job}, static_configs: [{{targets: {of}}}]}}\n" for job, of in targets.items()
        )
        config = self.folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [alarms.yml]\nscrape_configs:\n{scraped}"
        )
        self._prometheus = self._start(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self.folder / 'prometheus'}",
                f"--web.listen-address={HOST}:{self.ports['prometheus']}",
            ],
            "prometheus",
        )
        self._until(lambda: self._says("prometheus", "/-/ready"), "Prometheus")
        self._until(lambda: bool(self.evaluated("rushes_workers and on() rushes_threads")), "the first scrape")

    def _says(self, name: str, path: str) -> bool:
        try:
            return requests.get(f"http://{HOST}:{self.ports[name]}{path}", timeout=1).ok
        except requests.RequestException:
            return False
