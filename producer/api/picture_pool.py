"""Checks pictures in threads of their own: a stranger's slow server holds none of those that answer other callers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from jobs.errors import FieldError
from producer.api.pictures import is_url, pictures_in
from producer.api.problems import Code, Problem

THREADS: Final = 8
MOST_THREADS_OF_A_TENANT: Final = THREADS // 2
MOST_REQUESTS_OF_A_TENANT: Final = 20
"""Requests of one tenant that are checked or wait for a thread; each holds its body in memory."""

WITHIN_S: Final = 10.0
"""The longest that all pictures of one request may take, once a thread is free."""

ROOM_WITHIN_S: Final = 10.0
RETRY_AFTER_S: Final = 5

Check = Callable[[Mapping[str, Any]], Sequence[FieldError]]


@dataclass
class _Share:
    """What one tenant has of the pool."""

    requests: int = 0
    threads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_THREADS_OF_A_TENANT))


class PicturePool:
    """Runs a check in a small pool, of which one tenant gets at most half."""

    def __init__(self, check: Check, *, within_s: float = WITHIN_S, room_within_s: float = ROOM_WITHIN_S) -> None:
        self._check = check
        self._within_s = within_s
        self._room_within_s = room_within_s
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="pictures")
        self._threads = asyncio.Semaphore(THREADS)
        self._shares: dict[str | None, _Share] = {}

    async def check(self, parameters: Mapping[str, Any], *, tenant: str | None) -> list[FieldError]:
        """Check a request's pictures, and name each field that must change.

        Raises:
            Problem: there is no room; the caller may try again.
        """
        names = [name for name, picture in pictures_in(parameters) if is_url(picture)]
        if not names:
            return list(await run_in_threadpool(self._check, parameters))
        share = self._enter(tenant)
        try:
            await self._take_thread(share)
        except BaseException:
            self._leave(tenant, share)
            raise
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._check, parameters)
        running.add_done_callback(lambda done: self._give_back(tenant, share, done))
        await asyncio.wait({running}, timeout=self._within_s)
        if running.done():
            return list(running.result())
        return [FieldError(name, f"could not be checked within {self._within_s:g} s") for name in dict.fromkeys(names)]

    def close(self) -> None:
        """Take no more requests; checks under way end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _enter(self, tenant: str | None) -> _Share:
        share = self._shares.setdefault(tenant, _Share())
        if share.requests >= MOST_REQUESTS_OF_A_TENANT:
            raise _no_room()
        share.requests += 1
        return share

    def _leave(self, tenant: str | None, share: _Share) -> None:
        share.requests -= 1
        if not share.requests:
            del self._shares[tenant]

    async def _take_thread(self, share: _Share) -> None:
        try:
            async with asyncio.timeout(self._room_within_s):
                await share.threads.acquire()
                try:
                    await self._threads.acquire()
                except asyncio.CancelledError:
                    share.threads.release()
                    raise
        except TimeoutError:
            raise _no_room() from None

    def _give_back(self, tenant: str | None, share: _Share, done: "asyncio.Future[Sequence[FieldError]]") -> None:
        """Free the thread; a check that was given up holds its thread, and counts, until it ends."""
        if not done.cancelled():
            done.exception()  # of a check that was given up nobody else asks
        self._threads.release()
        share.threads.release()
        self._leave(tenant, share)


def _no_room() -> Problem:
    detail = f"Other pictures are being checked first; nothing was submitted. Try again in {RETRY_AFTER_S} s."
    return Problem(Code.RATE_LIMITED, detail, headers={"retry-after": str(RETRY_AFTER_S)})
