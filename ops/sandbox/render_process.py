"""A render process: reads scenes as JSON lines from standard input, and writes a line when each film is on disk.

The render pool runs it as `python -m ops.sandbox.render_process`. It ends at the end of its input, so it cannot
outlive the sandbox.
"""

import json
import os
import signal
import sys
from pathlib import Path

from ops.sandbox.film import write_film
from ops.sandbox.scene import Scene

NICENESS = 10  # gets about a tenth of another process's processor time


def main() -> None:
    """Render scenes until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sandbox handles Ctrl-C
    os.nice(NICENESS)
    for line in sys.stdin:
        request = json.loads(line)
        answer(attempt(Scene.loads(request["scene"]), Path(request["path"])))


def attempt(scene: Scene, path: Path) -> str:
    """Render one scene, so that the file appears whole or not at all; returns the error, or an empty string."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_film(scene, unfinished)
        unfinished.replace(path)
    except Exception as failed:  # noqa: BLE001 - sent to the sandbox, which answers the client
        unfinished.unlink(missing_ok=True)
        return f"{type(failed).__name__}: {failed}"
    return ""


def answer(error: str) -> None:
    """Report that a film is done; an empty error means success."""
    sys.stdout.write(json.dumps({"error": error}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
