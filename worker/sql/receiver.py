"""The built-in receiver that writes each ended job into the database of results."""

import logging
from collections.abc import Iterator, Sequence

from config.settings import HooksSettings
from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.job import Job, VideoRequest
from jobs.outbox import ReceiverTerms
from worker.receivers.hooks import retry_terms
from worker.receivers.outcome import Ready, Receiver
from worker.receivers.result import result_of
from worker.sql.writing import DatabaseTrouble, ResultsWriter

log = logging.getLogger("rushes.hooks")


class DatabaseReceiver(Receiver):
    """Writes a batch of ended jobs in one transaction; a worker starts even if the database is away."""

    def __init__(self, writer: ResultsWriter, settings: HooksSettings, archive: str, time_scale: float = 1.0) -> None:
        self.terms = ReceiverTerms(width=settings.width, longest_s=settings.longest_s)
        self.retries = retry_terms(settings, time_scale)
        self._writer = writer
        self._archive = archive

    def deliver_all(self, ready: Sequence[Ready]) -> Iterator[Outcome]:
        """Write all rows together; if that fails, each by itself, so that one bad row stops no other."""
        if len(ready) > 1 and self._written(ready):
            yield from [Delivered()] * len(ready)
        else:
            yield from super().deliver_all(ready)

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:  # noqa: ARG002 (of all receivers)
        """Write one row."""
        try:
            self._writer.write([result_of(job, request, self._archive)])
        except DatabaseTrouble as error:
            log.warning("database refused: %s", error)
            return NotDelivered(f"{type(error).__name__}: {error}"[:300])
        return Delivered()

    def _written(self, ready: Sequence[Ready]) -> bool:
        try:
            self._writer.write([result_of(job, request, self._archive) for _, job, request in ready])
        except Exception as error:  # noqa: BLE001 (each row's own try tells which it was)
            log.info("rows=%d could not be written together: %s", len(ready), type(error).__name__)
            return False
        return True
