"""The `rushes` command: the producer's commands, and those that run processes."""

from collections.abc import Mapping
from typing import Final

from producer.cli.commands import COMMANDS, command_line

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

app = command_line({**COMMANDS, **_OPS}, passing_on={"worker", "flower"})
