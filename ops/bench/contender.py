"""What a contender is: one file in `contenders/` with `ABOUT`, `give` and what its worker runs.

Contenders live in an environment of their own (arq and Rushes cannot share a redis-py), so the harness never imports
one: it asks it. `python -m ops.bench.contender about NAME` tells who it is, as JSON; `give NAME COUNT` puts jobs in;
`work NAME` is the worker of one that has no command of its own.
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
class Course:
    """What every contender of one run is given: the servers, the pace, the room."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    upstream_url: str = "http://127.0.0.1:1"
    first_s: float = 1.0
    """From the receipt to the first poll."""
    interval_s: float = 1.0
    """From one poll's answer to the next poll."""
    slots: int = 128
    """How many jobs may be worked on at once, where the contender has such a number."""
    folder: Path = Path()
    """Where the videos go."""
    learned: int = 0
    """1: a contender that can pace polls by what it has learned may do so; 0: it polls every interval, as told."""

    @classmethod
    def from_environment(cls) -> Self:
        """As the harness set it."""
        found = {name: os.environ[variable] for name, variable in FIELDS.items() if variable in os.environ}
        kinds: dict[str, Callable[[str], Any]] = {
            "first_s": float,
            "interval_s": float,
            "slots": int,
            "folder": Path,
            "learned": int,
        }
        return cls(**{name: kinds.get(name, str)(told) for name, told in found.items()})

    def environment(self) -> dict[str, str]:
        """The same for a child process."""
        return {variable: str(getattr(self, name)) for name, variable in FIELDS.items()}


@dataclass(frozen=True, slots=True)
class About:
    """How a contender presents itself."""

    title: str
    packages: tuple[str, ...]
    """Distributions whose versions are told."""
    how: str
    """Which mechanism of its documentation waits for the next poll."""
    limit: str
    """What bounds it, in one sentence."""
    worker: Callable[[Course], Sequence[str]]
    """The worker's command, without the interpreter."""
    environment: Callable[[Course], Mapping[str, str]] = field(default=lambda _course: {})
    """What its worker and its producer need in theirs."""


def names() -> list[str]:
    """Every contender, one file each."""
    return sorted(found.name for found in pkgutil.iter_modules(contenders.__path__))


def main(arguments: Sequence[str]) -> None:
    """`about NAME`, `give NAME COUNT`, `accept NAME COUNT` (tells how fast, as JSON) or `work NAME`."""
    verb, name, *rest = arguments
    module: Any = importlib.import_module(f"{contenders.__name__}.{name}")
    if verb == "about":
        sys.stdout.write(json.dumps(_told(module.ABOUT, Course.from_environment())))
    elif verb == "give":
        module.give(int(rest[0]))
    elif verb == "accept":
        sys.stdout.write(json.dumps(module.accept(int(rest[0]))))
    else:
        module.work()


def _told(about: About, course: Course) -> dict[str, Any]:
    return {
        "title": about.title,
        "versions": ", ".join(f"{package} {version(package)}" for package in about.packages),
        "how": about.how,
        "limit": about.limit,
        "command": list(about.worker(course)),
        "environment": dict(about.environment(course)),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
