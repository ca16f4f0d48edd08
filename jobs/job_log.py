"""The job log, which records one job's events, and the event stream, which records those of all jobs.

An entry is written twice: to its job's log, a compact list that lives with the job, and to the event stream, one capped
stream that followers read. Both carry the stream's id, so that a reader can go on from one in the other.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from jobs.events import LogEntry
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis, awaits_redis
from jobs.states import State

STREAM: Final = f"{PREFIX}events"
START: Final = "0-0"
"""Before the first entry."""

STREAM_CLOCK_S: Final = 1.0
"""An entry's id and its script's time may differ by this many seconds: Redis reads its clock for each."""

_MOST_EVENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Entries after a cursor. `gap`: the event stream has dropped some of them; the job logs still have them."""

    entries: Sequence[tuple[str, LogEntry]]
    cursor: str
    gap: bool


@dataclass(frozen=True, slots=True)
class EventRange:
    """Entries of the stream after a cursor: entry ids, jobs and events. `is_whole`: none before them was trimmed."""

    entries: Sequence[tuple[str, str, str]]
    is_whole: bool


class JobLog:
    """Reads the entries that the ledger's scripts wrote."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    @asks_redis
    def of(self, job_id: str) -> list[LogEntry]:
        """Return the job's events, oldest first."""
        lines = cast("list[str]", self._redis.lrange(f"{PREFIX}log:{job_id}", 0, -1))
        return list(self._entries(job_id, lines))

    @awaits_redis
    async def of_async(self, job_id: str) -> list[LogEntry]:
        """Return the same from the event loop."""
        lines = await cast("Awaitable[list[str]]", self._scripts.on_loop.lrange(f"{PREFIX}log:{job_id}", 0, -1))
        return list(self._entries(job_id, lines))

    @asks_redis
    def of_many(self, job_ids: Sequence[str]) -> dict[str, list[LogEntry]]:
        """Return the events of each job, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.lrange(f"{PREFIX}log:{job_id}", 0, -1)
        logs = zip(job_ids, pipe.execute(), strict=True)
        return {job_id: list(self._entries(job_id, lines)) for job_id, lines in logs}

    def _entries(self, job_id: str, lines: Iterable[str]) -> Iterator[LogEntry]:
        """Yield the entries that this version can read; a newer version reads the others."""
        for line in lines:
            if entry := self._readable(job_id, _entry, line):
                yield entry

    def _readable(self, job_id: str, read: Callable[..., LogEntry], *raw: Any) -> LogEntry | None:
        try:
            return read(*raw)
        except Exception as error:  # noqa: BLE001 (any error concerns this entry alone)
            self._scripts.unreadable(job_id, error)
            return None

    @asks_redis
    def newest(self) -> str:
        """Return the cursor after the newest entry of the event stream."""
        newest = cast("list[tuple[str, Any]]", self._redis.xrevrange(STREAM, count=1))
        return newest[0][0] if newest else START

    @asks_redis
    def after(self, cursor: str, *, block_s: float) -> EventBatch:
        """Read the events of all jobs after the cursor; wait up to `block_s` for the first."""
        reply = cast("Any", self._redis.xread({STREAM: cursor}, count=_MOST_EVENTS, block=max(1, int(block_s * 1000))))
        raw = _only_stream(reply)
        if not raw:
            return EventBatch((), cursor, gap=False)
        oldest = cast("list[tuple[str, Any]]", self._redis.xrange(STREAM, count=1))
        gap = cursor != START and bool(oldest) and position(oldest[0][0]) > position(cursor)
        read = [
            (fields["job"], self._readable(fields["job"], _stream_entry, entry_id, fields)) for entry_id, fields in raw
        ]
        return EventBatch([(job_id, entry) for job_id, entry in read if entry], raw[-1][0], gap)

    @asks_redis
    def range(self, cursor: str | None, *, most: int) -> EventRange:
        """Read up to `most` entries after the cursor, without waiting; None: from the oldest kept."""
        pipe = self._redis.pipeline(transaction=True)  # an entry trimmed between the two reads would be missed
        pipe.xrange(STREAM, count=1)
        pipe.xrange(STREAM, min=f"({cursor}" if cursor else "-", count=most)
        oldest, raw = pipe.execute()
        reaches = cursor is None or not oldest or position(oldest[0][0]) <= position(cursor)
        entries = [(entry_id, fields["job"], fields["event"]) for entry_id, fields in raw]
        return EventRange(entries, reaches or not self._has_forgotten())

    def _has_forgotten(self) -> bool:
        """Whether the event stream may have dropped an entry; a server older than Redis 7 cannot say."""
        feed = self._redis.xinfo_stream(STREAM)
        return bool(feed.get("entries-added") != feed["length"])


def position(entry_id: str) -> tuple[int, int]:
    """Return an entry's position in the event stream: ids sort by this, not as text."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def following(entries: Sequence[LogEntry], cursor: str) -> Iterator[LogEntry]:
    """Yield the entries of a job log after the cursor."""
    return (entry for entry in entries if position(entry.id) > position(cursor))


def _only_stream(reply: Any) -> list[tuple[str, dict[str, str]]]:
    """Return the entries of the one stream that was read, in either protocol version's form."""
    if not reply:
        return []
    if not isinstance(reply, dict):
        return list(reply[0][1])
    entries = next(iter(reply.values()))
    return list(entries[0] if entries and isinstance(entries[0][0], list | tuple) else entries)


def _entry(line: str) -> LogEntry:
    """Parse a job log's line: id, event, state, turn, time; the rest is data."""
    entry_id, event, state, turn, at, data = line.split(" ", 5)
    return LogEntry(entry_id, event, float(at), State(state), int(turn), json.loads(data))


def _stream_entry(entry_id: str, fields: Mapping[str, str]) -> LogEntry:
    return LogEntry(
        entry_id,
        fields["event"],
        float(fields["at"]),
        State(fields["state"]),
        int(fields["turn"]),
        json.loads(fields["data"]),
    )
