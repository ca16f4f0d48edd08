"""The `rushes` command: the producer's commands, and those that run processes."""

from collections.abc import Mapping, Sequence
from typing import Final

from producer.cli.commands import COMMANDS, EXAMPLES, command_line

_OPS: Final[Mapping[str, str]] = {
    "demo": "ops.stack.demo:demo",
    "up": "ops.stack.up:up",
    "worker": "ops.parts:worker",
    "api": "ops.parts:api",
    "flower": "ops.parts:flower",
    "doctor": "ops.doctor:doctor",
    "sandbox": "ops.sandbox.command:sandbox",
    "export": "ops.database:export",
    "db": "ops.database:db",
}

_EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "demo": ("demo", 'demo "a paper boat in the rain"'),
    "up": ("up",),
    "worker": ("worker", "worker -n w2@%h -Q transfer"),
    "api": ("api",),
    "flower": ("flower --port=5556",),
    "doctor": ("doctor", "doctor --json"),
    "sandbox": ("sandbox --port 8900",),
    "export": ("export --format csv -o jobs.csv",),
    "db": ("db upgrade", "db check"),
}

app = command_line({**COMMANDS, **_OPS}, examples={**EXAMPLES, **_EXAMPLES}, passing_on={"worker", "flower"})
