"""Describing: puts manifest, poster and preview beside the videos that are due."""

import logging
from time import monotonic

from jobs.errors import LedgerUnavailable
from jobs.facts import Described, NotDescribed
from jobs.job import Job, VideoRequest
from jobs.ledger import Ledger
from jobs.moves.follow_up import after_describe
from jobs.moves.move import Policy
from jobs.states import FollowUp
from jobs.work_items import Claim, Claimed, Item
from worker import faults
from worker.archive.archive import Archive
from worker.claimed import contained
from worker.describe.describer import Describer
from worker.download import write_follow_up

log = logging.getLogger("rushes.tasks")


class Describing:
    """Describes videos; tries again while the store fails. A failure here never touches the job."""

    claim = Claim(queue=FollowUp.DESCRIBE, wants_request=True)

    def __init__(
        self, ledger: Ledger, describer: Describer, archive: Archive, policy: Policy, *, longest_s: float
    ) -> None:
        """A description takes at most `longest_s`."""
        self.longest_s = longest_s
        self._ledger = ledger
        self._describer = describer
        self._archive = archive
        self._policy = policy

    def describe(self, claimed: Claimed) -> None:
        """Describe the videos of the claimed jobs."""
        for item in claimed.items:
            if item.job is not None and item.request is not None:
                with contained("describe", item):
                    self._describe(item, item.job, item.request)

    def _describe(self, item: Item, job: Job, request: VideoRequest) -> None:
        began = monotonic()
        outcome = self._outcome(job, request)
        faults.here("describe.before_write")
        move = after_describe(outcome, tries=item.tries, took_s=monotonic() - began, policy=self._policy)
        made = job.stored if isinstance(outcome, Described) else None
        write_follow_up(self._ledger, self._archive, item, move, made=made)

    def _outcome(self, job: Job, request: VideoRequest) -> Described | NotDescribed:
        try:
            if job.stored is not None:
                self._archive.discard_others(job.id, job.stored)  # its fetch may have died before it did that
            return self._describer.describe(job, request, self._ledger.job_log.of(job.id))
        except LedgerUnavailable:
            raise
        except Exception as error:  # an odd video must not be described for ever
            log.exception("describing failed unforeseen")
            return NotDescribed(f"unforeseen: {type(error).__name__}")
