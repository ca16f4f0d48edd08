"""Steps at which a drill may kill this process; off unless RUSHES_DRILL__KILL_AT is set.

RUSHES_DRILL__KILL_AT="submit.after_post=0.05,poll.after_write=0.01"     step=probability, or *=probability
"""

import os
import random
import signal
from collections.abc import Mapping
from typing import Final

from jobs.events import Event

VARIABLE: Final = "RUSHES_DRILL__KILL_AT"

STEPS: Final = (
    "submit.before_intent",
    "submit.before_post",
    "submit.after_post",
    "submit.after_write",
    "poll.before_write",
    "poll.after_write",
    "store.before_fetch",
    "store.mid_fetch",
    "store.before_write",
    "store.after_write",
    "deliver.before_send",
    "deliver.before_write",
    "describe.before_write",
)
"""The steps of the setting; it may also name `written.<event>`, right after the ledger wrote that event."""


def _plan(text: str) -> Mapping[str, float]:
    pairs = (item.partition("=") for item in text.split(",") if item.strip())
    return {step.strip(): float(chance) for step, _, chance in pairs}


_kill_at: Final = _plan(os.environ.get(VARIABLE, ""))


def after_write(event: Event) -> None:
    """Die right after a write, before anything else is done, if a drill says so."""
    here(f"written.{event.name}")


def here(step: str) -> None:
    """Die as by kill -9, if a drill says so."""
    if _kill_at and random.random() < _kill_at.get(step, _kill_at.get("*", 0.0)):  # noqa: S311 (no secret)
        os.kill(os.getpid(), signal.SIGKILL)
