"""However many requests with one key come at once, few are worked on: those of others wait for these only."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import httpx2
import pytest
import redis

from config.settings import Settings
from producer.api.application import make_app
from producer.api.parts import Parts
from producer.api.tenant_pool import TenantPlaces
from producer.api.turns import TURNS, end_turn, turn
from producer.keys import Keys, Scope

FEW: Final = 2
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The API's own loop."""
    return "asyncio"


class Api:
    """An API in this loop, and two tenants."""

    def __init__(self, client: "redis.Redis", redis_url: str) -> None:
        self.app = app = make_app(Settings.model_validate({"redis": {"url": redis_url}}))
        self.parts: Parts = replace(app.state.parts, turns=TenantPlaces(replace(TURNS, of_a_tenant=FEW)))
        app.state.parts = self.parts
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1", timeout=20)
        scopes = [Scope.SUBMIT, Scope.READ]
        tokens = {tenant: Keys(client).issue(tenant, scopes).token for tenant in ("attacker", "shop")}
        self.keys = {tenant: f"Bearer {token}" for tenant, token in tokens.items()}

    async def ask(self, tenant: str, method: str, path: str, order: Any = None, **headers: str) -> httpx2.Response:
        """Send one request."""
        named = {"authorization": self.keys[tenant], **headers}
        return await self.http.request(method, path, headers=named, json=order)

    async def order(self, tenant: str) -> str:
        """Order a video, and return its path."""
        reply = await self.ask(tenant, "POST", "/v1/videos", {"prompt": "a boat", "model": "somebody/else"})
        return str(reply.headers["location"])


@pytest.fixture
async def api(client: "redis.Redis", redis_url: str) -> AsyncIterator[Api]:
    """The API."""
    api = Api(client, redis_url)
    async with api.app.router.lifespan_context(api.app), api.http:
        yield api


async def test_who_has_its_turns_waits_and_others_do_not(api: Api) -> None:
    """Reads and orders, with a body and without; each goes on when one of its own is over."""
    held = [await api.parts.turns.take(api.keys["attacker"]) for _ in range(FEW)]
    waiting = list[asyncio.Task[Any]](asyncio.create_task(api.order("attacker")) for _ in range(3))
    waiting += [asyncio.create_task(api.ask("attacker", "GET", "/v1/videos")) for _ in range(3)]

    for _ in range(5):
        assert await api.order("shop")
        assert (await api.ask("shop", "GET", "/v1/videos")).is_success
    assert not any(each.done() for each in waiting)

    for one in held:
        api.parts.turns.give_back(one)
    await asyncio.gather(*waiting)


async def test_who_waits_for_a_jobs_end_has_no_turn(api: Api) -> None:
    """Else a few waiting clients would be all that a key could do."""
    path = await api.order("shop")
    waiting = [asyncio.create_task(api.ask("shop", "GET", path, prefer="wait=20")) for _ in range(2 * FEW)]
    async with asyncio.timeout(10):
        while api.parts.event_stream.subscribers < 2 * FEW:  # noqa: ASYNC110 (the requests change it)
            await asyncio.sleep(0.01)

    assert (await api.ask("shop", "POST", f"{path}/cancel")).is_success
    assert {reply.json()["status"] for reply in await asyncio.gather(*waiting)} == {"cancelled"}


async def test_a_turn_ends_once(api: Api) -> None:
    """By what it waits for, or with its request, and never twice: a place that is given back twice is one too many."""
    turns = api.parts.turns
    for _ in range(3 * FEW):
        async with turn(turns, "shop"):
            end_turn()
            end_turn()
    held = [await turns.take("shop") for _ in range(FEW)]
    another = asyncio.create_task(turns.take("shop"))
    await asyncio.sleep(0.05)
    assert not another.done()
    turns.give_back(held[0])
    turns.give_back(await another)
    turns.give_back(held[1])
