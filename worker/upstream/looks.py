"""How many generations are looked at together: one event loop in a thread of its own, over kept-alive connections."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias
from urllib.parse import quote, urlsplit

import aiohttp
import uvloop
from yarl import URL

from config.settings import UpstreamSettings
from jobs.facts import Sighting, Unreachable
from jobs.job import Family, Hold
from worker.upstream.access import Access
from worker.upstream.wire import PATHS, read_sighting

LINGER_S: Final = 0.05
"""Looks that end within this much of each other are told together, so that they are written together."""

CHUNK_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Subject:
    """A generation to look at, on the endpoints that it was bought from."""

    generation_id: str
    family: Family


Seen: TypeAlias = tuple[int, Sighting]
"""Which of the subjects, and what was seen."""


class Looker:
    """Looks at generations, many at once, and never raises for the network. Looking is free."""

    def __init__(self, access: Access, settings: UpstreamSettings, *, connections: int) -> None:
        self._access = access
        self._settings = settings
        self._connections = connections
        self._proxy = access.proxies.get(urlsplit(access.base_url).scheme)
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(connections)

    def look(self, generation_id: str, family: Family) -> Sighting:
        """Look at one generation."""
        groups = self.look_at([Subject(generation_id, family)], pause_s=None)
        return next(seen for group in groups for _, seen in group)

    def look_at(self, subjects: Sequence[Subject], *, pause_s: float | None) -> Iterator[Sequence[Seen]]:
        """What is seen of each, in groups as they come in; an empty group after each `pause_s` without news."""
        news: SimpleQueue[Sequence[Seen]] = SimpleQueue()
        looking = asyncio.run_coroutine_threadsafe(self._look_at(subjects, news.put), self._started())
        unseen = len(subjects)
        while unseen:
            try:
                group = news.get(timeout=pause_s)
            except Empty:
                group = ()
            if not group and looking.done():
                looking.result()  # raises what must not happen
            unseen -= len(group)
            yield group

    def close(self) -> None:
        """Close the connections and end the loop's thread."""
        with self._starting:
            loop, session, self._loop, self._session = self._loop, self._session, None, None
        if loop is None or session is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(timeout=1)
        loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop, running; started when first needed, so that a process that never looks has no thread for it."""
        with self._starting:
            if self._loop is None:
                self._loop = uvloop.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="looker", daemon=True).start()
            return self._loop

    async def _look_at(self, subjects: Sequence[Subject], tell: Callable[[Sequence[Seen]], object]) -> None:
        waiting = {asyncio.ensure_future(self._look(index, subject)) for index, subject in enumerate(subjects)}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=LINGER_S)
                if done:
                    tell([task.result() for task in done])
        finally:
            tell(())

    async def _look(self, index: int, subject: Subject) -> Seen:
        async with self._room:  # the time-outs begin when there is room
            try:
                seen = await self._exchange(self._address(subject))
            except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
                seen = Unreachable(Hold.UNREACHABLE, f"no answer from the upstream ({type(error).__name__})")
        return index, self._access.bounded(seen)

    async def _exchange(self, address: URL) -> Sighting:
        async with self._connected().get(address, allow_redirects=False, proxy=self._proxy) as response:
            body = await self._body(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return read_sighting(response.status, headers, self._access.blotted(body))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body, or b"": half a reply proves no more than its status and headers do."""
        read = bytearray()
        try:
            while chunk := await response.content.read(CHUNK_BYTES):
                read += chunk
                if len(read) > self._settings.reply_bytes:
                    response.close()
                    return b""
        except (aiohttp.ClientError, OSError):
            return b""
        return bytes(read)

    def _address(self, subject: Subject) -> URL:
        """The look's URL; ids hold colons, slashes and what not, so they are escaped whole."""
        escaped = quote(subject.generation_id, safe="", errors="replace")
        return URL(f"{self._access.base_url}{PATHS[subject.family]}?generation_id={escaped}", encoded=True)

    def _connected(self) -> aiohttp.ClientSession:
        """The session, made in the loop that uses it."""
        if self._session is None:
            choice = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, ssl=ssl.create_default_context(cafile=self._access.ca_file)
                ),
                timeout=aiohttp.ClientTimeout(
                    total=choice.total_timeout_s,
                    sock_connect=choice.connect_timeout_s,
                    sock_read=choice.read_timeout_s,
                ),
                headers={**self._access.headers, "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session
