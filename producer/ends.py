"""Reads the ends of jobs from the event stream, so that a receiver can catch up after an outage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.events import ENDS
from jobs.job import Job, VideoRequest
from jobs.job_log import START, EventRange, position
from jobs.ledger import Ledger

RANGE: Final = 1000
MOST_RANGES: Final = 5
"""One request reads at most this many ranges of `RANGE` entries, of all tenants."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of one job from the event stream, with the job as it is now; `cursor` is its position."""

    cursor: str
    event: str
    job: Job
    request: VideoRequest


@dataclass(frozen=True, slots=True)
class EndsRead:
    """Some ends, oldest first, the cursor to continue from, and whether the event stream has more entries."""

    ends: Sequence[End]
    cursor: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class CursorTooOld:
    """The event stream no longer reaches back to the cursor: the caller must list the jobs that ended since."""

    cursor: str

    @property
    def at(self) -> float:
        """The time of the cursor's entry, in seconds since the epoch."""
        return position(self.cursor)[0] / 1000


class Ends:
    """Reads ends from the event stream.

    Raises:
        LedgerUnavailable: Redis is unavailable.
    """

    def __init__(self, ledger: Ledger, *, entries: int = RANGE, most_ranges: int = MOST_RANGES) -> None:
        self._ledger = ledger
        self._entries = entries
        self._most_ranges = most_ranges

    def latest(self) -> str:
        """Return the cursor after the newest event."""
        return self._ledger.job_log.newest()

    def after(
        self, cursor: str | None, *, limit: int, events: Sequence[str] = ENDS, tenant: str | None = None
    ) -> EndsRead | CursorTooOld:
        """Read up to `limit` ends after the cursor, of one tenant's jobs or of all; None: from the oldest entry.

        The part of the stream that one call reads is bounded: a result may be short, or empty, and still have more
        after its cursor. Jobs without a row (erased or expired) are left out.
        """
        found: list[End] = []
        for _ in range(self._most_ranges):
            read = self._ledger.job_log.range(cursor, most=self._entries)
            if cursor is not None and not read.is_whole:
                return CursorTooOld(cursor)
            for end in self._ends(read, events, tenant):
                if len(found) == limit:
                    return EndsRead(found, found[-1].cursor, has_more=True)
                found.append(end)
            if len(read.entries) < self._entries:
                return EndsRead(found, _last(read, cursor), has_more=False)
            cursor = _last(read, cursor)
        return EndsRead(found, cursor or START, has_more=True)

    def _ends(self, read: EventRange, events: Sequence[str], tenant: str | None) -> Iterator[End]:
        wanted = [entry for entry in read.entries if entry[2] in events]
        known = {job.id: (job, request) for job, request in self._ledger.get_many([job_id for _, job_id, _ in wanted])}
        for entry_id, job_id, event in wanted:
            if job_id in known and tenant in {None, known[job_id][0].tenant}:
                yield End(entry_id, event, *known[job_id])


def _last(read: EventRange, cursor: str | None) -> str:
    return read.entries[-1][0] if read.entries else cursor or START
