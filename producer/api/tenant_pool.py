"""Threads that tenants share: none has more than its part, and who has none waits for nobody who has many."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from producer.api.problems import Code, Problem

RETRY_AFTER_S: Final = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The size of a pool.

    `of_a_tenant`: threads that one tenant gets at most.
    `reserved`: the last free threads are only for tenants who have none.
    `calls_of_a_tenant`: those of one tenant that run or wait; each holds its request in memory.
    `room_within_s`: how long a call waits for a thread.
    """

    name: str
    threads: int
    of_a_tenant: int
    reserved: int
    calls_of_a_tenant: int
    room_within_s: float = 10.0


@dataclass(eq=False)
class _Share:
    """What one tenant has of the pool."""

    calls: int = 0
    threads: int = 0


class TenantPool:
    """Runs calls in threads of its own, used from one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._executor = ThreadPoolExecutor(bounds.threads, thread_name_prefix=bounds.name)
        self._free = bounds.threads
        self._shares: dict[str | None, _Share] = {}
        self._waiting: list[tuple[_Share, asyncio.Future[None]]] = []

    async def run(self, tenant: str | None, call: Callable[..., T], *args: Any) -> T:
        """Call in a thread; a caller who goes away leaves the call to its end.

        Raises:
            Problem: there was no room, and it was not begun; the caller may try again.
        """
        return await asyncio.shield(await self.begin(tenant, call, *args))

    async def begin(self, tenant: str | None, call: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Wait for a thread, and begin a call that nobody need wait for; it holds its thread until it ends.

        Raises:
            Problem: there was no room, and it was not begun; the caller may try again.
        """
        share = self._enter(tenant)
        try:
            await self._thread_for(share)
        except BaseException:
            self._leave(tenant, share)
            raise
        running = asyncio.get_running_loop().run_in_executor(self._executor, call, *args)
        running.add_done_callback(lambda done: self._end(tenant, share, done))
        return running

    def close(self) -> None:
        """Take no more calls; those under way end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _enter(self, tenant: str | None) -> _Share:
        share = self._shares.setdefault(tenant, _Share())
        if share.calls >= self._bounds.calls_of_a_tenant:
            raise _no_room()
        share.calls += 1
        return share

    def _leave(self, tenant: str | None, share: _Share) -> None:
        share.calls -= 1
        if not share.calls:
            del self._shares[tenant]

    async def _thread_for(self, share: _Share) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((share, turn))
        self._admit()
        try:
            async with asyncio.timeout(self._bounds.room_within_s):
                await turn
        except TimeoutError:
            self._give_up(share, turn)
            raise _no_room() from None
        except BaseException:
            self._give_up(share, turn)
            raise

    def _give_up(self, share: _Share, turn: "asyncio.Future[None]") -> None:
        """Wait no longer; a thread that was given in the same moment goes back."""
        if (share, turn) in self._waiting:
            self._waiting.remove((share, turn))
        else:
            self._give_back(share)

    def _admit(self) -> None:
        """Give free threads to who waits: to tenants with the fewest first, among those in order."""
        while ready := [one for one in self._waiting if not one[1].done() and self._may_begin(one[0])]:
            share, turn = min(ready, key=lambda one: one[0].threads)
            self._waiting.remove((share, turn))
            self._free -= 1
            share.threads += 1
            turn.set_result(None)

    def _may_begin(self, share: _Share) -> bool:
        left = self._free if share.threads == 0 else self._free - self._bounds.reserved
        return left > 0 and share.threads < self._bounds.of_a_tenant

    def _give_back(self, share: _Share) -> None:
        self._free += 1
        share.threads -= 1
        self._admit()

    def _end(self, tenant: str | None, share: _Share, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled():
            done.exception()  # of a call that was given up nobody else asks
        self._leave(tenant, share)
        self._give_back(share)


def _no_room() -> Problem:
    detail = f"Other requests of this kind are served first; nothing was submitted. Try again in {RETRY_AFTER_S} s."
    return Problem(Code.RATE_LIMITED, detail, headers={"retry-after": str(RETRY_AFTER_S)})
