"""Reads single keys from the terminal."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

UP: Final = ("k", "\x1b[A", "\x1bOA")
DOWN: Final = ("j", "\x1b[B", "\x1bOB")
ENTER: Final = ("\r", "\n")
_SEQUENCE_S: Final = 0.02


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits up to the given seconds for a key, "" if none came. Ctrl-C interrupts as usual."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield lambda within_s: _key(terminal, within_s)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _key(terminal: int, within_s: float) -> str:
    if not _is_typed(terminal, within_s):
        return ""
    key = os.read(terminal, 1)
    if key == b"\x1b" and _is_typed(terminal, _SEQUENCE_S):  # an arrow comes as three bytes at once
        key += os.read(terminal, 2)
    return key.decode(errors="replace")


def _is_typed(terminal: int, within_s: float) -> bool:
    return bool(select.select([terminal], [], [], within_s)[0])


def _no_key(within_s: float) -> str:
    time.sleep(within_s)
    return ""
