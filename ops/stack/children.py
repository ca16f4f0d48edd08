"""Child processes that end with us: started in a group of their own, told to stop, killed if they do not."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ops.stack.surroundings import for_stack

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One process of the stack."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] = lambda: True
    ready_within_s: float = 30.0
    grace_s: float = 10.0
    as_orphan: signal.Signals = signal.SIGTERM
    """What the kernel sends it when its parent has died, and nobody is left who would insist."""


class Child:
    """A running process; its output is told line by line; its end is told once, when its whole group is gone."""

    def __init__(
        self, spec: ChildSpec, *, on_line: Callable[[str, str], None], on_exit: Callable[["Child"], None]
    ) -> None:
        """Start it. Must be called from the main thread: a child dies with the thread that started it."""
        self.spec = spec
        self._on_line = on_line
        self._on_exit = on_exit
        self._process = subprocess.Popen(  # noqa: S603 (our own command lines)
            list(spec.command),
            env={**for_stack(os.environ), **spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor, which stops them in order
            preexec_fn=die_with_parent(spec.as_orphan),  # noqa: PLW1509 (one prctl call, prepared before the fork)
        )
        for what in (self._read, self._watch):
            threading.Thread(target=what, name=f"{spec.name}{what.__name__}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, waiting up to `timeout_s` for it."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def group_is_gone(self, *, within_s: float) -> bool:
        """Whether nothing that it started is left either; what was killed takes a moment to vanish."""
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            try:
                os.killpg(self._process.pid, 0)
            except OSError:
                return True
            time.sleep(_POLL_S)
        return False

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._on_line(self.spec.name, line.rstrip("\n"))

    def _watch(self) -> None:
        """Not told by the end of its output: what it started may hold that open for longer."""
        self._process.wait()
        self.kill()  # nothing of it may live on beside its successor
        self._on_exit(self)


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A hook for a new process that has the kernel end it when its parent dies, even by kill -9 (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)

    return ask_kernel
