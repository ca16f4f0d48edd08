"""streaq: the task starts itself again with a delay."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
from streaq import Worker

from ops.bench.awaiting import COURSE, buy, poll, session, store
from ops.bench.contender import About

ABOUT = About(
    title="streaq, delay",
    packages=("streaq", "coredis", "aiohttp"),
    how="task.enqueue(…).start(delay=…)",
    limit="a Redis stream with consumer groups: several commands a task, by coredis",
    worker=lambda _course: ("-m", "streaq", "run", "ops.bench.contenders.streaq_retry:worker"),
)


@asynccontextmanager
async def lifespan() -> AsyncGenerator[aiohttp.ClientSession]:
    """One client for the worker's life."""
    async with session() as client:
        yield client


worker: Worker[aiohttp.ClientSession] = Worker(redis_url=COURSE.redis_url, concurrency=COURSE.slots, lifespan=lifespan)


@worker.task(silent=True, ttl=0)
async def generate(prompt: str) -> None:
    """Buy, then have it polled."""
    generation_id = await buy(worker.context, prompt)
    await watch.enqueue(generation_id).start(delay=timedelta(seconds=COURSE.first_s))


@worker.task(silent=True, ttl=0)
async def watch(generation_id: str) -> None:
    """Poll once; again later, or store."""
    url = await poll(worker.context, generation_id)
    if url is None:
        await watch.enqueue(generation_id).start(delay=timedelta(seconds=COURSE.interval_s))
    else:
        await store(worker.context, generation_id, url)


def give(count: int) -> None:
    """One by one."""
    asyncio.run(_give(count))


async def _give(count: int) -> None:
    async with worker:
        for number in range(count):
            await generate.enqueue(f"take {number}")
