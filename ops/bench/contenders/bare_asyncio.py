"""The least that does the job: one event loop, a coroutine a job, nothing durable. Jobs come over a Redis list."""

import asyncio
from typing import Any

import aiohttp
import redis.asyncio as redis

from ops.bench.awaiting import CONFIG, buy, poll, session, store
from ops.bench.contender import About

LIST = "bare:jobs"

ABOUT = About(
    title="A bare asyncio loop, nothing durable",
    packages=("aiohttp",),
    how="asyncio.sleep in a coroutine per job; nothing survives the process",
    limit="aiohttp itself",
    worker=lambda _config: ("-m", "ops.bench.contender", "work", "bare_asyncio"),
)


def work() -> None:
    """Start a coroutine for each job."""
    asyncio.run(_work())


async def _work() -> None:
    under_way: set[asyncio.Task[None]] = set()
    async with session() as client, redis.Redis.from_url(CONFIG.redis_url, socket_timeout=None) as jobs:
        while True:
            popped: Any = await jobs.blpop([LIST])
            task = asyncio.create_task(_generate(client, popped[1].decode()))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


async def _generate(client: aiohttp.ClientSession, prompt: str) -> None:
    generation_id = await buy(client, prompt)
    await asyncio.sleep(CONFIG.first_s)
    while (url := await poll(client, generation_id)) is None:  # noqa: ASYNC110 (polling is the job)
        await asyncio.sleep(CONFIG.interval_s)
    await store(client, generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    asyncio.run(_submit(count))


async def _submit(count: int) -> None:
    async with redis.Redis.from_url(CONFIG.redis_url) as jobs:
        for number in range(count):
            await jobs.rpush(LIST, f"take {number}")
