"""A render process: scenes come in on standard input, one JSON line each; a line goes out when each film is on disk.

Run by the render pool as `python -m ops.sandbox.render_process`. It ends when its input does, so that it cannot
outlive the sandbox, however that died.
"""

import json
import os
import signal
import sys
from pathlib import Path

from ops.sandbox.film import shoot
from ops.sandbox.scene import Scene

POLITENESS = 10  # about a tenth of the processor time that another process gets


def main() -> None:
    """Shoot scenes until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sandbox's to answer
    os.nice(POLITENESS)
    for line in sys.stdin:
        order = json.loads(line)
        answer(attempt(Scene.loads(order["scene"]), Path(order["path"])))


def attempt(scene: Scene, path: Path) -> str:
    """Shoot one scene, so that the file appears whole or not at all; returns what went wrong, if anything."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shoot(scene, unfinished)
        unfinished.replace(path)
    except Exception as failed:  # noqa: BLE001 - told to the sandbox, which tells the client
        unfinished.unlink(missing_ok=True)
        return f"{type(failed).__name__}: {failed}"
    return ""


def answer(complaint: str) -> None:
    """Say that a film is done; an empty complaint is none."""
    sys.stdout.write(json.dumps({"complaint": complaint}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
