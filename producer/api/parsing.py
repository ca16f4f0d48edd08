"""Parses long bodies in two threads of their own: the event loop would stand still, and other routes need theirs."""

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

QUICK_BYTES: Final = 65_536
"""A JSON body up to this size is parsed within a millisecond, on the event loop."""

_THREADS: Final = CapacityLimiter(2)

_Parsed = TypeVar("_Parsed")


async def parse_apart(parse: Callable[..., _Parsed], *args: Any) -> _Parsed:
    """Call `parse` in a parser's thread."""
    return await to_thread.run_sync(parse, *args, limiter=_THREADS)


async def parse_quickly(parse: Callable[[bytes], _Parsed], body: bytes) -> _Parsed:
    """Parse a short body at once, a long one in a parser's thread."""
    return parse(body) if len(body) <= QUICK_BYTES else await parse_apart(parse, body)


class JsonRequest(Request):
    """A request whose JSON FastAPI gets without blocking the event loop."""

    async def json(self) -> Any:
        """Return the parsed body."""
        return await parse_quickly(json.loads, await self.body())
