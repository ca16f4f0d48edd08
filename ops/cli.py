"""The entry point of `rushes`, which Ctrl-C can end from its first moment."""

import gc
import io
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Final, TextIO

_COLLECT_EVERY: Final = 50_000
"""Imports make half a million objects and hardly any garbage: Python's 700 would cost a fifth of a command's CPU."""


def main() -> None:
    """Run the command line; while it imports Ctrl-C ends it silently."""
    gc.set_threshold(_COLLECT_EVERY)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # pydantic would read every installed package's entry points
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.SIG_IGN:  # a shell's background job ignores Ctrl-C: keep that
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Run by its path, because PYTHONPATH may contain another `config`.
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "config" / "launch.py"))["claim_names"]()
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)
    from ops.commands import app  # noqa: PLC0415 (the lines above come first)

    signal.signal(signal.SIGINT, handler)
    app()


def _unfailing(stream: TextIO | None) -> TextIO:
    """Make a stream that replaces characters it cannot encode; a closed one discards all output."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        stream.reconfigure(errors="replace")
    return stream


if __name__ == "__main__":
    main()
