"""The file of accepted generations: append-only JSON lines that survive a kill and a torn last line."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.sandbox.fault import faults_in
from ops.sandbox.generation import Generation
from ops.sandbox.video_request import Shape


class GenerationFileError(Exception):
    """The file is damaged or in use, so the sandbox does not start; the message says what to do."""


class GenerationFile:
    """Stores each generation before it is acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise GenerationFileError(
                f"Another sandbox is using {path.parent}: stop it, or choose another state_dir."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.descriptor)

    def write(self, generation: Generation) -> None:
        """Append one generation; once this returns, a kill of the process cannot lose it."""
        line = json.dumps(as_record(generation), separators=(",", ":")) + "\n"
        os.write(self.descriptor, line.encode())

    def replay(self) -> Iterator[Generation]:
        """Read back every generation, and cut off a last line that was torn by a kill."""
        whole_bytes = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                yield self.generation_in(line, number)
                whole_bytes += len(line)
        os.ftruncate(self.descriptor, whole_bytes)

    def generation_in(self, line: bytes, number: int) -> Generation:
        """Parse one line; a complete line that cannot be parsed is damage and is never skipped."""
        try:
            return from_record(json.loads(line))
        except (ValueError, KeyError, TypeError) as wrong:
            raise GenerationFileError(
                f"Line {number} of {self.path} is damaged ({wrong}): repair it or move the file."
            ) from None

    def clear(self) -> None:
        """Delete all generations."""
        os.ftruncate(self.descriptor, 0)


def generations_in(path: Path) -> Iterator[Generation]:
    """Read the generations of a file that its sandbox may still write; a torn last line is left out."""
    with path.open("rb") as lines:
        yield from (from_record(json.loads(line)) for line in lines if line.endswith(b"\n"))


def as_record(generation: Generation) -> dict[str, object]:
    """Serialize a generation."""
    shape = generation.shape
    return {
        "n": generation.number,
        "id": generation.id,
        "shape": [getattr(shape, name) for name in Shape.__slots__],
        "prompt": generation.prompt,
        "seed": generation.seed,
        "client_request_id": generation.client_request_id,
        "google_path": generation.google_path,
        "accepted_ms": generation.accepted_ms,
        "ready_ms": generation.ready_ms,
        "outcome": generation.outcome,
    }


SHAPES: dict[Shape, Shape] = {}


def from_record(record: dict[str, object]) -> Generation:
    """Deserialize a generation."""
    read = Shape(*record["shape"])  # type: ignore[misc] # we wrote it in this order
    return Generation(
        number=int(str(record["n"])),
        id=str(record["id"]),
        shape=SHAPES.setdefault(read, read),
        prompt=str(record["prompt"]),
        seed=int(str(record["seed"])),
        client_request_id=None if record["client_request_id"] is None else str(record["client_request_id"]),
        google_path=bool(record["google_path"]),
        accepted_ms=int(str(record["accepted_ms"])),
        ready_ms=int(str(record["ready_ms"])),
        outcome=None if record["outcome"] is None else str(record["outcome"]),
        faults=faults_in(str(record["prompt"])),
    )
