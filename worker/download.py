"""Downloads: fetches due videos into the archive, and late videos of ended jobs."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from jobs.errors import StaleTurn, WrongState
from jobs.facts import Download, Fetched
from jobs.job import Job, Stored
from jobs.ledger import Ledger
from jobs.media import Media
from jobs.moves.download import after_download, storing
from jobs.moves.follow_up import after_late_download, after_late_poll, begun
from jobs.moves.move import Move, Policy
from jobs.states import FollowUp, State
from jobs.wakes import Alarm
from worker import faults
from worker.archive.archive import Archive
from worker.claimed import Now, contained
from worker.describe.mismatches import mismatches
from worker.upstream.poller import Poller

log = logging.getLogger("rushes.tasks")


class Downloading:
    """Fetches videos; each job then ends, or its download (never the generation) is tried again."""

    def __init__(self, ledger: Ledger, archive: Archive, policy: Policy, *, lease_s: float, worker: str) -> None:
        self._ledger = ledger
        self._archive = archive
        self._policy = policy
        self._lease_s = lease_s
        self._worker = worker

    def fetch(self, jobs: Sequence[Job], now: Now) -> Iterator[Alarm]:
        """Fetch the videos of the claimed jobs; yield the alarms to set."""
        for job in jobs:
            with contained("store", job):
                yield from self._fetch(job, now)

    def _fetch(self, job: Job, now: Now) -> Sequence[Alarm]:
        job = self._ledger.begin(job, storing(lease_s=self._lease_s, worker=self._worker))
        assert job.video is not None
        faults.here("store.before_fetch")
        outcome = self._archive.fetch(job.id, job.turn, job.video)
        faults.here("store.before_write")
        outcome = compared(self._ledger, job, outcome)
        alarms = self._written(job, outcome, after_download(job, outcome, now=now(), policy=self._policy))
        faults.here("store.after_write")
        return alarms

    def _written(self, job: Job, outcome: Download, move: Move) -> Sequence[Alarm]:
        """Apply the move; if the job has ended meanwhile, remove its copy."""
        try:
            return self._ledger.move(job, move).alarms
        except (StaleTurn, WrongState):
            ended = {State.CANCELLED, State.EXPIRED, State.FAILED}
            if isinstance(outcome, Fetched) and self._ledger.get(job.id).state in ended:
                self._archive.discard(outcome.stored)
            raise


class LateFetching:
    """Polls ended jobs' paid generations, and fetches those that finished late."""

    def __init__(self, ledger: Ledger, archive: Archive, poller: Poller, policy: Policy, *, lease_s: float) -> None:
        self._ledger = ledger
        self._archive = archive
        self._poller = poller
        self._policy = policy
        self._lease_s = lease_s

    def fetch(self, jobs: Sequence[Job], now: Now) -> Iterator[Alarm]:
        """Poll and fetch for each of the claimed jobs; yield the alarms to set."""
        for job in jobs:
            with contained("late_fetch", job):
                yield from self._fetch(job, now)

    def _fetch(self, job: Job, now: Now) -> Sequence[Alarm]:
        job = self._ledger.begin(job, begun(FollowUp.LATE_FETCH, lease_s=self._lease_s))
        assert job.generation_id is not None
        result = self._poller.poll(job.generation_id, job.family)
        found = after_late_poll(job, result, now=now(), policy=self._policy)
        if isinstance(found, Move):
            return self._ledger.move(job, found).alarms
        outcome = compared(self._ledger, job, self._archive.fetch(job.id, job.late_fetch_turn, found))
        move = after_late_download(job, found, outcome, now=now(), policy=self._policy)
        return written_unless_erased(self._ledger, self._archive, job, move, kept=_stored(outcome))


def written_unless_erased(
    ledger: Ledger, archive: Archive, job: Job, move: Move, *, kept: Stored | None
) -> Sequence[Alarm]:
    """Apply a follow-up's move; if the job was erased meanwhile, remove what was `kept` for it."""
    try:
        return ledger.move(job, move).alarms
    except StaleTurn:
        if kept is not None and ledger.get(job.id).erased_at is not None:
            archive.discard(kept)
        raise


def compared(ledger: Ledger, job: Job, outcome: Download) -> Download:
    """Add to the video's facts how it differs from the request."""
    if not isinstance(outcome, Fetched) or outcome.media is None:
        return outcome
    return replace(outcome, media=_compared(ledger, job, outcome.media))


def _compared(ledger: Ledger, job: Job, media: Media) -> Media:
    request = ledger.request(job.id)
    expected = {**request.expected, **request.parameters}
    try:
        return replace(media, mismatch=(*media.mismatch, *mismatches(expected, media)))
    except Exception:  # odd parameters must not keep a paid video from being stored
        log.exception("comparing the video of job=%s with its request failed unforeseen", job.id)
        return media


def _stored(outcome: Download) -> Stored | None:
    return outcome.stored if isinstance(outcome, Fetched) else None
