"""An event loop gets the same answers from the ledger, and an outage does not spoil its connection pool."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final

import pytest
import redis
import redis.asyncio

from config.connection import connect_async
from config.settings import RedisSettings
from jobs.errors import IdempotencyConflict, LedgerUnavailable, UnknownJob
from jobs.job import Terms
from jobs.ledger import Ledger, new_job_id
from jobs.scripts import WakeUp
from jobs.states import State
from tests.redis_servers import Cable
from tests.stage import a_request, eventually

pytestmark = pytest.mark.anyio

FEW: Final = 8
KEYED: Final = Terms(idempotency_key="key-1")


@pytest.fixture
def cable(redis_url: str) -> Iterator[Cable]:
    """The connection between the loop's client and Redis, which a test may cut."""
    with Cable.laid(int(redis_url.rpartition(":")[2].partition("/")[0])) as laid:
        yield laid


@pytest.fixture
async def few(cable: Cable, anyio_backend: str) -> "AsyncIterator[redis.asyncio.Redis]":
    """A client that may hold few connections, and waits a second for an answer."""
    del anyio_backend
    choice = {"url": cable.url, "socket_timeout_s": 1.1}
    connection = connect_async(RedisSettings.model_validate(choice), name="few", most=FEW)
    yield connection
    await connection.aclose()


@pytest.fixture
def sent() -> list[WakeUp]:
    """The wake-ups that were sent."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", few: "redis.asyncio.Redis", sent: list[WakeUp]) -> Ledger:
    """A ledger that can be asked both ways."""
    return Ledger(client, on_loop=few, send_wake_up=sent.append)


async def test_what_is_accepted_from_the_loop_is_the_job_that_all_see(ledger: Ledger, sent: list[WakeUp]) -> None:
    """Row, request and wake-up are those of any other job."""
    request, terms = a_request(), Terms(job_id=new_job_id())

    answer = await ledger.accept_async(request, terms)

    assert answer.job == ledger.get(answer.job_id)
    assert answer.job_id == terms.job_id
    assert sent == [WakeUp(State.QUEUED, answer.job_id, 0)]
    *found, at = await ledger.whole_async(answer.job_id)
    assert tuple(found) == ledger.whole(answer.job_id) == (answer.job, request)
    assert answer.job.accepted_at <= at <= ledger.now()


async def test_refusals_are_the_same_from_the_loop(ledger: Ledger) -> None:
    """A key makes one job; what is not there is unknown."""
    first = await ledger.accept_async(a_request(), KEYED)
    again = await ledger.accept_async(a_request(), KEYED)
    assert (again.job_id, again.replayed) == (first.job_id, True)

    with pytest.raises(IdempotencyConflict):
        await ledger.accept_async(a_request("another"), KEYED)
    with pytest.raises(UnknownJob):
        await ledger.whole_async(new_job_id())


async def test_a_redis_that_has_forgotten_the_scripts_is_taught_again(ledger: Ledger, client: "redis.Redis") -> None:
    """It does at every restart, and in a failover."""
    await ledger.accept_async(a_request())
    client.script_flush()

    job_id = (await ledger.accept_async(a_request())).job_id

    assert ledger.get(job_id).id == job_id


async def test_more_may_ask_than_there_are_connections(ledger: Ledger, client: "redis.Redis") -> None:
    """They wait for one another: a burst of requests is no outage."""
    await asyncio.gather(*(ledger.accept_async(a_request()) for _ in range(FEW * 10)))

    assert len(ledger.page(limit=FEW * 20)) == FEW * 10
    assert len(named(client, "rushes-few")) <= FEW


async def test_who_gives_up_leaves_nothing_behind_for_the_next(ledger: Ledger, client: "redis.Redis") -> None:
    """An answer that nobody waits for any more must not be read as another question's."""
    known = (await ledger.accept_async(a_request())).job_id
    client.client_pause(30_000, all=False)  # writes wait
    leaving = [asyncio.create_task(ledger.accept_async(a_request())) for _ in range(FEW)]
    await asyncio.to_thread(eventually, lambda: len(waiting(client)) == FEW, what="questions on their way")

    for task in leaving:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*leaving, return_exceptions=True)
    )
    client.client_unpause()

    answers = await asyncio.gather(*(ledger.whole_async(known) for _ in range(FEW * 2)))
    assert [answer[:2] for answer in answers] == [ledger.whole(known)] * FEW * 2


async def test_an_outage_is_reported_and_ends_by_itself(ledger: Ledger, cable: Cable) -> None:
    """The pool replaces connections that were cut, without a person."""
    job_id = (await ledger.accept_async(a_request())).job_id

    cable.cut()
    for _ in range(FEW * 2):
        with pytest.raises(LedgerUnavailable):
            await ledger.whole_async(job_id)
    cable.mend()

    assert (await ledger.whole_async(job_id))[0].id == job_id


@pytest.mark.timeout(60)
async def test_an_answer_that_is_lost_is_given_up_in_time(ledger: Ledger, cable: Cable) -> None:
    """The request may have been accepted: sent again with its key, it answers with the same job."""
    await ledger.accept_async(a_request())
    cable.deaf = True
    lost = replace(KEYED, job_id=new_job_id())
    with pytest.raises(LedgerUnavailable, match="in time"):
        await ledger.accept_async(a_request(), lost)
    cable.deaf = False

    again = await ledger.accept_async(a_request(), KEYED)

    assert (again.job_id, again.replayed) == (lost.job_id, True)


def named(client: "redis.Redis", name: str) -> list[dict[str, str]]:
    """The connections of this name."""
    return [found for found in client.client_list() if found["name"] == name]


def waiting(client: "redis.Redis") -> list[dict[str, str]]:
    """The connections of ours whose question waits in the server."""
    return [found for found in named(client, "rushes-few") if "b" in found["flags"]]
