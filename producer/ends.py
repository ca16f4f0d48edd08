"""The ends of jobs, read from the feed: how a receiver that was away catches up with what it was not told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.job import Job, VideoRequest
from jobs.job_log import START, EventRange, position
from jobs.ledger import Ledger
from jobs.result import ENDS

RANGE: Final = 1000
MOST_RANGES: Final = 5
"""Of the event stream one request reads five stretches of a thousand entries at most, whichever tenant's they are."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of one job as the event stream has it, with the job as it stands now. `cursor`: read on from here."""

    cursor: str
    event: str
    job: Job
    request: VideoRequest


@dataclass(frozen=True, slots=True)
class EndsRead:
    """Some ends, the oldest first, and where to go on; `has_more`: the event stream goes on from there."""

    ends: Sequence[End]
    cursor: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The event stream no longer reaches back to the cursor: what happened then must be asked for in another way."""

    cursor: str

    @property
    def at(self) -> float:
        """When the cursor's entry was written, in seconds since the epoch."""
        return position(self.cursor)[0] / 1000


class Ends:
    """Reads the event stream for ends.

    Raises:
        LedgerUnavailable: Redis could not be asked.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def latest(self) -> str:
        """The cursor behind everything that has happened until now."""
        return self._ledger.job_log.newest()

    def after(
        self, cursor: str | None, *, limit: int, events: Sequence[str] = ENDS, tenant: str | None = None
    ) -> EndsRead | Forgotten:
        """Up to `limit` ends after the cursor, of a tenant's jobs or of all; None: from the oldest that is kept.

        A bounded part of the stream is read: there may be few, or none, and still more behind the new cursor. Erased
        jobs and those whose row has expired are left out: only the row's words are shown, never the stream's.
        """
        found: list[End] = []
        for _ in range(MOST_RANGES):
            stretch = self._ledger.job_log.range(cursor, most=RANGE)
            if cursor is not None and not stretch.is_whole:
                return Forgotten(cursor)
            for end in self._ends(stretch, events, tenant):
                if len(found) == limit:
                    return EndsRead(found, found[-1].cursor, has_more=True)
                found.append(end)
            if len(stretch.entries) < RANGE:
                return EndsRead(found, _last(stretch, cursor), has_more=False)
            cursor = _last(stretch, cursor)
        return EndsRead(found, cursor or START, has_more=True)

    def _ends(self, stretch: EventRange, events: Sequence[str], tenant: str | None) -> Iterator[End]:
        wanted = [entry for entry in stretch.entries if entry[2] in events]
        known = {job.id: (job, request) for job, request in self._ledger.get_many([job_id for _, job_id, _ in wanted])}
        for entry_id, job_id, event in wanted:
            if job_id in known and tenant in {None, known[job_id][0].tenant}:
                yield End(entry_id, event, *known[job_id])


def _last(stretch: EventRange, cursor: str | None) -> str:
    return stretch.entries[-1][0] if stretch.entries else cursor or START
