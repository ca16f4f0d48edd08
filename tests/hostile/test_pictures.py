"""Pictures on a slow server hold up the tenant that names them, and nobody else."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import pytest
import requests
import uvicorn

from config.settings import Settings
from jobs.errors import FieldError
from ops.stack.recipe import free_port
from producer.api.application import make_app
from producer.api.picture_pool import BOUNDS, PicturePool
from producer.api.pictures import MOST_PICTURES, PictureCheck
from producer.api.problems import Problem
from producer.keys import Scope, make_access
from tests.stage import eventually
from tests.worker.servers import slow_handshake

OTHER: Final = "somebody/else"
PROMPT_S: Final = 5.0
"""What another tenant waits at most on a slow machine; one thread held for one slow picture would be longer."""
WITHIN_S: Final = 4.0
ORDERS: Final = 80
URL_ORDER: Final = {"image_url": "https://127.0.0.1:1/boat.png"}


@dataclass
class Tenant:
    """One tenant's way to the API."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        """Send one request."""
        headers = {"authorization": f"Bearer {self.key}"}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=60)

    def create(self, **parameters: Any) -> requests.Response:
        """Order a video."""
        return self.ask("POST", "/v1/videos", {"model": OTHER, "prompt": "a boat", **parameters})


@pytest.fixture
def tenants(redis_url: str, client: object) -> Iterator[tuple[Sequence[Tenant], Tenant]]:
    """Two attackers and a shop at one API, whose picture check takes this machine for the public internet."""
    del client
    settings = Settings.model_validate({"redis": {"url": redis_url}})
    app, port = make_app(settings), free_port()
    check = PictureCheck(1000, within_s=WITHIN_S, permits=lambda _: True).check
    app.state.parts = replace(
        app.state.parts, pictures=PicturePool(check, within_s=WITHIN_S, bounds=replace(BOUNDS, room_within_s=2))
    )
    access = make_access(settings)
    keys = [access.issue(name, [Scope.SUBMIT, Scope.READ]).token for name in ("attacker", "accomplice", "shop")]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started, what="the API's start")
    *attackers, shop = (Tenant(f"http://127.0.0.1:{port}", key) for key in keys)
    yield attackers, shop
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/batch"])
def test_slow_pictures_hold_up_only_tenants_that_name_them(tenants: tuple[Sequence[Tenant], Tenant], path: str) -> None:
    """Another tenant's create, get and list go on, and so do its own pictures; the attackers get nothing."""
    attackers, shop = tenants
    with slow_handshake() as slow, ThreadPoolExecutor(ORDERS) as many:
        url = f"https://127.0.0.1:{slow}/boat.png"
        order = {"model": OTHER, "prompt": "a boat", "image_url": url, "tail_image_url": url, "image_urls": [url] * 3}
        body = {"requests": [order]} if path.endswith("batch") else order
        began = time.monotonic()
        attack = [many.submit(attackers[number % 2].ask, "POST", path, body) for number in range(ORDERS)]
        eventually(lambda: any(order.done() for order in attack), what="the first refusal")

        waited = [took_s(shop) for _ in range(5)]

        assert not all(order.done() for order in attack)
        answers = [order.result() for order in attack]
        attack_s = time.monotonic() - began
    assert max(waited) < PROMPT_S
    assert Counter(map(status_of, answers)).keys() == {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS}
    assert attack_s < ORDERS * WITHIN_S / BOUNDS.of_a_tenant
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    assert [attacker.ask("GET", "/v1/videos").json()["data"] for attacker in attackers] == [[], []]


def status_of(answer: requests.Response) -> int:
    """Return the status of an order, also of one in a batch."""
    if answer.status_code != HTTPStatus.MULTI_STATUS:
        return answer.status_code
    (result,) = answer.json()["data"]
    status: int = result["status"]
    return status


def took_s(shop: Tenant) -> float:
    """Return the longest time that one of another tenant's requests took; all must succeed."""
    created, create_s = timed(shop.create)
    got, get_s = timed(lambda: shop.ask("GET", f"/v1/videos/{created.json()['id']}"))
    listed, list_s = timed(lambda: shop.ask("GET", "/v1/videos"))
    checked, check_s = timed(lambda: shop.create(**URL_ORDER))
    assert [created.status_code, got.status_code, listed.status_code] == [202, 200, 200]
    assert "cannot be fetched" in checked.json()["errors"][0]["message"]
    return max(create_s, get_s, list_s, check_s)


def timed(ask: Any) -> tuple[requests.Response, float]:
    """Return the reply and the seconds until it came."""
    began = time.monotonic()
    answer: requests.Response = ask()
    return answer, time.monotonic() - began


def test_all_pictures_of_an_order_share_one_deadline() -> None:
    """Each alone would take half of it."""
    with slow_handshake() as slow:
        began = time.monotonic()
        url = f"https://127.0.0.1:{slow}/boat.png"
        errors = PictureCheck(1000, within_s=1, permits=lambda _: True).check(
            {"image_url": url, "image_urls": [url] * 4}
        )

    assert time.monotonic() - began < 1 + 1
    assert errors[-1].message == "could not be checked within 1 s, with the request's other pictures"


def test_an_order_has_a_bounded_number_of_pictures() -> None:
    """None is fetched beyond it."""
    (error,) = PictureCheck(1000).check({"image_urls": ["https://127.0.0.1/boat.png"] * (MOST_PICTURES + 1)})

    assert error == FieldError("image_urls", "may not take the request beyond 16 pictures in all")


@pytest.mark.anyio
async def test_a_check_that_is_given_up_counts_until_it_ends(anyio_backend: str) -> None:
    """A name server that never answers can't be interrupted; new orders must not begin beside the old ones for ever."""
    del anyio_backend
    over, running = threading.Event(), Counter[str]()

    def hang(parameters: Mapping[str, Any]) -> list[FieldError]:
        running["now"] += 1
        assert parameters
        over.wait(30)
        running["now"] -= 1
        return []

    pool = PicturePool(hang, within_s=0.1, bounds=replace(BOUNDS, room_within_s=0.1))
    first = await asyncio.gather(*(pool.check(URL_ORDER, tenant="a") for _ in range(BOUNDS.of_a_tenant)))
    again = await asyncio.gather(*(pool.check(URL_ORDER, tenant="a") for _ in range(3)), return_exceptions=True)
    beside = await pool.check(URL_ORDER, tenant="b")

    assert [error.message for (error,) in [*first, beside]] == ["could not be checked within 0.1 s"] * 5
    assert all(isinstance(answer, Problem) for answer in again)
    assert running["now"] == BOUNDS.of_a_tenant + 1 <= BOUNDS.places
    over.set()
    eventually(lambda: running["now"] == 0, what="the checks' end")
    await asyncio.sleep(0)
    pool.close()


@pytest.mark.anyio
async def test_a_tenant_waits_with_a_bounded_number_of_orders(anyio_backend: str) -> None:
    """Each holds its body in memory; the next one is refused at once, and another tenant's is not."""
    del anyio_backend
    over = threading.Event()

    def hang(_: Mapping[str, Any]) -> list[FieldError]:
        over.wait(30)
        return []

    pool = PicturePool(hang, bounds=replace(BOUNDS, room_within_s=30))
    waiting = [asyncio.create_task(pool.check(URL_ORDER, tenant="a")) for _ in range(BOUNDS.calls_of_a_tenant)]
    await asyncio.sleep(0)

    with pytest.raises(Problem, match="Try again in 5 s"):
        await pool.check(URL_ORDER, tenant="a")
    beside = asyncio.create_task(pool.check(URL_ORDER, tenant="b"))
    await asyncio.sleep(0)
    over.set()

    assert await asyncio.gather(*waiting, beside) == [[]] * (BOUNDS.calls_of_a_tenant + 1)
    pool.close()
