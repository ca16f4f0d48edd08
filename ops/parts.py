"""`rushes worker`, `rushes api`, `rushes flower`: each runs one process, with our packages first on the path."""

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import typer

from config import launch
from ops.stack.environment import for_part
from producer.cli.exits import say

WORKER: Final = (
    *("celery", "--quiet", "--app", "worker.app", "worker", "--hostname", "worker@%h"),
    # Messages among workers, which grow with the square of their number.
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


def worker(context: typer.Context) -> None:
    """Run a worker in this process; options are those of `celery worker`, such as -n w2@%h or -Q transfer."""
    _become(WORKER, context.args)


def api() -> None:
    """Run the HTTP API in this process, at RUSHES_API__HOST and RUSHES_API__PORT."""
    _become(["producer.api"], [])


def flower(context: typer.Context) -> None:
    """Run Flower in this process; options are its own, such as --port=5556. Without a password it serves this host."""
    _become(["ops.flower"], context.args)


def warn_of_shadows() -> list[str]:
    """Return a sentence for each of the user's modules that our packages shadow."""
    return [
        f"`{name}` in {folder} has the name of a package of Rushes', which is found first here: a hook that imports "
        f'`{name}` gets Rushes\'. See "In your own project" in docs/how-to/deploy.md.'
        for name, folder in launch.shadowed()
    ]


def _become(module: Sequence[str], extra: Sequence[str]) -> NoReturn:
    for sentence in warn_of_shadows():
        say(sentence)
    sys.stdout.flush()
    command = launch.command(*module, *extra)
    os.execve(command[0], command, for_part(os.environ))  # noqa: S606 (our own command; exec, so that signals reach it)
