"""The live picture of `rushes watch`: how many jobs stand where, and the newest of them."""

import time
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from jobs.errors import LedgerUnavailable
from jobs.states import State
from producer.cli.telling import COLOUR, job_table
from producer.service import Service

REFRESH_S: Final = 1.0


class Dashboard:
    """Reads the ledger once a second; draws what it read last."""

    def __init__(self, service: Service, limit: int) -> None:
        self._service = service
        self._limit = limit
        self._picture: RenderableType = Text("")
        self.refresh()

    def __rich__(self) -> RenderableType:
        """The picture as it was last read."""
        return self._picture

    def refresh(self) -> None:
        """Read the ledger."""
        counts = self._service.counts()
        told = Text("   ").join(
            Text.assemble((state.value, COLOUR[state]), f" {counts[state]}") for state in State if counts[state]
        )
        jobs = self._service.list(limit=self._limit)
        etas = self._service.etas([job for job, _ in jobs])
        table = job_table(jobs, self._service.now(), etas)
        self._picture = Group(told if told.plain else Text("no jobs yet"), Text(), table)

    def refresh_until_interrupted(self) -> None:
        """Keep reading; an outage of Redis is shown and outlived."""
        while True:
            time.sleep(REFRESH_S)
            try:
                self.refresh()
            except LedgerUnavailable as error:
                self._picture = Text(f"Redis cannot be asked: {error}", style="red")
