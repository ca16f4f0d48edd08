"""Child processes, each in its own process group, that end with the supervisor."""

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

from ops.stack.environment import for_stack

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
    """The signal that the kernel sends it when its parent has died."""
    unsaid: str | None = None
    """Lines of its output with this text are dropped."""


class Child:
    """A running process; `on_line` gets each line of its output, and `on_exit` is called once at its end."""

    def __init__(
        self, spec: ChildSpec, *, on_line: Callable[[str, str], None], on_exit: Callable[["Child"], None]
    ) -> None:
        """Start it; only from the main thread, because a child dies with the thread that started it."""
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
            start_new_session=True,  # Ctrl-C must reach only the supervisor, which stops the children in order
            preexec_fn=die_with_parent(spec.as_orphan),  # noqa: PLW1509 (one prctl call, prepared before the fork)
        )
        for what in (self._read, self._watch):
            threading.Thread(target=what, name=f"{spec.name}{what.__name__}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Send SIGTERM to its group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to its group."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s`; returns whether it has ended."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def group_is_gone(self, *, within_s: float) -> bool:
        """Wait until its whole group has ended; returns False if that takes longer than `within_s`."""
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
            if self.spec.unsaid and self.spec.unsaid in line:
                continue
            self._on_line(self.spec.name, line.rstrip("\n"))

    def _watch(self) -> None:
        """Wait for the process and not for the end of its output, which its own children may keep open."""
        self._process.wait()
        self.kill()  # none of its children may run beside its successor
        self._on_exit(self)


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Make a hook that lets the kernel end a new process when its parent dies, even by kill -9 (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)

    return ask_kernel
