"""SAQ: the job enqueues itself again with `scheduled`."""

import asyncio
import time
from typing import Any

from saq import Queue

from ops.bench.awaiting import COURSE, buy, poll, session, store
from ops.bench.contender import About

queue = Queue.from_url(COURSE.redis_url, name="bench")

ABOUT = About(
    title="SAQ, scheduled",
    packages=("saq", "redis", "aiohttp"),
    how="queue.enqueue(…, scheduled=…), in whole seconds",
    limit="several round trips a job (enqueue, dequeue, update, finish), scheduled jobs swept once a second",
    worker=lambda _course: ("-m", "saq", "ops.bench.contenders.saq_scheduled.settings", "-q"),
)


async def generate(ctx: Any, *, prompt: str) -> None:
    """Buy, then have it polled."""
    await _later("watch", COURSE.first_s, generation_id=await buy(ctx["client"], prompt))


async def watch(ctx: Any, *, generation_id: str) -> None:
    """Poll once; again later, or store."""
    url = await poll(ctx["client"], generation_id)
    if url is None:
        await _later("watch", COURSE.interval_s, generation_id=generation_id)
    else:
        await store(ctx["client"], generation_id, url)


async def _later(function: str, seconds: float, **arguments: str) -> None:
    await queue.enqueue(function, scheduled=round(time.time() + seconds), ttl=-1, retries=3, **arguments)


async def _open(ctx: Any) -> None:
    ctx["client"] = session()


settings: dict[str, Any] = {
    "queue": queue,
    "functions": [generate, watch],
    "concurrency": COURSE.slots,
    "startup": _open,
}


def give(count: int) -> None:
    """One by one."""
    asyncio.run(_give(count))


async def _give(count: int) -> None:
    await queue.connect()
    for number in range(count):
        await queue.enqueue("generate", prompt=f"take {number}", ttl=-1)
    await queue.disconnect()
