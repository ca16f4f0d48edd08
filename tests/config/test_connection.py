"""The event loop's client finds Redis by the same addresses as the others do."""

import asyncio
from pathlib import Path

import pytest
import redis
import redis.asyncio

from config.connection import connect_async
from config.settings import RedisSettings
from tests.redis_servers import Group
from tests.stage import eventually


@pytest.mark.anyio
async def test_the_loops_client_follows_the_master_that_sentinels_name(tmp_path: Path) -> None:
    """More callers may ask than there are connections; when the master dies, its replica is found automatically."""
    with Group.started(tmp_path, password="p@ss;word", sentinel_password="theirs", sentinels=1) as group:
        choice = {"url": group.url, "sentinel_password": "theirs"}
        client = connect_async(RedisSettings.model_validate(choice), name="api")
        assert sorted(await asyncio.gather(*(client.incr("asked") for _ in range(40)))) == list(range(1, 41))
        assert group.master.client.wait(1, 5000) == 1

        group.master.kill()
        with pytest.raises(redis.ConnectionError):
            await client.get("asked")
        await asyncio.to_thread(eventually, group.replica.is_master, what="the promotion")

        assert await read_after_failover(client, "asked") == "40"
        names = {found["name"] for found in group.replica.client.client_list()}
        await client.aclose()

    assert "rushes-api" in names


async def read_after_failover(client: "redis.asyncio.Redis", key: str) -> object:
    """Read a key, once the Sentinels know the new master."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await client.get(key)
            except redis.ConnectionError:
                continue
