"""The supervisor: starts children in order, restarts those that die, stops all in reverse order."""

import queue
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.stack.children import Child, ChildSpec

RESTART_FIRST_S: Final = 0.5
RESTART_LONGEST_S: Final = 15.0
STEADY_S: Final = 30.0
GONE_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.1


class StartFailed(Exception):
    """A child did not become ready; the message says which. All others are already stopped."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """A signal asked us to stop."""


@dataclass(frozen=True, slots=True)
class _Ended:
    child: Child


class Supervisor:
    """Runs a stack until a signal stops it. Use it from the main thread, which receives signals."""

    def __init__(self, *, on_line: Callable[[str, str], None], on_note: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._on_note = on_note
        self._events: queue.SimpleQueue[_Stop | _Ended] = queue.SimpleQueue()
        self._children: dict[str, Child] = {}
        self._started_at: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._stopping = False

    def run(self, specs: Sequence[ChildSpec], *, on_ready: Callable[[], None]) -> None:
        """Start all, call `on_ready`, keep them running; returns when stopped by SIGINT, SIGTERM or SIGHUP.

        Raises:
            StartFailed: a child did not become ready in time.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        try:
            for spec in specs:
                if not self._started(spec):
                    return
            on_ready()
            self._keep_running()
        finally:
            self._stop_all()

    def _started(self, spec: ChildSpec) -> bool:
        """Start a child and wait until it is ready; False if a signal stops us first."""
        self._start(spec)
        give_up_at = time.monotonic() + spec.ready_within_s
        while not spec.is_ready():
            if self._stopping:
                return False
            if not self._children[spec.name].running:
                raise StartFailed(f"{spec.name} ended with code {self._children[spec.name].exit_code} as it started")
            if time.monotonic() > give_up_at:
                raise StartFailed(f"{spec.name} was not ready within {spec.ready_within_s:g} s")
            time.sleep(_POLL_S)
        return not self._stopping

    def _start(self, spec: ChildSpec) -> None:
        self._started_at[spec.name] = time.monotonic()
        self._children[spec.name] = Child(
            spec, on_line=self._on_line, on_exit=lambda child: self._events.put(_Ended(child))
        )

    def _keep_running(self) -> None:
        while not self._stopping:
            match self._events.get():
                case _Ended(child) if child is self._children[child.spec.name]:
                    self._restart(child)
                case _Ended() | _Stop():
                    pass

    def _restart(self, child: Child) -> None:
        """Start a child again, after a pause that doubles unless it ran for `STEADY_S`."""
        name = child.spec.name
        if time.monotonic() - self._started_at[name] > STEADY_S:
            self._pause_s.pop(name, None)
        pause = self._pause_s.get(name, RESTART_FIRST_S)
        self._pause_s[name] = min(pause * 2, RESTART_LONGEST_S)
        self._on_note(f"{name} ended with code {child.exit_code}; starting it again in {pause:g} s")
        resume_at = time.monotonic() + pause
        while time.monotonic() < resume_at and not self._stopping:
            time.sleep(_POLL_S)
        if not self._stopping:
            self._start(child.spec)

    def _asked_to_stop(self, _number: int, _frame: Any) -> None:
        if self._stopping:  # a second signal: kill at once
            for child in self._children.values():
                child.kill()
        self._stopping = True
        self._events.put(_Stop())

    def _stop_all(self) -> None:
        self._stopping = True
        for child in reversed(self._children.values()):
            if not child.running:
                continue
            self._on_note(f"stopping {child.spec.name}")
            child.stop()
            if not child.wait(child.spec.grace_s):
                self._on_note(f"{child.spec.name} did not stop within {child.spec.grace_s:g} s; killing it")
            child.kill()  # the rest of its group
            child.wait(child.spec.grace_s)
        for child in self._children.values():
            if not child.group_is_gone(within_s=GONE_WITHIN_S):
                self._on_note(f"{child.spec.name} left a process behind that cannot be killed")
