"""SAQ: the job enqueues itself again with `scheduled`."""

import asyncio
import time
from typing import Any

from saq import Queue

from ops.bench.awaiting import CONFIG, buy, poll, session, store
from ops.bench.contender import About

queue = Queue.from_url(CONFIG.redis_url, name="bench")

ABOUT = About(
    title="SAQ, scheduled",
    packages=("saq", "redis", "aiohttp"),
    how="queue.enqueue(…, scheduled=…), in whole seconds",
    limit="several round trips a job (enqueue, dequeue, update, finish), scheduled jobs swept once a second",
    worker=lambda _config: ("-m", "saq", "ops.bench.contenders.saq_scheduled.settings", "-q"),
)


async def generate(ctx: Any, *, prompt: str) -> None:
    """Buy, then schedule the first poll."""
    await _later("poll_once", CONFIG.first_s, generation_id=await buy(ctx["client"], prompt))


async def poll_once(ctx: Any, *, generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = await poll(ctx["client"], generation_id)
    if url is None:
        await _later("poll_once", CONFIG.interval_s, generation_id=generation_id)
    else:
        await store(ctx["client"], generation_id, url)


async def _later(function: str, seconds: float, **arguments: str) -> None:
    await queue.enqueue(function, scheduled=round(time.time() + seconds), ttl=-1, retries=3, **arguments)


async def _open(ctx: Any) -> None:
    ctx["client"] = session()


settings: dict[str, Any] = {
    "queue": queue,
    "functions": [generate, poll_once],
    "concurrency": CONFIG.slots,
    "startup": _open,
}


def submit(count: int) -> None:
    """Submit jobs one by one."""
    asyncio.run(_submit(count))


async def _submit(count: int) -> None:
    await queue.connect()
    for number in range(count):
        await queue.enqueue("generate", prompt=f"take {number}", ttl=-1)
    await queue.disconnect()
