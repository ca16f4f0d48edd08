"""Redis behind TLS: ledger, broker and Flower go in by the same options, and are kept out by the same."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis
import requests
from flower.utils.broker import Broker
from kombu.exceptions import OperationalError

from config.celery_app import KEY_PREFIX, make_app
from config.connection import connect, connect_async
from config.settings import Settings
from jobs.states import State
from ops.stack.recipe import free_port
from tests.redis_servers import HOST, Entrance, Server
from tests.stage import Sandbox, Stage, a_request, child, eventually

REDIS_SERVER: Final = shutil.which("redis-server")
ENTRANCE, OWN = "entrance", "its-own"


@pytest.fixture(
    scope="module",
    params=[
        ENTRANCE,
        pytest.param(
            OWN,
            marks=pytest.mark.skipif(REDIS_SERVER is None, reason="no redis-server here (apt install redis-server)"),
        ),
    ],
)
def server(
    request: pytest.FixtureRequest, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int]]:
    """A server, and the port on which it speaks TLS with those who show a certificate."""
    folder = tmp_path_factory.mktemp("redis")
    if request.param == ENTRANCE:
        with Server.started(folder) as started, Entrance.opened(started.port, certificate) as entrance:
            yield started, entrance.port
        return
    files = dict.fromkeys(("tls_cert_file", "tls_key_file", "tls_ca_cert_file"), str(certificate))
    port = free_port()
    with Server.started(folder, binary=REDIS_SERVER or "", tls_port=str(port), **files) as started:
        yield started, port


@pytest.fixture
def identity(certificate: Path) -> str:
    """The certificate and key that a client shows."""
    return f"ssl_certfile={certificate}&ssl_keyfile={certificate}"


def settings_of(port: int, options: str, host: str = HOST) -> Settings:
    """The settings of a client that connects there."""
    redis_settings = {"url": f"rediss://{host}:{port}/0?{options}"}
    return Settings.model_validate({"redis": redis_settings})


def ledger(settings: Settings) -> None:
    """Ask the ledger."""
    with connect(settings.redis, name="test") as client:
        client.ping()


def ledger_on_loop(settings: Settings) -> None:
    """Ask it from an event loop."""

    async def ask() -> None:
        client = connect_async(settings.redis, name="test")
        try:
            await client.llen("rushes:celery:submit")
        finally:
            await client.aclose()

    asyncio.run(ask())


def broker(settings: Settings) -> None:
    """Connect to the broker."""
    with make_app(settings).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)


def flower(settings: Settings) -> None:
    """Ask as Flower's page on the broker does."""
    app = make_app(settings)
    conf = app.conf
    page: Any = Broker(
        app.connection().as_uri(include_password=True),
        broker_options=conf.broker_transport_options,
        broker_use_ssl=conf.broker_use_ssl,
    )
    assert asyncio.run(page.queues(["submit"])) == [{"name": "submit", "messages": 0}]


WAYS: Final = (ledger, ledger_on_loop, broker, flower)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "host"),
    [
        ("ssl_ca_certs={ca}&{identity}", HOST),
        ("ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ca}&{identity}", HOST),
        ("ssl_ca_certs={ca}&ssl_check_hostname=false&{identity}", "localhost"),
        ("ssl_cert_reqs=none&{identity}", HOST),
        ("ssl_cert_reqs=none&{identity}", "localhost"),
    ],
)
def test_all_go_in_by_the_same_options(
    server: tuple[Server, int], certificate: Path, identity: str, way: Any, options: str, host: str
) -> None:
    """The certificate is for 127.0.0.1 and signed by itself."""
    way(settings_of(server[1], options.format(ca=certificate, identity=identity), host))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "host"),
    [
        ("{identity}", HOST),
        ("ssl_ca_certs={ca}", HOST),
        ("ssl_ca_certs={ca}&{identity}", "localhost"),
        ("ssl_ca_certs=/no/such/file.pem&{identity}", HOST),
    ],
    ids=["unknown-ca", "no-identity", "another-host", "no-file"],
)
def test_none_goes_in_by_less(
    server: tuple[Server, int], certificate: Path, identity: str, way: Any, options: str, host: str
) -> None:
    """Kombu by itself would accept any certificate as Redis's."""
    settings = settings_of(server[1], options.format(ca=certificate, identity=identity), host)

    with pytest.raises((redis.ConnectionError, OperationalError, OSError)):
        way(settings)


@pytest.mark.long
def test_a_job_ends_and_flower_shows_the_queues_behind_tls(
    server: tuple[Server, int], sandbox: Sandbox, certificate: Path, identity: str, tmp_path: Path
) -> None:
    """A worker and Flower run as processes; Flower reads the broker by itself."""
    sandbox.reset()
    port, auth = free_port(), ("flower", "pass word")
    with Stage(
        server[0].client, f"rediss://{HOST}:{server[1]}/0?ssl_ca_certs={certificate}&{identity}", sandbox, tmp_path
    ).open() as stage:
        stage.environment["FLOWER_BASIC_AUTH"] = ":".join(auth)
        command = [sys.executable, "-m", "celery", "--app", "worker.app", "flower", f"--port={port}"]
        with child(command, tmp_path / "flower.log", stage.environment):
            with stage.worker():
                assert stage.ended(stage.service.submit(a_request()).job_id).state is State.COMPLETED
            stage.service.submit(a_request())

            def row() -> str:
                try:
                    page = requests.get(f"http://{HOST}:{port}/broker", auth=auth, timeout=10).text
                except requests.RequestException:
                    return ""
                return page.partition('<tr id="submit">')[2].partition("</tr>")[0]

            eventually(lambda: "<td>submit</td>" in row(), what="the queue on Flower's page")
            count = stage.client.llen(f"{KEY_PREFIX}submit")
            assert count >= 1
            eventually(lambda: f">{count}<" in row(), what="as many messages as the broker has")
