"""The command line as a person or a script meets it: in a terminal, in a pipe that closes, interrupted."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from tests.stage import Stage, eventually, receiving_ctrl_c

COMMAND = [sys.executable, "-m", "ops.cli"]


@dataclass
class Running:
    """A command under way; what it says is read as it says it."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    _heard: list[bytes] = field(default_factory=list)

    @classmethod
    @contextmanager
    def started(cls, stage: Stage, *arguments: str, in_terminal: bool = False) -> Iterator[Self]:
        """Start `rushes` with a pipe, or a terminal, as its standard output and error."""
        ours, theirs = pty.openpty() if in_terminal else os.pipe()
        with receiving_ctrl_c():
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                env={**os.environ, **stage.environment, "TERM": "xterm-256color", "COLUMNS": "200"},
                stdin=theirs if in_terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=stage.folder,
                start_new_session=True,
            )
        os.close(theirs)
        running = cls(process, ours)
        reader = threading.Thread(target=running._read, args=(ours,))
        reader.start()
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            reader.join()
            os.close(ours)

    @property
    def said(self) -> str:
        """Everything so far."""
        return b"".join(self._heard).decode(errors="replace")

    def says(self, words: str) -> None:
        """Wait until it has said the words."""
        eventually(lambda: words in self.said or self.process.poll() is not None, what=f"{words!r}")
        eventually(lambda: words in self.said, within_s=2, what=f"{words!r} in {self.said!r}")

    def types(self, text: str) -> None:
        """Type on its terminal."""
        os.write(self.terminal, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ends(self, *, within_s: float = 30) -> int:
        """The exit code as a shell reports it: Python dies of a Ctrl-C that comes within `exec`, even a handled one."""
        code = self.process.wait(within_s)
        return code if code >= 0 else 128 - code

    def _read(self, source: int) -> None:
        read: Callable[[], bytes] = lambda: os.read(source, 65536)  # noqa: E731 (iter wants a callable)
        try:
            for chunk in iter(read, b""):
                self._heard.append(chunk)
        except OSError:
            return  # a terminal whose other side is closed
