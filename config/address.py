"""Where Redis is: one server by its URL, or the master that a group of Sentinels names.

    redis://[[user]:password@]host:port/db
    rediss://…?ssl_ca_certs=/etc/ca.pem                              the same over TLS, and how it is checked
    sentinel://[[user]:password@]host:26379,host2:26379/db?master=mymaster

The password is Redis's own; the Sentinels' is given beside the address. The URL is read here and nowhere else: ledger,
broker and Flower get the parts, because their libraries read one URL in three ways.
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
    for prefix in ("", "cert_")  # redis-py's spelling, and kombu's
    for name, mode in (("none", ssl.CERT_NONE), ("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED))
}
_TLS_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "ssl_cert_reqs": lambda value: _CERT_REQS[value.lower()],
    "ssl_check_hostname": lambda value: _SWITCH[value.lower()],
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
}
"""What a rediss:// URL may say of TLS, by redis-py's names, and how a value is read."""


class NotAnAddress(ValueError):
    """The URL names no Redis that ledger and broker could both reach; the message does not repeat any of it."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server; `tls` holds redis-py's options, empty where there is no TLS."""

    host: str
    port: int
    db: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address in the one form that redis-py, kombu and Flower read alike; TLS options are given beside it."""
        scheme = TLS if self.tls else SERVER[0]
        return f"{scheme}://{_userinfo(self.username, self.password)}{_bracketed(self.host)}:{self.port}/{self.db}"


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The master called `master`, wherever it is: whichever of `hosts` answers knows."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    def for_celery(self) -> str:
        """The address as kombu spells it: each Sentinel with the whole of it, as it turns from one to the next."""
        user = _userinfo(self.username, self.password)
        return ";".join(f"{SENTINEL}://{user}{_bracketed(host)}:{port}/{self.db}" for host, port in self.hosts)


def parse(url: str) -> Server | Sentinels:
    """Read the address of Redis.

    Raises:
        NotAnAddress: saying what is wrong with it.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # its message repeats the host, and with it the password
        raise NotAnAddress("it names no host") from None
    if "#" in url:
        raise NotAnAddress("it holds a #")
    if parts.scheme not in {*SERVER, SENTINEL}:
        raise NotAnAddress("it begins with none of redis://, rediss://, sentinel://")
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = (unquote(part) or None for part in user.partition(":"))
    if parts.scheme == SENTINEL:
        found = tuple(_host(host, SENTINEL_PORT) for host in hosts.split(","))
        return Sentinels(found, _master(parts), _db(parts), username, password)
    return Server(*_host(hosts, SERVER_PORT), _db(parts), username, password, _tls(parts))


def client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.Redis":
    """A client of the server, or of whichever server is the master when a connection is made."""
    address = parse(url)
    if isinstance(address, Server):
        return redis.Redis.from_url(address.url, **address.tls, **options)
    asked: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        address.hosts,
        sentinel_kwargs=asking(sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]),
    )
    master = asked.master_for(
        address.master, db=address.db, username=address.username, password=address.password, **options
    )
    return cast("redis.Redis", master)


def async_client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.asyncio.Redis":
    """The same for an event loop, where more may ask at once than there are threads: they wait for a connection."""
    address = parse(url)
    once = {"retry": AsyncRetry(NoBackoff(), 0)}
    waiting = {**options, **once, "timeout": options["socket_timeout"]}
    if isinstance(address, Server):
        return redis.asyncio.Redis.from_pool(BlockingConnectionPool.from_url(address.url, **address.tls, **waiting))
    asked: Any = AsyncSentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        address.hosts,
        sentinel_kwargs=asking(sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]) | once,
    )
    master = asked.master_for(
        address.master,
        connection_pool_class=MastersPool,
        db=address.db,
        username=address.username,
        password=address.password,
        **waiting,
    )
    return cast("redis.asyncio.Redis", master)


class MastersPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to whichever server is the master; closing it closes those to the Sentinels, too."""

    async def aclose(self) -> None:
        """Close everything."""
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


def asking(password: str | None, connect_timeout_s: float, socket_timeout_s: float) -> dict[str, Any]:
    """How one Sentinel is asked: once, as the next one knows the same."""
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
        raise NotAnAddress("its query holds a name twice or without a value")
    return dict(pairs)


def _master(parts: SplitResult) -> str:
    match _query(parts):
        case {"master": master, **others} if not others:
            return master
    raise NotAnAddress("?master=<name>, and nothing else, must say which master the Sentinels are asked for")


def _tls(parts: SplitResult) -> dict[str, Any]:
    """The TLS options; without a word on it, the server's certificate is checked."""
    query = _query(parts)
    if not query.keys() <= (_TLS_OPTIONS.keys() if parts.scheme == TLS else set()):
        raise NotAnAddress(
            f"its query may hold nothing but, after rediss://, {', '.join(_TLS_OPTIONS)}; the database is the path "
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
    """The host as a URL holds it; a zone in an IPv6 address is percent-encoded there."""
    return f"[{quote(host, safe=':')}]" if ":" in host else quote(host)
