"""Open streams of one tenant are bounded, and thousands of them ask after their key once."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from threading import Thread
from typing import Any, Final, NamedTuple

import pytest
import redis
import requests
import uvicorn

from config.settings import Settings
from jobs.events import LogEntry
from jobs.job_log import START
from jobs.ledger import Ledger
from jobs.states import State
from ops.stack.recipe import free_port
from producer.api.admissions import FRESH_S, Admissions
from producer.api.application import make_app
from producer.api.event_stream import MOST_READS, EventStream, Heartbeat
from producer.api.parts import Parts
from producer.api.streams import WATCHERS
from producer.api.tenant_pool import TenantPlaces
from producer.keys import Keys, Scope
from producer.service import Service
from tests import steps
from tests.stage import eventually

MOST: Final = 3
THOUSANDS: Final = 2000


class Server(NamedTuple):
    """A running API, and what its routes share."""

    url: str
    parts: Parts


@pytest.fixture
def server(redis_url: str, client: object) -> Iterator[Server]:
    """An API where a tenant may have three streams."""
    del client
    app, port = make_app(Settings.model_validate({"redis": {"url": redis_url}})), free_port()
    bounds = replace(WATCHERS, of_a_tenant=MOST, calls_of_a_tenant=MOST)
    app.state.parts = replace(app.state.parts, watchers=TenantPlaces(bounds))
    running = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = Thread(target=running.run)
    thread.start()
    eventually(lambda: running.started, what="the API's start")
    yield Server(f"http://127.0.0.1:{port}", app.state.parts)
    running.should_exit = True
    thread.join()


def test_a_tenants_streams_and_waits_are_bounded(server: Server, client: "redis.Redis") -> None:
    """One more is refused, another tenant's is not, and a closed one makes room."""
    keys = [Keys(client).issue(name, [Scope.SUBMIT, Scope.READ]).token for name in ("attacker", "shop")]
    attacker, shop = ({"authorization": f"Bearer {key}", "accept": "text/event-stream"} for key in keys)

    def created(headers: dict[str, str]) -> str:
        order = {"prompt": "a boat", "model": "somebody/else"}
        reply = requests.post(f"{server.url}/v1/videos", json=order, headers=headers, timeout=20)
        return f"{server.url}{reply.headers['location']}"

    job, other = created(attacker), created(shop)
    streams = [requests.get(f"{job}/events", headers=attacker, stream=True, timeout=20) for _ in range(MOST)]
    assert [stream.status_code for stream in streams] == [HTTPStatus.OK] * MOST

    refused = requests.get(f"{job}/events", headers=attacker, timeout=20)
    waited = requests.get(job, headers={**attacker, "prefer": "wait=5"}, timeout=20)
    order, wants = {"prompt": "a boat", "model": "somebody/else"}, {**attacker, "prefer": "wait=5"}
    accepted = requests.post(f"{server.url}/v1/videos", json=order, headers=wants, timeout=20)
    beside = requests.get(f"{other}/events", headers=shop, stream=True, timeout=20)

    assert [refused.status_code, waited.status_code] == [HTTPStatus.TOO_MANY_REQUESTS] * 2
    assert refused.json()["code"] == "rate_limited"
    assert accepted.status_code == HTTPStatus.ACCEPTED, "who is told to try again would buy twice"
    assert "preference-applied" not in accepted.headers
    assert beside.status_code == HTTPStatus.OK
    streams[0].close()
    eventually(
        lambda: requests.get(f"{job}/events", headers=attacker, stream=True, timeout=20).ok, what="room for another"
    )


def test_the_pages_streams_are_bounded_too(server: Server, client: "redis.Redis") -> None:
    """A session is as good as its key, and no better."""
    browser = requests.Session()
    form = {"key": Keys(client).issue("attacker", [Scope.READ]).token}
    browser.post(f"{server.url}/signin", data=form, headers={"sec-fetch-site": "same-origin"}, timeout=20)
    replies = [browser.get(f"{server.url}/live", stream=True, timeout=20) for _ in range(MOST + 1)]
    assert [reply.status_code for reply in replies] == [*[HTTPStatus.OK] * MOST, HTTPStatus.TOO_MANY_REQUESTS]


def test_a_reply_that_waited_is_not_for_a_key_that_was_revoked_meanwhile(server: Server, client: "redis.Redis") -> None:
    """Its right is asked for again before the job is shown."""
    access = Keys(client)
    issued = access.issue("shop", [Scope.SUBMIT, Scope.READ])
    headers = {"authorization": f"Bearer {issued.token}"}
    job = requests.post(f"{server.url}/v1/videos", json={"prompt": "a boat"}, headers=headers, timeout=20)
    with ThreadPoolExecutor(1) as one:
        url = f"{server.url}{job.headers['location']}"
        waiting = one.submit(requests.get, url, headers={**headers, "prefer": "wait=4"}, timeout=20)
        eventually(lambda: server.parts.event_stream.subscribers, what="the wait")
        access.revoke(issued.key.id)
        reply = waiting.result()

    assert (reply.status_code, reply.json()["code"]) == (HTTPStatus.UNAUTHORIZED, "unauthorized")


@pytest.mark.anyio
async def test_streams_of_one_key_ask_once(anyio_backend: str) -> None:
    """At the same moment they share a question that is under way; later another is asked."""
    del anyio_backend
    asked = []

    async def ask() -> bool:
        asked.append(1)
        await asyncio.sleep(0.01)
        return len(asked) == 1

    admissions = Admissions()
    many = await asyncio.gather(*(admissions.is_admitted(("key", "read"), ask) for _ in range(1000)))
    other = await admissions.is_admitted(("key", "submit"), ask)
    assert (many, len(asked)) == ([True] * 1000, 2)
    assert not other

    async with asyncio.timeout(4 * FRESH_S):
        while await admissions.is_admitted(("key", "read"), ask):  # noqa: ASYNC110 (it grows old by itself)
            await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_streams_that_read_their_logs_anew_leave_connections_to_others(
    anyio_backend: str, client: "redis.Redis", redis_url: str
) -> None:
    """As after an outage: each misses nothing, few read at once, and none gives up because so many wait."""
    del anyio_backend
    job, ledger = steps.job_in(Ledger(client), State.QUEUED), Ledger(client)
    app = make_app(Settings.model_validate({"redis": {"url": redis_url}}))
    async with app.router.lifespan_context(app):
        counted, stream = _Counted(app.state.parts.service), app.state.parts.event_stream
        stream._service = counted
        followed = [asyncio.create_task(_names(stream, job.id)) for _ in range(THOUSANDS)]
        while counted.reads < THOUSANDS:  # noqa: ASYNC110 (the streams count it)
            await asyncio.sleep(0.01)
        stream._restart_all()
        await asyncio.to_thread(steps.cancel_requested, ledger, job)
        found = await asyncio.gather(*followed)

    assert found == [["job.accepted", "job.cancelled"]] * THOUSANDS
    assert counted.reads >= 2 * THOUSANDS
    assert counted.most == MOST_READS


class _Counted:
    """A service that counts the job logs that are read, in all and at once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.reads = self.now = self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def log_async(self, job_id: str) -> Sequence[LogEntry]:
        """Read a job log."""
        self.reads, self.now = self.reads + 1, self.now + 1
        self.most = max(self.most, self.now)
        try:
            return await self._service.log_async(job_id)
        finally:
            self.now -= 1


async def _names(stream: EventStream, job_id: str) -> list[str]:
    entries = [entry async for entry in stream.follow(job_id, after=START, heartbeat_s=60)]
    return [entry.event for entry in entries if not isinstance(entry, Heartbeat)]
