"""A contender is one file in `contenders/` with `ABOUT`, `submit` and its worker's tasks.

Some contenders need a separate environment (arq and Rushes need different versions of redis-py), so the harness runs
them as processes: `python -m ops.bench.contender about NAME` prints its description as JSON; `submit NAME COUNT`
submits jobs; `work NAME` runs the worker of a contender without a command.
"""

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from ops.bench import contenders

FIELDS: Final = {
    "redis_url": "BENCH_REDIS_URL",
    "upstream_url": "BENCH_UPSTREAM_URL",
    "first_s": "BENCH_FIRST_S",
    "interval_s": "BENCH_INTERVAL_S",
    "slots": "BENCH_SLOTS",
    "folder": "BENCH_FOLDER",
    "learned": "BENCH_LEARNED",
}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of every contender in a run: servers, poll interval, concurrency."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    upstream_url: str = "http://127.0.0.1:1"
    first_s: float = 1.0
    """Seconds from the receipt to the first poll."""
    interval_s: float = 1.0
    """Seconds from one poll's answer to the next poll."""
    slots: int = 128
    """Concurrent jobs, if the contender has such a limit."""
    folder: Path = Path()
    """Folder for the videos."""
    learned: int = 0
    """1: a contender may learn when to poll; 0: it polls at every interval."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read what the harness set."""
        found = {name: os.environ[variable] for name, variable in FIELDS.items() if variable in os.environ}
        kinds: dict[str, Callable[[str], Any]] = {
            "first_s": float,
            "interval_s": float,
            "slots": int,
            "folder": Path,
            "learned": int,
        }
        return cls(**{name: kinds.get(name, str)(value) for name, value in found.items()})

    def environment(self) -> dict[str, str]:
        """Return the same as environment variables."""
        return {variable: str(getattr(self, name)) for name, variable in FIELDS.items()}


@dataclass(frozen=True, slots=True)
class About:
    """The description of a contender."""

    title: str
    packages: tuple[str, ...]
    """Distributions whose versions are reported."""
    how: str
    """The documented mechanism with which it waits for the next poll."""
    limit: str
    """What limits it, in one sentence."""
    worker: Callable[[RunConfig], Sequence[str]]
    """The worker's command, without the interpreter."""
    environment: Callable[[RunConfig], Mapping[str, str]] = field(default=lambda _config: {})
    """Environment variables of its worker and its producer."""


def names() -> list[str]:
    """List the contenders, one file each."""
    return sorted(found.name for found in pkgutil.iter_modules(contenders.__path__))


def main(arguments: Sequence[str]) -> None:
    """Run `about NAME`, `submit NAME COUNT`, `accept NAME COUNT` (prints the rates as JSON) or `work NAME`."""
    verb, name, *rest = arguments
    module: Any = importlib.import_module(f"{contenders.__name__}.{name}")
    if verb == "about":
        sys.stdout.write(json.dumps(_described(module.ABOUT, RunConfig.from_environment())))
    elif verb == "submit":
        module.submit(int(rest[0]))
    elif verb == "accept":
        sys.stdout.write(json.dumps(module.accept(int(rest[0]))))
    else:
        module.work()


def _described(about: About, config: RunConfig) -> dict[str, Any]:
    return {
        "title": about.title,
        "versions": ", ".join(f"{package} {version(package)}" for package in about.packages),
        "how": about.how,
        "limit": about.limit,
        "command": list(about.worker(config)),
        "environment": dict(about.environment(config)),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
