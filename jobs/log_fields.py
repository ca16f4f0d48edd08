"""What each log line about a job says of it: the lines' code names no job, and none can be forgotten."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from jobs.job import Job

_OF_A_ROW: Final = ("tenant", "account", "request_id")
_ABOUT: Final[ContextVar[tuple[str, int | None, Job | None, Mapping[str, Any]]]] = ContextVar("about")


def log_fields(job_id: str, turn: int | None, job: Job | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's log fields; `changes` are newer than its row, which is None if only the id is known."""
    of_a_row = {name: changes.get(name, getattr(job, name, None)) for name in _OF_A_ROW}
    return {"job": job_id, "turn": turn, **of_a_row}


@contextmanager
def about(job_id: str, turn: int | None = None, job: Job | None = None, **changes: Any) -> Iterator[None]:
    """Add this job's fields to each line that this thread logs in the block, also in libraries."""
    token = _ABOUT.set((job_id, turn, job, changes))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def current() -> dict[str, Any]:
    """Return the fields of the job that this thread works on; none if it works on none."""
    found = _ABOUT.get(None)
    return log_fields(*found) if found else {}
