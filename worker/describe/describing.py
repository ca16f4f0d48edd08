"""Describing: puts manifest, poster and preview beside the videos that are due."""

import logging
from collections.abc import Iterator, Sequence

from jobs.facts import Described, NotDescribed
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.moves.follow_up import after_describe, begun
from jobs.moves.move import Policy
from jobs.states import FollowUp
from jobs.wakes import Alarm
from worker import faults
from worker.archive.archive import Archive
from worker.claimed import Now, contained
from worker.describe.describer import Describer
from worker.download import written_unless_erased

log = logging.getLogger("rushes.tasks")


class Describing:
    """Describes videos; tries again while the store fails. A failure here never touches the job."""

    def __init__(
        self, ledger: Ledger, describer: Describer, archive: Archive, policy: Policy, *, lease_s: float
    ) -> None:
        self._ledger = ledger
        self._describer = describer
        self._archive = archive
        self._policy = policy
        self._lease_s = lease_s

    def describe(self, jobs: Sequence[Job], _now: Now) -> Iterator[Alarm]:
        """Describe the videos of the claimed jobs; yield the alarms to set."""
        for job in jobs:
            with contained("describe", job):
                yield from self._describe(job)

    def _describe(self, job: Job) -> Sequence[Alarm]:
        job = self._ledger.begin(job, begun(FollowUp.DESCRIBE, lease_s=self._lease_s))
        outcome = self._outcome(job)
        faults.here("describe.before_write")
        move = after_describe(job, outcome, policy=self._policy)
        kept = job.stored if isinstance(outcome, Described) else None
        return written_unless_erased(self._ledger, self._archive, job, move, kept=kept)

    def _outcome(self, job: Job) -> Described | NotDescribed:
        request, entries = self._ledger.request(job.id), self._ledger.job_log.of(job.id)
        try:
            return self._describer.describe(job, request, entries)
        except Exception as error:  # an odd video must not be described for ever
            log.exception("describing job=%s failed unforeseen", job.id)
            return NotDescribed(f"unforeseen: {type(error).__name__}")
