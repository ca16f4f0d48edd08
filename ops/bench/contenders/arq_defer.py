"""arq: the job raises Retry(defer=…) until the video is done."""

import asyncio
from typing import Any, ClassVar

import aiohttp
from arq import Retry, create_pool, func
from arq.connections import RedisSettings

from ops.bench.awaiting import CONFIG, buy, poll, session, store
from ops.bench.contender import About

ABOUT = About(
    title="arq, Retry(defer)",
    packages=("arq", "redis", "aiohttp"),
    how="raise Retry(defer=…)",
    limit="WATCH/MULTI and two round trips a job start, and a sorted set read each half second",
    worker=lambda _config: ("-m", "arq", "ops.bench.contenders.arq_defer.WorkerSettings"),
)


async def generate(ctx: dict[str, Any], prompt: str) -> None:
    """Buy, then schedule the first poll."""
    generation_id = await buy(ctx["client"], prompt)
    await ctx["redis"].enqueue_job("poll_once", generation_id, _defer_by=CONFIG.first_s)


async def poll_once(ctx: dict[str, Any], generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    client: aiohttp.ClientSession = ctx["client"]
    url = await poll(client, generation_id)
    if url is None:
        raise Retry(defer=CONFIG.interval_s)
    await store(client, generation_id, url)


async def _open(ctx: dict[str, Any]) -> None:
    ctx["client"] = session()


async def _close(ctx: dict[str, Any]) -> None:
    await ctx["client"].close()


class WorkerSettings:
    """The settings that `arq` reads."""

    functions: ClassVar = [func(generate, keep_result=0), func(poll_once, keep_result=0, max_tries=1_000_000)]
    on_startup = _open
    on_shutdown = _close
    redis_settings = RedisSettings.from_dsn(CONFIG.redis_url)
    max_jobs = CONFIG.slots
    job_timeout = 60


def submit(count: int) -> None:
    """Submit jobs one by one."""
    asyncio.run(_submit(count))


async def _submit(count: int) -> None:
    pool = await create_pool(RedisSettings.from_dsn(CONFIG.redis_url))
    for number in range(count):
        await pool.enqueue_job("generate", f"take {number}")
