"""Checks pictures in threads of their own: a stranger's slow server holds none of those that answer other callers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from jobs.errors import FieldError
from producer.api.pictures import is_url, pictures_in
from producer.api.tenant_pool import Bounds, TenantPool

BOUNDS: Final = Bounds(places=16, of_a_tenant=4, reserved=8, calls_of_a_tenant=20)
"""Most threads wait for a server. Ten tenants may name slow ones before another has to wait for one of them."""

WITHIN_S: Final = 10.0
"""The longest that all pictures of one request may take, once a thread is free."""

Check = Callable[[Mapping[str, Any]], Sequence[FieldError]]


class PicturePool:
    """Runs a check in a pool that tenants share."""

    def __init__(self, check: Check, *, within_s: float = WITHIN_S, bounds: Bounds = BOUNDS) -> None:
        self._check = check
        self._within_s = within_s
        self._pool = TenantPool("pictures", bounds)

    async def check(self, parameters: Mapping[str, Any], *, tenant: str | None) -> list[FieldError]:
        """Check a request's pictures, and name each field that must change.

        Raises:
            Problem: there is no room; the caller may try again.
        """
        names = [name for name, picture in pictures_in(parameters) if is_url(picture)]
        if not names:
            return list(await run_in_threadpool(self._check, parameters))
        running = await self._pool.begin(tenant, self._check, parameters)
        await asyncio.wait({running}, timeout=self._within_s)
        if running.done():
            return list(running.result())
        return [FieldError(name, f"could not be checked within {self._within_s:g} s") for name in dict.fromkeys(names)]

    def close(self) -> None:
        """Take no more requests; checks under way end by themselves."""
        self._pool.close()
