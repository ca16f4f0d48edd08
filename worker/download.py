"""Downloads: fetches due videos into the archive, and late videos of ended jobs."""

import logging
from dataclasses import replace
from typing import Final

from jobs.errors import StaleTurn, WrongState
from jobs.facts import Download, Fetched
from jobs.job import Job, Stored, VideoRequest
from jobs.ledger import Ledger
from jobs.media import Media
from jobs.moves.download import after_download
from jobs.moves.follow_up import after_late_download, after_late_poll
from jobs.moves.move import Move, Policy
from jobs.states import FollowUp, State
from jobs.work_items import Claim, Claimed, Item
from worker import faults
from worker.archive.archive import Archive
from worker.claimed import Now, clock_from, contained
from worker.describe.mismatches import mismatches
from worker.upstream.poller import Poller

log = logging.getLogger("rushes.tasks")

MOST_AT_ONCE: Final = 4
"""A thread claims at most this many videos to fetch, if more are due than threads."""


class Downloading:
    """Fetches videos; each job then ends, or its download (never the generation) is tried again."""

    def __init__(
        self, ledger: Ledger, archive: Archive, policy: Policy, *, longest_s: float, worker: str, threads: int
    ) -> None:
        """A download takes at most `longest_s`; `threads` of this process download at once."""
        self.longest_s = longest_s
        self.claim = Claim(
            queue=State.STORING,
            limit=MOST_AT_ONCE,
            share=threads,
            wants_request=True,
            event="job.storing",
            data={"worker": worker},
        )
        self._ledger = ledger
        self._archive = archive
        self._policy = policy

    def fetch(self, claimed: Claimed) -> None:
        """Fetch the videos of the claimed jobs."""
        now = clock_from(claimed.at)
        for one in claimed.jobs:
            with contained("store", one.job):
                self._fetch(one.job, one.request, now)

    def _fetch(self, job: Job, request: VideoRequest | None, now: Now) -> None:
        assert job.video is not None
        faults.here("store.before_fetch")
        outcome = self._archive.fetch(job.id, job.turn, job.video)
        faults.here("store.before_write")
        outcome = compared(request, outcome)
        self._write(job, outcome, after_download(job, outcome, now=now(), policy=self._policy))
        faults.here("store.after_write")

    def _write(self, job: Job, outcome: Download, move: Move) -> None:
        """Apply the move; a copy of which the job's row will say nothing is removed."""
        try:
            self._ledger.move(job, move)
        except (StaleTurn, WrongState):
            if isinstance(outcome, Fetched):
                discard_unless_kept(self._ledger, self._archive, job.id, outcome.stored)
            raise
        if isinstance(outcome, Fetched):
            self._archive.discard_others(job.id, outcome.stored)


class LateFetching:
    """Polls ended jobs' paid generations, and fetches those that finished late."""

    claim = Claim(queue=FollowUp.LATE_FETCH, wants_request=True)

    def __init__(self, ledger: Ledger, archive: Archive, poller: Poller, policy: Policy, *, longest_s: float) -> None:
        """A poll with its download takes at most `longest_s`."""
        self.longest_s = longest_s
        self._ledger = ledger
        self._archive = archive
        self._poller = poller
        self._policy = policy

    def fetch(self, claimed: Claimed) -> None:
        """Poll and fetch for each of the claimed jobs."""
        now = clock_from(claimed.at)
        for item in claimed.items:
            if item.job is not None:
                with contained("late_fetch", item):
                    self._fetch(item, item.job, now)

    def _fetch(self, item: Item, job: Job, now: Now) -> None:
        assert job.generation_id is not None
        result = self._poller.poll(job.generation_id, job.family)
        found = after_late_poll(job, result, now=now(), policy=self._policy)
        if isinstance(found, Move):
            self._ledger.move(item, found)
            return
        outcome = compared(item.request, self._archive.fetch(job.id, item.turn, found))
        move = after_late_download(job, found, outcome, now=now(), policy=self._policy)
        write_follow_up(self._ledger, self._archive, item, move, made=_stored(outcome))
        if isinstance(outcome, Fetched):
            self._archive.discard_others(job.id, outcome.stored)


def write_follow_up(ledger: Ledger, archive: Archive, item: Item, move: Move, *, made: Stored | None) -> None:
    """Apply a follow-up's move; if its turn is over, remove what it `made`, unless the job's row names it."""
    try:
        ledger.move(item, move)
    except StaleTurn:
        if made is not None:
            discard_unless_kept(ledger, archive, item.id, made)
        raise


def discard_unless_kept(ledger: Ledger, archive: Archive, job_id: str, stored: Stored) -> None:
    """Remove a copy, with its artifacts, that the job's row does not name: no other fetch wrote a file of this name."""
    job = ledger.get(job_id)
    if job.erased_at is not None or job.stored is None or job.stored.path != stored.path:
        archive.discard(stored)


def compared(request: VideoRequest | None, outcome: Download) -> Download:
    """Add to the video's facts how it differs from the request."""
    if request is None or not isinstance(outcome, Fetched) or outcome.media is None:
        return outcome
    return replace(outcome, media=_compared(request, outcome.media))


def _compared(request: VideoRequest, media: Media) -> Media:
    expected = {**request.expected, **request.parameters}
    try:
        return replace(media, mismatch=(*media.mismatch, *mismatches(expected, media)))
    except Exception:  # odd parameters must not keep a paid video from being stored
        log.exception("comparing the video with its request failed unforeseen")
        return media


def _stored(outcome: Download) -> Stored | None:
    return outcome.stored if isinstance(outcome, Fetched) else None
