"""Places and threads that tenants share: none has more than its part, and who has none waits for nobody with many."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from producer.api.problems import Code, Problem

RETRY_AFTER_S: Final = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many places there are, and who gets them.

    `of_a_tenant`: places that one tenant gets at most.
    `reserved`: the last free places are only for tenants who have none.
    `calls_of_a_tenant`: those of one tenant that have a place or wait for one.
    `room_within_s`: how long one waits.
    """

    places: int
    of_a_tenant: int
    reserved: int
    calls_of_a_tenant: int
    room_within_s: float = 10.0


@dataclass(eq=False)
class Share:
    """What one tenant has. `waiting`: its turns, each with its number among all, the first first."""

    tenant: str | None
    calls: int = 0
    places: int = 0
    waiting: "deque[tuple[int, asyncio.Future[None]]]" = field(default_factory=deque)

    @property
    def rank(self) -> tuple[int, int]:
        """Its rank among the tenants that wait: who has the fewest places, then who has waited longest."""
        return self.places, self.waiting[0][0]


class TenantPlaces:
    """A bounded number of places, used from one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._free = bounds.places
        self._shares: dict[str | None, Share] = {}
        self._numbers = count()

    @asynccontextmanager
    async def place(self, tenant: str | None) -> AsyncIterator[None]:
        """Hold a place meanwhile.

        Raises:
            Problem: there is none; the caller may try again.
        """
        share = await self.take(tenant)
        try:
            yield
        finally:
            self.give_back(share)

    async def take(self, tenant: str | None) -> Share:
        """Wait for a place, and take it.

        Raises:
            Problem: there is none; the caller may try again.
        """
        share = self._enter(tenant)
        try:
            await self._place_for(share)
        except BaseException:
            self._leave(share)
            raise
        return share

    def give_back(self, share: Share) -> None:
        """Give a place back."""
        self._leave(share)
        self._free_place_of(share)

    def _enter(self, tenant: str | None) -> Share:
        share = self._shares.setdefault(tenant, Share(tenant))
        if share.calls >= self._bounds.calls_of_a_tenant:
            raise _no_room()
        share.calls += 1
        return share

    def _leave(self, share: Share) -> None:
        share.calls -= 1
        if not share.calls:
            del self._shares[share.tenant]

    async def _place_for(self, share: Share) -> None:
        if not share.waiting and self._may_have_one(share):  # who waits may not have one
            self._give(share)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.waiting.append((next(self._numbers), turn))
        try:
            async with asyncio.timeout(self._bounds.room_within_s):
                await turn
        except TimeoutError:
            self._give_up(share, turn)
            raise _no_room() from None
        except BaseException:
            self._give_up(share, turn)
            raise

    def _give_up(self, share: Share, turn: "asyncio.Future[None]") -> None:
        """Wait no longer; a place that was given in the same moment is free again."""
        if turn.cancelled():
            share.waiting = deque(one for one in share.waiting if one[1] is not turn)
        else:
            self._free_place_of(share)

    def _admit(self) -> None:
        """Give free places to tenants that wait, in the order of their ranks."""
        while ready := [one for one in self._shares.values() if one.waiting and self._may_have_one(one)]:
            share = min(ready, key=lambda one: one.rank)
            _, turn = share.waiting.popleft()
            if not turn.cancelled():
                self._give(share)
                turn.set_result(None)

    def _give(self, share: Share) -> None:
        self._free -= 1
        share.places += 1

    def _may_have_one(self, share: Share) -> bool:
        left = self._free if share.places == 0 else self._free - self._bounds.reserved
        return left > 0 and share.places < self._bounds.of_a_tenant

    def _free_place_of(self, share: Share) -> None:
        self._free += 1
        share.places -= 1
        self._admit()


class TenantPool:
    """Threads, a place each."""

    def __init__(self, name: str, bounds: Bounds) -> None:
        self._places = TenantPlaces(bounds)
        self._executor = ThreadPoolExecutor(bounds.places, thread_name_prefix=name)

    async def begin(self, tenant: str | None, call: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Wait for a thread, and begin a call that nobody need wait for; it holds its thread until it ends.

        Raises:
            Problem: there was no thread, and it was not begun; the caller may try again.
        """
        share = await self._places.take(tenant)
        running = asyncio.get_running_loop().run_in_executor(self._executor, call, *args)
        running.add_done_callback(lambda done: self._end(share, done))
        return running

    def close(self) -> None:
        """Take no more calls; those under way end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _end(self, share: Share, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled():
            done.exception()  # of a call that was given up nobody else asks
        self._places.give_back(share)


def _no_room() -> Problem:
    detail = f"Other requests of this kind are served first; this one did nothing. Try again in {RETRY_AFTER_S} s."
    return Problem(Code.RATE_LIMITED, detail, headers={"retry-after": str(RETRY_AFTER_S)})
