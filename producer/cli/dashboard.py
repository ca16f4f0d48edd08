"""The live view of `rushes watch`: the number of jobs in each state, and the newest jobs."""

import time
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from jobs.errors import LedgerUnavailable
from jobs.states import State
from producer.cli.display import COLOUR, JobTable
from producer.service import Selection, Service

REFRESH_S: Final = 1.0


class Dashboard:
    """Reads the ledger once a second and draws the last reading."""

    def __init__(self, service: Service, limit: int) -> None:
        self._service = service
        self._limit = limit
        self._picture: RenderableType = Text("")
        self.refresh()

    def __rich__(self) -> RenderableType:
        """Draw the last reading."""
        return self._picture

    def refresh(self) -> None:
        """Read the ledger."""
        counts = self._service.counts()
        summary = Text("   ").join(
            Text.assemble((state.value, COLOUR[state]), f" {counts[state]}") for state in State if counts[state]
        )
        jobs = self._service.page(Selection(), limit=self._limit).jobs
        etas = self._service.etas([job for job, _ in jobs])
        table = JobTable(jobs, self._service.now(), etas)
        self._picture = Group(summary if summary.plain else Text("no jobs yet"), Text(), table)

    def refresh_until_interrupted(self) -> None:
        """Read every second until Ctrl-C; show outages of Redis and continue."""
        while True:
            time.sleep(REFRESH_S)
            try:
                self.refresh()
            except LedgerUnavailable as error:
                self._picture = Text(f"Redis is unavailable: {error}", style="red")
