"""Turns: eight requests with one key are worked on at once; the others wait in a line of their own.

Without them a new request waits at each of its steps for a step of all that came before: five hundred requests with one
key would hold up everybody for as long as they take. Keys that nobody issued have lines too, and are soon refused.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from producer.api.tenant_pool import Bounds, Share, TenantPlaces

TURNS: Final = Bounds(places=64, of_a_tenant=8, reserved=16, calls_of_a_tenant=2000, room_within_s=30.0)


class _Turn:
    def __init__(self, places: TenantPlaces, share: Share) -> None:
        self._places = places
        self._share: Share | None = share

    def end(self) -> None:
        if self._share is not None:
            self._places.give_back(self._share)
            self._share = None


_turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)


@asynccontextmanager
async def turn(places: TenantPlaces, key: str | None) -> AsyncIterator[None]:
    """Wait for a turn of the key's, and have it until the block, or what counts of it, is over.

    Raises:
        Problem: too many requests with the key wait.
    """
    one = _Turn(places, await places.take(key))
    before = _turn.set(one)
    try:
        yield
    finally:
        _turn.reset(before)
        one.end()


def end_turn() -> None:
    """Let the key's next request begin: the rest of this one waits for somebody else."""
    if one := _turn.get():
        one.end()
