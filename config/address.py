"""The address of Redis: one server, or the master that a group of Sentinels names.

    redis://[[user]:password@]host:port/db
    rediss://…?ssl_ca_certs=/etc/ca.pem                              over TLS, with redis-py's options
    sentinel://[[user]:password@]host:26379,host2:26379/db?master=mymaster

The password is Redis's own; the Sentinels' is a separate setting. Only this module parses the URL: ledger, broker and
Flower get its parts, because their libraries parse one URL in three ways.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

SENTINEL: Final = "sentinel"
SENTINEL_PORT: Final = 26379
SERVER_PORT: Final = 6379
TLS: Final = "rediss"
SERVER: Final = ("redis", TLS)

_HOST_NAME: Final = re.compile(r"[\w.-]+")
_SWITCH: Final = {"true": True, "false": False}
_CERT_REQS: Final = {
    f"{prefix}{name}": mode
    for prefix in ("", "cert_")  # redis-py's names, and kombu's
    for name, mode in (("none", ssl.CERT_NONE), ("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED))
}
_TLS_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "ssl_cert_reqs": lambda value: _CERT_REQS[value.lower()],
    "ssl_check_hostname": lambda value: _SWITCH[value.lower()],
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
}
"""The TLS options of a rediss:// URL, by redis-py's names, each with its parser."""


class NotAnAddress(ValueError):
    """The URL is no valid address of Redis; the message repeats no part of it."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server; `tls` has redis-py's options and is empty without TLS."""

    host: str
    port: int
    db: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address without TLS options, in a form that redis-py, kombu and Flower parse alike."""
        scheme = TLS if self.tls else SERVER[0]
        return f"{scheme}://{_userinfo(self.username, self.password)}{_bracketed(self.host)}:{self.port}/{self.db}"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The master called `master`; the first of `hosts` that answers knows its address."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    def for_celery(self) -> str:
        """Return the address for kombu: one complete URL per Sentinel."""
        user = _userinfo(self.username, self.password)
        return ";".join(f"{SENTINEL}://{user}{_bracketed(host)}:{port}/{self.db}" for host, port in self.hosts)


def parse(url: str) -> Server | Sentinels:
    """Parse the address of Redis.

    Raises:
        NotAnAddress: it is invalid; the message says why.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # its message repeats the host, and with it the password
        raise NotAnAddress("it names no host") from None
    if "#" in url:
        raise NotAnAddress("it contains a #")
    if parts.scheme not in {*SERVER, SENTINEL}:
        raise NotAnAddress("it begins with none of redis://, rediss://, sentinel://")
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = (unquote(part) or None for part in user.partition(":"))
    if parts.scheme == SENTINEL:
        found = tuple(_host(host, SENTINEL_PORT) for host in hosts.split(","))
        return Sentinels(found, _master(parts), _db(parts), username, password)
    return Server(*_host(hosts, SERVER_PORT), _db(parts), username, password, _tls(parts))


def client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.Redis":
    """Make a client of the server, or of the server that is the master when it connects."""
    address = parse(url)
    if isinstance(address, Server):
        return redis.Redis.from_url(address.url, **address.tls, **options)
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        address.hosts,
        sentinel_kwargs=sentinel_options(
            sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]
        ),
    )
    master = sentinel.master_for(
        address.master, db=address.db, username=address.username, password=address.password, **options
    )
    return cast("redis.Redis", master)


def async_client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.asyncio.Redis":
    """Make the same for an event loop, where callers wait for a free connection of the pool."""
    address = parse(url)
    once = {"retry": AsyncRetry(NoBackoff(), 0)}
    waiting = {**options, **once, "timeout": options["socket_timeout"]}
    if isinstance(address, Server):
        return redis.asyncio.Redis.from_pool(BlockingConnectionPool.from_url(address.url, **address.tls, **waiting))
    sentinel: Any = AsyncSentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        address.hosts,
        sentinel_kwargs=sentinel_options(
            sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]
        )
        | once,
    )
    master = sentinel.master_for(
        address.master,
        connection_pool_class=MastersPool,
        db=address.db,
        username=address.username,
        password=address.password,
        **waiting,
    )
    return cast("redis.asyncio.Redis", master)


class MastersPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the current master; closing the pool also closes those to the Sentinels."""

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


def sentinel_options(password: str | None, connect_timeout_s: float, socket_timeout_s: float) -> dict[str, Any]:
    """Return the options for a Sentinel: no retries, because the next Sentinel knows the same."""
    once = {"retry": Retry(NoBackoff(), 0)}
    times = {"socket_connect_timeout": connect_timeout_s, "socket_timeout": socket_timeout_s}
    return {**once, **times, **({"password": password} if password else {})}


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:  # its message repeats what may be a part of the password
        raise NotAnAddress("its port is no number up to 65535") from None
    if not (_HOST_NAME.fullmatch(host) or _is_ip(host)) or parts.path or port == 0:
        raise NotAnAddress("it names no host")
    return host, port or default_port


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _db(parts: SplitResult) -> int:
    written = parts.path.strip("/") or "0"
    if not (written.isascii() and written.isdigit()):
        raise NotAnAddress("its path must be the number of the database: /0")
    return int(written)


def _query(parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise NotAnAddress("its query cannot be read") from None
    if len(dict(pairs)) < len(pairs) or not all(value for _, value in pairs):
        raise NotAnAddress("its query has a name twice or without a value")
    return dict(pairs)


def _master(parts: SplitResult) -> str:
    match _query(parts):
        case {"master": master, **others} if not others:
            return master
    raise NotAnAddress("its query must be ?master=<name>, the master that the Sentinels know, and nothing else")


def _tls(parts: SplitResult) -> dict[str, Any]:
    """Parse the TLS options; by default the server's certificate is verified."""
    query = _query(parts)
    if not query.keys() <= (_TLS_OPTIONS.keys() if parts.scheme == TLS else set()):
        raise NotAnAddress(
            f"its query may contain only, after rediss://, {', '.join(_TLS_OPTIONS)}; the database is the path "
            "(/3), and time-outs and limits are RUSHES_REDIS__… settings"
        )
    if "ssl_keyfile" in query and "ssl_certfile" not in query:
        raise NotAnAddress("its ssl_keyfile needs an ssl_certfile beside it")
    if parts.scheme != TLS:
        return {}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **{name: _option(name, value) for name, value in query.items()}}


def _option(name: str, value: str) -> Any:
    try:
        return _TLS_OPTIONS[name](value)
    except KeyError:
        known = "none, optional or required" if name == "ssl_cert_reqs" else "true or false"
        raise NotAnAddress(f"its {name} must be {known}") from None


def _userinfo(username: str | None, password: str | None) -> str:
    if not (username or password):
        return ""
    return f"{quote(username or '', safe='')}:{quote(password or '', safe='')}@"


def _bracketed(host: str) -> str:
    """Format the host for a URL; the zone of an IPv6 address is percent-encoded."""
    return f"[{quote(host, safe=':')}]" if ":" in host else quote(host)
