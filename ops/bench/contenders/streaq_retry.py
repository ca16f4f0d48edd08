"""streaq: the task starts itself again with a delay."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
from streaq import Worker

from ops.bench.awaiting import CONFIG, buy, poll, session, store
from ops.bench.contender import About

ABOUT = About(
    title="streaq, delay",
    packages=("streaq", "coredis", "aiohttp"),
    how="task.enqueue(…).start(delay=…)",
    limit="a Redis stream with consumer groups: several commands a task, by coredis",
    worker=lambda _config: ("-m", "streaq", "run", "ops.bench.contenders.streaq_retry:worker"),
)


@asynccontextmanager
async def lifespan() -> AsyncGenerator[aiohttp.ClientSession]:
    """Open one client for the worker's life."""
    async with session() as client:
        yield client


worker: Worker[aiohttp.ClientSession] = Worker(redis_url=CONFIG.redis_url, concurrency=CONFIG.slots, lifespan=lifespan)


@worker.task(silent=True, ttl=0)
async def generate(prompt: str) -> None:
    """Buy, then schedule the first poll."""
    generation_id = await buy(worker.context, prompt)
    await poll_once.enqueue(generation_id).start(delay=timedelta(seconds=CONFIG.first_s))


@worker.task(silent=True, ttl=0)
async def poll_once(generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = await poll(worker.context, generation_id)
    if url is None:
        await poll_once.enqueue(generation_id).start(delay=timedelta(seconds=CONFIG.interval_s))
    else:
        await store(worker.context, generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    asyncio.run(_submit(count))


async def _submit(count: int) -> None:
    async with worker:
        for number in range(count):
            await generate.enqueue(f"take {number}")
