"""The worker's side of the isolated process: sends it one request at a time, and ends it when it does not answer."""

import contextlib
import json
import logging
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from config import launch

log = logging.getLogger("rushes.media")

LONGEST_ANSWER: Final = 65_536
KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "LANG")
"""The variables that the interpreter needs; a process that reads untrusted bytes gets no keys or passwords."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """No answer; `message` says why, and may quote untrusted text."""

    message: str


class IsolatedProcess:
    """One isolated process, started at the first request and again after it has ended."""

    def __init__(self, *, memory_bytes: int, timeout_s: float) -> None:
        """Limit its memory, and each request's wall time and processor time."""
        self._command = launch.command("worker.describe", str(memory_bytes), str(max(1, round(timeout_s))))
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, verb: str, arguments: Sequence[str]) -> Found | Trouble:
        """Send it one request; never raises, even if the bytes crash it."""
        if not self._lock.acquire(timeout=self._timeout_s):
            return Trouble("the process that looks into videos is busy")
        try:
            return self._ask(json.dumps({"do": verb, "arguments": list(arguments)}).encode() + b"\n")
        except OSError as error:
            return Trouble(f"no process could be started ({error.strerror})")
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> Found | Trouble:
        if self._process is not None:  # it may have ended by itself since the last request
            answer = self._exchange(self._process, request)
            if answer != b"":
                return self._read(answer)
            self._end()
        self._process = self._started()
        return self._read(self._exchange(self._process, request))

    def _read(self, answer: bytes | None) -> Found | Trouble:
        """Read an answer; None: it took too long; b"": it died of its limits, or of the bytes."""
        parsed = _parsed(answer) if answer else None
        if parsed is not None:
            return parsed
        self._end()
        if answer is None:
            return Trouble(f"it took longer than {self._timeout_s:g} s")
        return Trouble("the process that looked into it broke down, or used up what it may use")

    def _exchange(self, process: "subprocess.Popen[bytes]", request: bytes) -> bytes | None:
        """Return its answer's line; b"" if it has ended, None if the time is up."""
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + self._timeout_s
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except OSError:
            return b""
        answer = b""
        with selectors.DefaultSelector() as selector:  # select(2) fails above 1,024 files
            selector.register(process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                piece = os.read(process.stdout.fileno(), LONGEST_ANSWER)
                if not piece or len(answer) > LONGEST_ANSWER:
                    return b""
                answer += piece
        return answer

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 (our own command)
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            start_new_session=True,  # a Ctrl-C at the worker's terminal is the worker's
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        process.wait()


def _parsed(answer: bytes) -> Found | Trouble | None:
    """Parse the answer; None for an invalid line: a process with untrusted bytes may write anything."""
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    match data:
        case {"found": dict(facts)}:
            return Found(facts)
        case {"trouble": str(message)}:
            return Trouble(message)
        case _:
            return None
