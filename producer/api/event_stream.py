"""The feed: tells watchers what happens to the jobs that they watch. One reader a process, however many watch.

The reader is a thread that blocks on the ledger's feed while anybody watches. Watchers are coroutines and hold no
thread. A watcher is told from the moment it comes, and then reads the job's journal: what it hears twice it knows by
its id, and it misses nothing.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.concurrency import run_in_threadpool

from jobs.errors import LedgerUnavailable
from jobs.events import LogEntry
from jobs.job_log import EventBatch, following, position
from jobs.states import State
from producer.service import Service

log = logging.getLogger("rushes.api.event_stream")

MOST_UNHEARD: Final = 500
"""A watcher that falls this far behind reads its job's job log instead."""

_PAUSE_S: Final = 0.5


class Beat:
    """Nothing happened for a while."""


BEAT: Final = Beat()


@dataclass(eq=False)
class Watcher:
    """What one watcher has not heard yet."""

    job_id: str
    unheard: list[LogEntry] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    has_missed: bool = False

    def tell(self, entry: LogEntry) -> None:
        """Something happened to its job."""
        if len(self.unheard) >= MOST_UNHEARD:
            self.miss()
        else:
            self.unheard.append(entry)
            self.woken.set()

    def miss(self) -> None:
        """It has to read the job log."""
        self.unheard.clear()
        self.has_missed = True
        self.woken.set()


class EventStream:
    """Tells watchers what happens to their jobs. Used from one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watchers: dict[str, set[Watcher]] = {}
        self._reader: threading.Thread | None = None
        self._wanted = threading.Event()
        self._is_closed = False

    @property
    def watching(self) -> int:
        """How many watch."""
        return sum(map(len, self._watchers.values()))

    @property
    def is_closed(self) -> bool:
        """Whether the process is about to end."""
        return self._is_closed

    def close(self) -> None:
        """The process is about to end: tell the watchers at once."""
        self._is_closed = True
        self._wanted.set()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.woken.set()

    async def follow(self, job_id: str, *, after: str, beat_s: float) -> AsyncIterator[LogEntry | Beat]:
        """Everything that happens to a job after an entry, until it ends; a beat whenever nothing did for a while."""
        with self._watch(job_id) as watcher:
            told, watcher.has_missed = after, True
            while not self._is_closed:
                for entry in await self._news(watcher, told):
                    told = entry.id
                    yield entry
                    if State(entry.state).is_final:
                        return
                if not watcher.woken.is_set() and not await _happens(watcher.woken, within_s=beat_s):
                    yield BEAT

    async def _news(self, watcher: Watcher, told: str) -> Sequence[LogEntry]:
        watcher.woken.clear()
        entries, watcher.unheard = watcher.unheard, []
        if watcher.has_missed:
            watcher.has_missed = False
            entries = [*await run_in_threadpool(self._service.events, watcher.job_id), *entries]
        fresh = {entry.id: entry for entry in following(entries, told)}
        return sorted(fresh.values(), key=lambda entry: position(entry.id))

    @contextmanager
    def _watch(self, job_id: str) -> Iterator[Watcher]:
        watcher = Watcher(job_id)
        self._watchers.setdefault(job_id, set()).add(watcher)
        self._have_it_read()
        try:
            yield watcher
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]
            if not self._watchers and not self._is_closed:
                self._wanted.clear()

    def _have_it_read(self) -> None:
        if self._reader is None:
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), name="feed", daemon=True)
            self._reader.start()
        self._wanted.set()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read the event stream for as long as anybody watches; begin anew where it ends when somebody does again."""
        cursor: str | None = None
        while not self._is_closed:
            if not self._wanted.is_set():
                cursor = None
                self._wanted.wait()
                continue
            try:
                if cursor is None:
                    cursor = self._service.newest_event()
                    loop.call_soon_threadsafe(self._begin)
                news = self._service.events_after(cursor)
                cursor = news.cursor
                if news.entries or news.gap:
                    loop.call_soon_threadsafe(self._spread, news)
            except LedgerUnavailable as error:
                log.warning("the event stream cannot be read, trying again error=%s", error)
                threading.Event().wait(_PAUSE_S)
            except RuntimeError:  # the loop has ended, and with it everybody who watched
                return

    def _begin(self) -> None:
        """From here on nothing is missed; a watcher that came before reads the job log once more."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.miss()

    def _spread(self, news: EventBatch) -> None:
        for job_id, entry in news.entries:
            for watcher in self._watchers.get(job_id, ()):
                watcher.tell(entry)
        if news.gap:
            self._begin()


async def _happens(event: asyncio.Event, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
