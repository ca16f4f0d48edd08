"""The isolated process: reads one request a line, answers each with a line of JSON, ends when its input ends.

    python -m worker.describe MEMORY_BYTES CPU_S
    {"do": "probe", "arguments": [path, content_type]}   ->   {"found": {...}}  or  {"trouble": "..."}

Its limits are set before it opens anything: memory, processor time for each request, written bytes, open files; its
environment has no secret.
"""

import json
import os
import resource
import select
import sys
from collections.abc import Callable
from typing import Any, Final

WRITES_BYTES: Final = 16_000_000
OPEN_FILES: Final = 64
IDLE_S: Final = 60.0
MOST_REQUESTS: Final = 500
"""After this many requests a fresh process takes over, so that leaks in decoders do not add up."""

NICENESS: Final = 10


def main() -> None:
    """Serve until the input ends, or is idle for long."""
    memory, cpu_s = int(sys.argv[1]), int(sys.argv[2])
    _bound(memory)
    for _ in range(MOST_REQUESTS):
        ready, _, _ = select.select([sys.stdin], [], [], IDLE_S)
        line = sys.stdin.buffer.readline() if ready else b""
        if not line:
            return
        _allow_cpu(cpu_s)
        sys.stdout.buffer.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"found": _verb(request["do"])(*request["arguments"])}
    except Exception as error:  # noqa: BLE001 (untrusted bytes: a decoder may raise anything)
        message = getattr(error, "strerror", None) or str(error)
        return {"trouble": f"{type(error).__name__}: {message}"[:300]}


def _verb(name: str) -> Callable[..., dict[str, Any]]:
    """Import late: a worker without previews does not pay for their libraries."""
    if name == "probe":
        from worker.describe.probe import probe  # noqa: PLC0415 (see above)

        return probe
    from worker.describe.previews import make  # noqa: PLC0415 (see above)

    return make


def _bound(memory: int) -> None:
    os.nice(NICENESS)
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, WRITES_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _allow_cpu(seconds: int) -> None:
    """Have the kernel end this process after this many more seconds of CPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 1, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
