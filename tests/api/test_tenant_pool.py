"""A pool that tenants share: whatever others hold or wait for, who has nothing is served next."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pytest

from producer.api.problems import Problem
from producer.api.tenant_pool import Bounds, TenantPlaces, TenantPool

BOUNDS: Final = Bounds(places=6, of_a_tenant=3, reserved=3, calls_of_a_tenant=8, room_within_s=30)
pytestmark = pytest.mark.anyio


class Held:
    """Calls that run until they are let go."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.pool = TenantPool("test", bounds)
        self.began: list[str] = []
        self._over = threading.Event()
        self._one = threading.Semaphore(0)

    def call(self, tenant: str) -> None:
        """Run until it is let go."""
        self.began.append(tenant)
        while not self._over.is_set() and not self._one.acquire(timeout=0.01):
            pass

    def wants(self, tenant: str, count: int = 1) -> list["asyncio.Task[None]"]:
        """Begin calls of a tenant."""
        return [asyncio.create_task(self.run(tenant)) for _ in range(count)]

    async def run(self, tenant: str) -> None:
        """Begin a call of a tenant, and wait for it."""
        running = await self.pool.begin(tenant, self.call, tenant)
        await asyncio.wait({running})

    def let_one_go(self) -> None:
        """End one call, whichever."""
        self._one.release()

    def let_all_go(self) -> None:
        """End all calls, also those to come."""
        self._over.set()


@pytest.fixture
def held(anyio_backend: str) -> Iterator[Held]:
    """A pool of six threads."""
    del anyio_backend
    held = Held()
    yield held
    held.let_all_go()
    held.pool.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the loop and the threads."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a thread changes it)
            await asyncio.sleep(0.005)


async def test_hostile_tenants_leave_a_thread_to_each_who_has_none(held: Held) -> None:
    """Two want all; of the last free threads each other tenant gets one at once."""
    for tenant in ("a", "b"):
        held.wants(tenant, 8)
    await until(lambda: len(held.began) == 4)

    for tenant in ("c", "d"):
        held.wants(tenant, 2)
    await until(lambda: len(held.began) == 6)

    assert Counter(held.began) == {"a": 3, "b": 1, "c": 1, "d": 1}


async def test_who_has_fewest_is_next(held: Held) -> None:
    """With as many hostile tenants as there are threads, the first call to end makes room for who has none."""
    for tenant in "abcd":
        held.wants(tenant, 8)
    await until(lambda: len(held.began) == 6)
    last = held.wants("last")
    await asyncio.sleep(0)
    assert "last" not in held.began

    held.let_one_go()

    await until(lambda: "last" in held.began)
    assert len(held.began) == 7
    held.let_all_go()
    await asyncio.gather(*last)


async def test_alone_a_tenant_gets_its_part(held: Held) -> None:
    """No more, however much is free."""
    held.wants("a", 8)
    await until(lambda: len(held.began) == 3)
    await asyncio.sleep(0.05)

    assert len(held.began) == 3


async def test_a_tenant_waits_with_few_calls_and_not_for_long(anyio_backend: str) -> None:
    """Each holds its request; the refusal is one that may be tried again, and what was refused is forgotten."""
    del anyio_backend
    held = Held(replace(BOUNDS, room_within_s=0.05))
    calls = held.wants("a", 9)
    await until(lambda: sum(call.done() for call in calls) == 6)

    errors = [call.exception() for call in calls if call.done()]
    assert all(isinstance(error, Problem) and error.retryable for error in errors)
    held.let_all_go()
    await asyncio.gather(*calls, return_exceptions=True)
    await held.run("a")
    held.pool.close()


async def test_a_caller_who_leaves_gives_its_place_to_the_next(held: Held) -> None:
    """Waiting or under way: no thread is lost, and none is given twice."""
    calls = held.wants("a", 8)
    await until(lambda: len(held.began) == 3)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(held.began) == 3
    held.let_all_go()

    await asyncio.gather(*held.wants("a", 5), *held.wants("b", 8))

    assert Counter(held.began) == {"a": 8, "b": 8}


async def test_who_gives_up_in_the_moment_in_which_it_is_served_loses_no_place(anyio_backend: str) -> None:
    """The place was given, and nobody came for it."""
    del anyio_backend
    places = TenantPlaces(replace(BOUNDS, of_a_tenant=1))
    held = await places.take("a")
    waits, next_one = (asyncio.create_task(places.take("a")) for _ in range(2))
    await asyncio.sleep(0)
    places.give_back(held)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    async with asyncio.timeout(5):
        places.give_back(await next_one)
        places.give_back(await places.take("a"))


async def test_those_who_gave_up_are_passed_over(anyio_backend: str) -> None:
    """Of many who wait, the first who still does is next."""
    del anyio_backend
    places = TenantPlaces(replace(BOUNDS, of_a_tenant=1, calls_of_a_tenant=99))
    held = await places.take("a")
    waiting = [asyncio.create_task(places.take("a")) for _ in range(50)]
    await asyncio.sleep(0)
    for one in waiting[:-1]:
        one.cancel()
    places.give_back(held)
    async with asyncio.timeout(5):
        places.give_back(await waiting[-1])
    await asyncio.gather(*waiting, return_exceptions=True)
    places.give_back(await places.take("a"))
