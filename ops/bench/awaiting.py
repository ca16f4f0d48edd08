"""The three steps of a job for async contenders, with one aiohttp session per worker, as aiohttp documents it.

Not httpx: it costs many times as much with many requests in flight, and would make the contenders look slow.
"""

from pathlib import Path
from typing import Final

import aiohttp

from ops.bench.contender import RunConfig

CONFIG: Final = RunConfig.from_environment()


def session() -> aiohttp.ClientSession:
    """Open a worker's session."""
    return aiohttp.ClientSession(
        headers={"Authorization": "Bearer bench-key"},
        connector=aiohttp.TCPConnector(limit=CONFIG.slots),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def buy(client: aiohttp.ClientSession, prompt: str) -> str:
    """Submit; returns the generation's id."""
    body = {"model": "google/veo3", "prompt": prompt}
    async with client.post(f"{CONFIG.upstream_url}/v2/video/generations", json=body) as reply:
        reply.raise_for_status()
        return str((await reply.json())["id"])


async def poll(client: aiohttp.ClientSession, generation_id: str) -> str | None:
    """Return the video's URL, or None while it renders."""
    query = {"generation_id": generation_id}
    async with client.get(f"{CONFIG.upstream_url}/v2/video/generations", params=query) as reply:
        reply.raise_for_status()
        seen = await reply.json()
    return str(seen["video"]["url"]) if seen["status"] == "completed" else None


async def store(client: aiohttp.ClientSession, generation_id: str, url: str) -> None:
    """Download the video into the folder."""
    async with client.get(url) as reply:
        reply.raise_for_status()
        (_videos() / f"{generation_id}.mp4").write_bytes(await reply.read())


def _videos() -> Path:
    folder = CONFIG.folder / "videos"
    folder.mkdir(exist_ok=True)
    return folder
