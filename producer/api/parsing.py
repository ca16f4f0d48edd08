"""Parses long bodies in two threads of their own: the event loop would stand still, and other routes need theirs."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from pydantic_core import from_json

from producer.api.problems import Code, Problem
from producer.api.tenant_pool import Bounds

QUICK_BYTES: Final = 65_536
"""A JSON body up to this size is parsed within a millisecond, on the event loop."""

MOST_VALUES: Final = 100_000
"""Of a long JSON body, by its brackets and commas: a hundred requests with prompts of a thousand commas each."""

_VALUES: Final = b"[{,"

MOST_ESCAPES: Final = 500_000
"""Of a form: a picture of 8 MB in base64 has half of them."""

LARGE_BODIES: Final = Bounds(places=32, of_a_tenant=8, reserved=16, calls_of_a_tenant=40)
"""Bodies that are longer than is quickly parsed, while they are read, parsed and submitted: each may hold 12 MB."""

_THREADS: Final = CapacityLimiter(2)
_SUBMITTERS: Final = CapacityLimiter(8)

_Parsed = TypeVar("_Parsed")


async def parse_apart(parse: Callable[..., _Parsed], *args: Any) -> _Parsed:
    """Call `parse` in a parser's thread."""
    return await to_thread.run_sync(parse, *args, limiter=_THREADS)


async def submit_apart(submit: Callable[..., _Parsed], *args: Any) -> _Parsed:
    """Call in a thread of those that submit large requests: each writes to the archive, which may be slow."""
    return await to_thread.run_sync(submit, *args, limiter=_SUBMITTERS)


def is_long(headers: Mapping[str, str]) -> bool:
    """Whether a request announces a long body, or one of unknown length."""
    announced = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not announced.isdecimal() or int(announced) > QUICK_BYTES


async def parse_quickly(parse: Callable[[bytes], _Parsed], body: bytes) -> _Parsed:
    """Parse a short body at once, a long one in a parser's thread."""
    return parse(body) if len(body) <= QUICK_BYTES else await parse_apart(parse, body)


def check_density(body: bytes, signs: bytes, most: int) -> None:
    """Refuse a long body with too many of these signs: C parsers hold the interpreter, also in a thread of their own.

    Raises:
        Problem: it would stop all other requests of this process for too long.
    """
    if len(body) > QUICK_BYTES and sum(map(body.count, signs)) > most:
        raise _too_dense(signs, most)


def _too_dense(signs: bytes, most: int) -> Problem:
    shown = " ".join(signs.decode())
    return Problem(Code.TOO_LARGE, f"A body of more than {QUICK_BYTES} bytes may have {most} of the signs {shown}")


def loads(body: bytes) -> Any:
    """Parse JSON; what pydantic's parser refuses, which holds the interpreter a fifth as long, is judged by `json`.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        return from_json(body)
    except ValueError:
        return json.loads(body)


async def read_once(request: Request) -> bytes:
    """Read a body that the request itself does not keep: the reply may be long in coming."""
    return b"".join([chunk async for chunk in request.stream()])


async def read_json(request: Request) -> bytes:
    """Read a JSON body, and count its values as it comes: to count those of 8 MB at once takes 40 ms.

    Raises:
        Problem: it holds too many values.
    """
    chunks, size, values = [], 0, 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        values += sum(map(chunk.count, _VALUES))
        if size > QUICK_BYTES and values > MOST_VALUES:
            raise _too_dense(_VALUES, MOST_VALUES)
    return b"".join(chunks)


class JsonRequest(Request):
    """A request whose JSON FastAPI gets without blocking the event loop."""

    _read: bytes | None = None

    async def json(self) -> Any:
        """Return the parsed body."""
        return await parse_quickly(loads, await self.body())

    async def body(self) -> bytes:
        """Return the body, which is read once."""
        if self._read is None:
            self._read = await read_json(self)
        return self._read
