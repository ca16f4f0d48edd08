"""Downloads end with the right to them, and those of one tenant are bounded, however slowly they are read."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple

import pytest
import redis
import requests
import uvicorn

from config.settings import Settings
from jobs.job import Job, Terms
from jobs.ledger import Ledger
from ops.stack.recipe import free_port
from producer.api.application import make_app
from producer.api.content import CHUNK_BYTES, DOWNLOADS
from producer.api.parts import Parts
from producer.api.tenant_pool import TenantPlaces
from producer.keys import Keys, Scope
from tests.api.conftest import completed
from tests.stage import a_request, eventually

SIZE_BYTES: Final = 1 << 30
MOST: Final = 2


class Server(NamedTuple):
    """A running API with an archive."""

    url: str
    parts: Parts
    archive: Path


@pytest.fixture
def server(redis_url: str, client: object, tmp_path: Path) -> Iterator[Server]:
    """An API where a tenant may have two downloads."""
    del client
    settings = Settings.model_validate({"redis": {"url": redis_url}, "archive": {"dir": tmp_path}})
    app, port = make_app(settings), free_port()
    bounds = replace(DOWNLOADS, of_a_tenant=MOST, calls_of_a_tenant=MOST)
    app.state.parts = replace(app.state.parts, downloads=TenantPlaces(bounds))
    running = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = Thread(target=running.run)
    thread.start()
    eventually(lambda: running.started, what="the API's start")
    yield Server(f"http://127.0.0.1:{port}", app.state.parts, tmp_path)
    running.should_exit = True
    thread.join()


Download = Callable[[Server, Job, str], requests.Response]


def a_long_video(server: Server, client: "redis.Redis", tenant: str) -> Job:
    """A job whose video has a gigabyte, none of it on the disk."""
    job_id = server.parts.service.submit(a_request(), Terms(tenant=tenant)).job_id
    job = completed(Ledger(client), job_id, server.archive, size_bytes=SIZE_BYTES)
    assert job.stored is not None
    os.truncate(server.archive / job.stored.path, SIZE_BYTES)
    return job


def by_key(server: Server, job: Job, token: str) -> requests.Response:
    """Download as a program does."""
    headers = {"authorization": f"Bearer {token}"}
    return requests.get(f"{server.url}/v1/videos/{job.id}/content", headers=headers, stream=True, timeout=20)


def by_session(server: Server, job: Job, token: str) -> requests.Response:
    """Download as a person does, who signed in with the key."""
    browser = requests.Session()
    signed_in = browser.post(
        f"{server.url}/signin",
        data={"key": token},
        headers={"sec-fetch-site": "same-origin"},
        allow_redirects=False,
        timeout=20,
    )
    assert signed_in.status_code == HTTPStatus.SEE_OTHER
    return browser.get(f"{server.url}/jobs/{job.id}/video", stream=True, timeout=20)


def slowly(reply: requests.Response) -> Iterator[int]:
    """Read a reply at ten megabytes a second, and yield how much came."""
    for part in reply.iter_content(CHUNK_BYTES):
        yield len(part)
        time.sleep(0.02)


@pytest.mark.parametrize("download", [by_key, by_session])
def test_a_download_ends_soon_after_its_key_was_revoked(
    server: Server, client: "redis.Redis", download: Download
) -> None:
    """A client that reads slowly would else have the video hours later."""
    access, job = Keys(client), a_long_video(server, client, "shop")
    issued = access.issue("shop", [Scope.READ])
    reply = download(server, job, issued.token)
    assert reply.status_code == HTTPStatus.OK
    access.revoke(issued.key.id)

    came: list[int] = []
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        came.extend(slowly(reply))
    assert 0 < sum(came) < SIZE_BYTES


def test_a_tenants_downloads_are_bounded_by_key_and_by_link(server: Server, client: "redis.Redis") -> None:
    """One more is refused, another tenant's is not, and one whose client went away makes room."""
    jobs = [a_long_video(server, client, tenant) for tenant in ("attacker", "shop")]
    attacker, shop = (Keys(client).issue(tenant, [Scope.READ]).token for tenant in ("attacker", "shop"))
    (job, other), links = jobs, server.parts.links
    assert job.stored is not None
    link = f"{server.url}/v2/files/{links.make(job.id, job.stored, now=server.parts.service.now()).path}"
    with ExitStack() as held:
        by_link = held.enter_context(requests.get(link, stream=True, timeout=20))
        unread = held.enter_context(by_key(server, job, attacker))
        assert [by_link.status_code, unread.status_code] == [HTTPStatus.OK] * MOST

        refused = by_key(server, job, attacker)
        assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.TOO_MANY_REQUESTS, "rate_limited")
        assert requests.get(link, stream=True, timeout=20).status_code == HTTPStatus.TOO_MANY_REQUESTS
        assert held.enter_context(by_key(server, other, shop)).status_code == HTTPStatus.OK
    eventually(lambda: by_key(server, job, attacker).ok, what="room for another")
