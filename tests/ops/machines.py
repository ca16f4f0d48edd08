"""A folder for stacks, and the processes in it."""

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
"""The value of a variable to remove."""


@dataclass
class Machine:
    """A folder in which stacks are started, and their processes."""

    folder: Path
    time_scale: float = 100
    variables: dict[str, str] = field(default_factory=dict)
    ports: dict[str, str] = field(
        default_factory=lambda: {"RUSHES_FLOWER__PORT": str(free_port()), "RUSHES_API__PORT": str(free_port())}
    )

    def environment(self) -> dict[str, str]:
        """Return a shell's environment: without our settings, but with separate ports for each test."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
        speed = {"RUSHES_RESCUE__EVERY_S": "0.5"}
        given = {**inherited, **speed, **self.ports, **self.variables}
        return {name: value for name, value in given.items() if value != ABSENT}

    @contextmanager
    def up(self, *options: str) -> Iterator["Stack"]:
        """Run `rushes up` until it is ready; stop it at the end."""
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
        """Run a command in this folder with its output in `up.log`."""
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
        """Run a command as in another terminal in this folder."""
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
        """List every process whose working directory is in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def is_quiet(self) -> bool:
        """Whether no process is left."""
        return not self.processes()


@dataclass
class Stack:
    """A running `rushes up`."""

    machine: Machine
    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        """Return its output so far."""
        return self.log.read_text(errors="replace")

    def child(self, name: str) -> psutil.Process | None:
        """Return the child process of that name, or None."""
        for process in psutil.Process(self.process.pid).children():
            if name in " ".join(process.cmdline()[:7]).replace("ops.sandbox", "sandbox"):
                return process
        return None

    @property
    def service(self) -> Service:
        """A producer with the addresses in the stack's file."""
        return make_service(Settings.model_validate({"redis": {"url": addresses(self)["RUSHES_REDIS__URL"]}}))

    def ends_by(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(90)


def addresses(stack: Stack) -> dict[str, str]:
    """Read the addresses that the stack wrote for other terminals."""
    found = dotenv_values(stack.machine.folder / ".rushes" / "up.env")
    return {name: value for name, value in found.items() if value is not None}
