"""Sends the events of a job to its subscribers. One reader per process serves them all.

The reader is a thread that blocks on Redis's event stream while there are subscribers, which are coroutines. A
subscriber first receives live events and then reads the job log, so that it misses nothing; it drops duplicates by id.
"""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from jobs.errors import LedgerUnavailable
from jobs.events import LogEntry
from jobs.job_log import EventBatch, following, position
from jobs.states import State
from producer.service import Service

log = logging.getLogger("rushes.api.event_stream")

MOST_PENDING: Final = 500
"""A subscriber with more undelivered events reads the job log instead."""

MOST_READS: Final = 16
"""Job logs that are read at once: after an outage thousands of streams read theirs, and other requests go on."""

MOST_AT_FULL_PACE: Final = 40
"""Watchers that are told of changes as often as they asked for: 40 pages, each asked for every 2 s, are half a core."""

_PAUSE_S: Final = 0.5


class Heartbeat:
    """No event came for the heartbeat's interval."""


HEARTBEAT: Final = Heartbeat()


@dataclass(eq=False)
class Subscriber:
    """One subscriber to a job, with the events that it has yet to receive."""

    job_id: str
    pending: list[LogEntry] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    must_read_log: bool = False

    def push(self, entry: LogEntry) -> None:
        """Add an event of its job."""
        if len(self.pending) >= MOST_PENDING:
            self.restart()
        else:
            self.pending.append(entry)
            self.changed.set()

    def restart(self) -> None:
        """Make it read the job log, because live events may be missing."""
        self.pending.clear()
        self.must_read_log = True
        self.changed.set()


@dataclass(eq=False)
class Watcher:
    """One who wants to know that something happened to these jobs; None: to any."""

    job_ids: frozenset[str] | None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class EventStream:
    """Sends events to the subscribers of their jobs. Used from one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._subscribers: dict[str, set[Subscriber]] = {}
        self._watchers: set[Watcher] = set()
        self._reads = asyncio.Semaphore(MOST_READS)
        self._reader: threading.Thread | None = None
        self._is_needed = threading.Event()
        self._is_closed = False

    @property
    def subscribers(self) -> int:
        """The number of subscribers."""
        return sum(map(len, self._subscribers.values())) + len(self._watchers)

    @property
    def is_closed(self) -> bool:
        """Whether the process is about to end."""
        return self._is_closed

    def close(self) -> None:
        """End every subscription at once, because the process is about to end."""
        self._is_closed = True
        self._is_needed.set()
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.changed.set()
        for watcher in self._watchers:
            watcher.changed.set()

    async def changes(
        self, job_ids: frozenset[str] | None, *, at_most_every_s: float, heartbeat_s: float
    ) -> AsyncIterator[bool]:
        """Yield True when events of these jobs came (None: of any), and False after `heartbeat_s` without any.

        It reads nothing: many events within `at_most_every_s` are one change; with more than `MOST_AT_FULL_PACE`
        watchers within longer, in proportion, so that what they all ask for then stays bounded.
        """
        watcher = Watcher(job_ids)
        self._watchers.add(watcher)
        self._ensure_reader()
        try:
            while not self._is_closed:
                has_changed = await _is_set(watcher.changed, within_s=heartbeat_s)
                watcher.changed.clear()
                yield has_changed
                for pause in range(self._pauses() if has_changed else 0):
                    if pause:
                        yield False
                    await asyncio.sleep(at_most_every_s)
        finally:
            self._watchers.discard(watcher)
            self._rest()

    def _pauses(self) -> int:
        return math.ceil(len(self._watchers) / MOST_AT_FULL_PACE)

    async def follow(self, job_id: str, *, after: str, heartbeat_s: float) -> AsyncIterator[LogEntry | Heartbeat]:
        """Yield a job's events after an entry until the job ends, and a heartbeat after `heartbeat_s` without any."""
        with self._subscribe(job_id) as subscriber:
            last_id, subscriber.must_read_log = after, True
            while not self._is_closed:
                entries = await self._new_entries(subscriber, last_id)
                if entries is None:
                    return
                for entry in entries:
                    last_id = entry.id
                    yield entry
                    if State(entry.state).is_final:
                        return
                if not subscriber.changed.is_set() and not await _is_set(subscriber.changed, within_s=heartbeat_s):
                    yield HEARTBEAT

    async def _new_entries(self, subscriber: Subscriber, last_id: str) -> Sequence[LogEntry] | None:
        """Return the entries after the last one; None: the job is gone, with its log."""
        subscriber.changed.clear()
        entries, subscriber.pending = subscriber.pending, []
        if subscriber.must_read_log:
            subscriber.must_read_log = False
            async with self._reads:
                logged = await self._service.log_async(subscriber.job_id)
            if not logged:
                return None
            entries = [*logged, *entries]
        fresh = {entry.id: entry for entry in following(entries, last_id)}
        return sorted(fresh.values(), key=lambda entry: position(entry.id))

    @contextmanager
    def _subscribe(self, job_id: str) -> Iterator[Subscriber]:
        subscriber = Subscriber(job_id)
        self._subscribers.setdefault(job_id, set()).add(subscriber)
        self._ensure_reader()
        try:
            yield subscriber
        finally:
            self._subscribers[job_id].discard(subscriber)
            if not self._subscribers[job_id]:
                del self._subscribers[job_id]
            self._rest()

    def _rest(self) -> None:
        """Let the reader pause while nobody listens."""
        if not self._subscribers and not self._watchers and not self._is_closed:
            self._is_needed.clear()

    def _ensure_reader(self) -> None:
        if self._reader is None:
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), name="event-stream", daemon=True)
            self._reader.start()
        self._is_needed.set()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read the event stream while there are subscribers; after a pause start again from its newest event."""
        cursor: str | None = None
        while not self._is_closed:
            if not self._is_needed.is_set():
                cursor = None
                self._is_needed.wait()
                continue
            try:
                if cursor is None:
                    cursor = self._service.newest_event()
                    loop.call_soon_threadsafe(self._restart_all)
                batch = self._service.events_after(cursor)
                cursor = batch.cursor
                if batch.entries or batch.gap:
                    loop.call_soon_threadsafe(self._dispatch, batch)
            except LedgerUnavailable as error:
                log.warning("the event stream cannot be read, trying again error=%s", error)
                threading.Event().wait(_PAUSE_S)
            except RuntimeError:  # the loop has ended, and with it every subscriber
                return

    def _restart_all(self) -> None:
        """Make every subscriber read the job log once more: live events before this moment may be missing."""
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.restart()
        for watcher in self._watchers:
            watcher.changed.set()

    def _dispatch(self, batch: EventBatch) -> None:
        changed = {job_id for job_id, _ in batch.entries}
        for watcher in self._watchers:
            if changed and (watcher.job_ids is None or watcher.job_ids & changed):
                watcher.changed.set()
        for job_id, entry in batch.entries:
            for subscriber in self._subscribers.get(job_id, ()):
                subscriber.push(entry)
        if batch.gap:
            self._restart_all()


async def _is_set(event: asyncio.Event, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
