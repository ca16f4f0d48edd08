"""A machine on which somebody starts stacks, and what can be seen of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from dotenv import dotenv_values

from config.settings import Settings
from ops.stack.recipe import free_port
from producer.service import Service, make_service
from tests.stage import eventually, receiving_ctrl_c

RUSHES: Final = [sys.executable, "-m", "ops.cli"]
ABSENT: Final = "(absent)"
"""The value of a variable that is not there."""


@dataclass
class Machine:
    """A folder in which stacks are started, and what is known of their processes."""

    folder: Path
    time_scale: float = 100
    surroundings: dict[str, str] = field(default_factory=dict)
    ports: dict[str, str] = field(
        default_factory=lambda: {"RUSHES_FLOWER__PORT": str(free_port()), "RUSHES_API__PORT": str(free_port())}
    )

    def environment(self) -> dict[str, str]:
        """As a shell in this folder has it: no setting of ours but the usual ports, so that tests do not share them."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
        speed = {"RUSHES_RESCUE__EVERY_S": "0.5", "RUSHES_RESCUE__GRACE_S": "1", "RUSHES_RESCUE__LEASE_S": "2"}
        given = {**inherited, **speed, **self.ports, **self.surroundings}
        return {name: value for name, value in given.items() if value != ABSENT}

    @contextmanager
    def up(self, *options: str) -> Iterator["Stack"]:
        """`rushes up`, ready; what it started is dead at the end, or the test fails."""
        log = self.folder / "up.log"
        log.unlink(missing_ok=True)
        with self.run("up", "--time-scale", f"{self.time_scale:g}", *options) as process:
            stack = Stack(self, process, log)
            eventually(
                lambda: "stop with Ctrl-C" in stack.said() or process.poll() is not None,
                within_s=60,
                what="the stack's start",
            )
            assert process.poll() is None, stack.said()
            yield stack

    @contextmanager
    def run(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A command in this folder, its words in `up.log`."""
        with (self.folder / "up.log").open("ab") as out, receiving_ctrl_c():
            process = subprocess.Popen(
                [*RUSHES, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)

    def rushes(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another terminal in the same folder."""
        return subprocess.run(
            [*RUSHES, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
        )

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this folder, whichever its parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def is_quiet(self) -> bool:
        """Whether nothing of any stack is left."""
        return not self.processes()


@dataclass
class Stack:
    """A running `rushes up`."""

    machine: Machine
    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def child(self, name: str) -> psutil.Process | None:
        """The process of that name, if it is there."""
        for process in psutil.Process(self.process.pid).children():
            if name in " ".join(process.cmdline()[:6]).replace("ops.sandbox", "sandbox"):
                return process
        return None

    @property
    def service(self) -> Service:
        """A producer beside the stack, by the addresses it left."""
        return make_service(Settings.model_validate({"redis": {"url": addresses(self)["RUSHES_REDIS__URL"]}}))

    def ends_by(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(90)


def addresses(stack: Stack) -> dict[str, str]:
    """Where the stack's parts are, as it left it for other terminals."""
    found = dotenv_values(stack.machine.folder / ".rushes" / "up.env")
    return {name: value for name, value in found.items() if value is not None}
