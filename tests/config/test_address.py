"""Where Redis is: a server, or the master that Sentinels name; read alike for the ledger, Celery and Flower."""

import ssl
from typing import Any, Final

import pytest
from flower.utils.broker import Broker
from pydantic import ValidationError

from config.address import NotAnAddress, Sentinels, Server, parse
from config.celery_app import make_app
from config.connection import connect, connect_async
from config.settings import RedisSettings, Settings

URL = "sentinel://me:p%40ss%3Bword@one,two:5000,[::1]:6000/3?master=videos"
PARTS: Final = ("host", "port", "db", "username", "password")
CHECKED: Final = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
UNCHECKED: Final = {"ssl_cert_reqs": ssl.CERT_NONE}

READ: Final[dict[str, Server]] = {
    "redis://h": Server("h", 6379, 0, None, None),
    "redis://h:7000/": Server("h", 7000, 0, None, None),
    "redis://h/16": Server("h", 6379, 16, None, None),
    "redis://h//2/": Server("h", 6379, 2, None, None),
    "REDIS://H/1": Server("h", 6379, 1, None, None),
    " redis://h/1\n": Server("h", 6379, 1, None, None),
    "redis://my_redis.internal-1/0": Server("my_redis.internal-1", 6379, 0, None, None),
    "redis://[::1]:7000/1": Server("::1", 7000, 1, None, None),
    "redis://[fe80::1%25eth0]/1": Server("fe80::1%eth0", 6379, 1, None, None),
    "redis://:p%40s%23s%25x%2F%3F%3B@h/2": Server("h", 6379, 2, None, "p@s#s%x/?;"),
    "redis://:p@ss:word@h/0": Server("h", 6379, 0, None, "p@ss:word"),
    "redis://us%3Aer:p%2540@h/0": Server("h", 6379, 0, "us:er", "p%40"),
    "redis://user@h/0": Server("h", 6379, 0, "user", None),
    "redis://:a+b&c=d@h/0": Server("h", 6379, 0, None, "a+b&c=d"),
    "redis://:%C3%BC@h/0": Server("h", 6379, 0, None, "ü"),
    "rediss://:x@h/0": Server("h", 6379, 0, None, "x", CHECKED),
    "rediss://h/0?ssl_cert_reqs=none": Server("h", 6379, 0, None, None, UNCHECKED),
    "rediss://h/0?ssl_cert_reqs=CERT_NONE": Server("h", 6379, 0, None, None, UNCHECKED),
    "rediss://h?ssl_cert_reqs=CERT_REQUIRED": Server("h", 6379, 0, None, None, CHECKED),
    "rediss://h?ssl_cert_reqs=Optional": Server("h", 6379, 0, None, None, {"ssl_cert_reqs": ssl.CERT_OPTIONAL}),
    "rediss://h/0?ssl_check_hostname=False": Server("h", 6379, 0, None, None, CHECKED | {"ssl_check_hostname": False}),
    "rediss://h/0?ssl_ca_certs=%2Fetc%2Fca%20file.pem&ssl_certfile=/c&ssl_keyfile=/k": Server(
        "h",
        6379,
        0,
        None,
        None,
        CHECKED | {"ssl_ca_certs": "/etc/ca file.pem", "ssl_certfile": "/c", "ssl_keyfile": "/k"},
    ),
}

REFUSED: Final = (
    "",
    "one",
    "http://one",
    "valkey://one/0",
    "unix:///tmp/redis.sock",
    "redis+socket:///tmp/redis.sock",
    "redis://",
    "redis:///0",
    "redis://:6379/0",
    "redis://one:port",
    "redis://one:0/0",
    "redis://one:65536/0",
    "redis://one,two/0",
    "redis://o ne/0",
    "redis://[::1/0",
    "redis://[one]/0",
    "redis://one/abc",
    "redis://one/-1",
    "redis://one/1.5",
    "redis://one/0/1",
    "redis://one/\u0663",
    "redis://one?db=3",
    "redis://one/0?db=3",
    "redis://one/0?protocol=3",
    "redis://one/0?socket_timeout=3",
    "redis://one/0?health_check_interval=5",
    "redis://one/0?client_name=x",
    "redis://one/0?max_connections=5",
    "redis://one/0?virtual_host=1",
    "redis://one/0?credential_provider=a.B",
    "redis://one/0?foo",
    "redis://one/0?ssl_cert_reqs=none",
    "rediss://one/0?ssl_cert_reqs=maybe",
    "rediss://one/0?ssl_cert_reqs=",
    "rediss://one/0?ssl_cert_reqs=none&ssl_cert_reqs=required",
    "rediss://one/0?ssl_check_hostname=perhaps",
    "rediss://one/0?ssl_password=x",
    "rediss://one/0?ssl_keyfile=/k",
    "redis://one/0#1",
    "sentinel://one:26379/0",
    "sentinel://one/0?master=a&master=b",
    "sentinel://one/0?master=a&ssl_cert_reqs=none",
    "sentinel:///0?master=m",
    "sentinel://one,,two/0?master=m",
    "sentinel://one:port/0?master=m",
    "sentinel://one/zero?master=m",
)

UNENCODED: Final = (
    "12#secret",
    "12/secret",
    "1?secret",
    "p#secret",
    "p/secret",
    "p?secret",
    "?secret=x",
    "[secret",
    "℀secret",
)
"""Passwords that were not percent-encoded, and tear the address apart."""


def test_sentinels_are_read_from_one_url() -> None:
    """The port is Sentinel's own unless given; the password is Redis's, percent-encoded."""
    hosts = (("one", 26379), ("two", 5000), ("::1", 6000))

    assert parse(URL) == Sentinels(hosts, "videos", 3, "me", "p@ss;word")
    assert parse("sentinel://one?master=m") == Sentinels((("one", 26379),), "m", 0, None, None)
    assert "p@ss" not in repr(parse(URL))


@pytest.mark.anyio
@pytest.mark.parametrize("url", READ)
async def test_a_servers_url_is_read_alike_by_all_who_use_it(url: str) -> None:
    """Else a job is accepted by the ledger, and the wake-up ends in a traceback or in another database."""
    server = READ[url]
    settings = Settings.model_validate({"redis": {"url": url}})
    on_loop = connect_async(settings.redis, name="test")
    broker = broker_params(settings)

    ledgers: list[Any] = [connect(settings.redis, name="test").connection_pool, on_loop.connection_pool]
    readings = [*(pool.connection_kwargs for pool in ledgers), broker, flower_params(settings)]

    assert parse(url) == server
    for read in readings:
        assert tuple(read.get(part) or None for part in PARTS) == tuple(getattr(server, part) or None for part in PARTS)
        assert {option: read.get(option) for option in server.tls} == server.tls
    assert (
        {is_tls(pool.connection_class) for pool in ledgers}
        == {bool(server.tls)}
        == {is_tls(broker["connection_class"])}
    )
    await on_loop.aclose()


@pytest.mark.parametrize("url", REFUSED)
def test_what_not_all_could_use_is_refused_as_a_setting(url: str) -> None:
    """Else a worker would start behind such an address and find nothing."""
    with pytest.raises(ValidationError, match="not a Redis address: "):
        Settings.model_validate({"redis": {"url": url}})


@pytest.mark.parametrize("url", REFUSED)
def test_a_refusal_does_not_repeat_the_address(url: str) -> None:
    """It may hold a password, in its right place or in a wrong one."""
    scheme, _, rest = url.partition("://")
    for secret in (f"{scheme}://:topsecret@{rest}", f"{scheme}://topsecret{rest}", f"{url}topsecret"):
        try:
            parse(secret)
        except NotAnAddress as error:
            assert "topsecret" not in f"{error}{error.__cause__ or ''}"  # noqa: PT017 (some of them are addresses)


@pytest.mark.parametrize("password", UNENCODED)
@pytest.mark.parametrize("form", ["redis://:{}@h:6379/0", "rediss://user:{}@h/0", "sentinel://:{}@h/0?master=m"])
def test_a_password_that_tears_the_address_apart_is_refused_unseen(form: str, password: str) -> None:
    """Neither is it shown, nor is what stands before the tear connected to."""
    url = form.format(password)
    for model, values in ((Settings, {"redis": {"url": url}}), (RedisSettings, {"url": url})):
        with pytest.raises(ValidationError) as refused:
            model.model_validate(values)
        assert "secret" not in str(refused.value)
        assert "%23" in str(refused.value)


def broker_params(settings: Settings) -> dict[str, Any]:
    """The parameters that kombu connects with."""
    connection: Any = make_app(settings).connection_for_write()  # the stubs know no transport's own channel
    channel_class = connection.transport.Channel
    channel = object.__new__(channel_class)  # its constructor connects
    channel.connection = type("Transport", (), {"client": connection, "default_port": 6379})()
    for name, value in connection.transport_options.items():
        setattr(channel, name, value)
    found: dict[str, Any] = channel._connparams()
    return found


def flower_params(settings: Settings) -> dict[str, Any]:
    """The parameters that Flower's page on the broker connects with."""
    app = make_app(settings)
    conf = app.conf
    page: Any = Broker(  # as Flower's handler makes it
        app.connection().as_uri(include_password=True),
        broker_options=conf.broker_transport_options,
        broker_use_ssl=conf.broker_use_ssl,
    )
    found: dict[str, Any] = page.redis.connection_pool.connection_kwargs
    return found


def is_tls(connection_class: type) -> bool:
    """Whether its connections are encrypted."""
    return any("SSL" in parent.__name__ for parent in connection_class.__mro__)


def test_celery_gets_every_sentinel_with_its_options() -> None:
    """Kombu turns from one URL to the next, and forgets what only the first one said."""
    redis = {"url": URL, "sentinel_password": "theirs"}
    app = make_app(Settings.model_validate({"redis": redis}))
    options = app.conf.broker_transport_options

    assert app.conf.broker_url == ";".join(
        f"sentinel://me:p%40ss%3Bword@{host}/3" for host in ("one:26379", "two:5000", "[::1]:6000")
    )
    assert options["master_name"] == "videos"
    assert options["sentinel_kwargs"]["password"] == "theirs"
    assert options["ack_emulation"] is False
    assert "p@ss" not in app.connection().as_uri()
