"""The drill's result hook: records deliveries outside Redis."""

import os
from pathlib import Path

from worker.receivers.result import JobResult


def ended(result: JobResult) -> None:
    """Append one line per delivery to the job's file."""
    folder = Path(os.environ["RUSHES_CHAOS_DELIVERIES"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / result.id).open("a") as out:
        out.write(f"{result.status}\n")
