"""Shows the progress of one job while a command waits for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from jobs.errors import LedgerUnavailable
from jobs.job import Job
from jobs.schedule import Eta
from jobs.states import State
from producer.cli.display import COLOUR, duration, eta_text
from producer.cli.visible import visible
from producer.service import Service
from producer.waiting import WAITING

_DELAYS: Final = frozenset({WAITING, "job.held", "job.in_doubt", "job.needs_attention", "job.store_failed"})
"""The events after which a job may say why it waits."""


def wait_with_progress(service: Service, job_id: str, *, timeout_s: float | None, console: Console) -> Job:
    """Wait for the job's end or the time-out and return the job; show state, polls, ETA and elapsed time meanwhile."""
    if not console.is_terminal:
        return _wait_in_lines(service, job_id, timeout_s=timeout_s, console=console)
    line = ProgressLine(service, job_id)
    with line.kept_fresh(), Live(line, console=console, refresh_per_second=8, transient=True):
        return service.wait(job_id, timeout_s=timeout_s)


class ProgressLine:
    """One line with a job's state; it is read again every half second."""

    def __init__(self, service: Service, job_id: str) -> None:
        self._service = service
        self._spinner = Spinner("dots")
        self._job, _ = service.get(job_id)
        self._skew_s = service.now() - time.time()
        self._eta: Eta | None = None
        self._why: str | None = None

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Read the job every half second in the background."""
        stopping = Event()
        reader = Thread(target=self._read_until, args=(stopping,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            stopping.set()
            reader.join()

    def __rich__(self) -> RenderableType:
        """Draw the line from the last reading."""
        self._spinner.update(text=describe(self._job, self._eta, time.time() + self._skew_s, self._why))
        return self._spinner

    def _read_until(self, stopping: Event) -> None:
        while not stopping.wait(0.5):
            try:
                self._job, _ = self._service.get(self._job.id)
                self._eta = self._service.eta(self._job)
                self._why = self._service.waiting(self._job)
            except LedgerUnavailable:
                continue  # the caller's own wait reports it


def describe(job: Job, eta: Eta | None, now: float, why: str | None = None) -> Text:
    """Format state, polls, ETA, elapsed time, and why the job waits, if it does."""
    parts = [f"polls {job.polls}"]
    if eta is not None:
        parts.append(f"done {eta_text(eta)}")
    parts.append(f"elapsed {duration(now - job.accepted_at)}")
    if why:
        parts.append(visible(why))
    return Text.assemble((f"{job.state:<11}", COLOUR[job.state]), "  ", "  ·  ".join(parts))


def _wait_in_lines(service: Service, job_id: str, *, timeout_s: float | None, console: Console) -> Job:
    """Print a line for each change of state, and one for each thing that delays the job, for logs and pipes."""
    last: State | None = None
    for _, entry in service.follow([job_id], timeout_s=timeout_s, waiting=True):
        state = State(entry.state)
        if state is not last:
            console.print(Text(f"{job_id} {state}"))
            last = state
        if entry.event in _DELAYS and (why := _why(service, job_id)):
            console.print(Text(visible(f"{job_id} {why}")))
    return service.get(job_id).job


def _why(service: Service, job_id: str) -> str | None:
    return service.waiting(service.get(job_id).job)
