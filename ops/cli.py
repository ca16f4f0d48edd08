"""The entry of `rushes`: it may be interrupted from its first moment."""

import io
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import TextIO


def main() -> None:
    """Run the command line. Loading it takes half a second, in which Ctrl-C ends it without a word."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is not signal.SIG_IGN:  # ignored if we were started in the background: leave it so
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # By its file: where PYTHONPATH leads to another `config`, ours has no name yet.
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "config" / "launch.py"))["claim_names"]()
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)
    from ops.commands import app  # noqa: PLC0415 (the lines above come first)

    signal.signal(signal.SIGINT, heard)
    app()


def _unfailing(stream: TextIO | None) -> TextIO:
    """The stream; what its encoding has no character for is replaced, and a closed one swallows all."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        stream.reconfigure(errors="replace")
    return stream


if __name__ == "__main__":
    main()
