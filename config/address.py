"""Where Redis is: one server by its URL, or the master that a group of Sentinels names.

    redis://[[user]:password@]host:port/db
    rediss://…                                                       the same over TLS
    sentinel://[[user]:password@]host:26379,host2:26379/db?master=mymaster

The password is Redis's own; the Sentinels' is given beside the address.
"""

from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

SENTINEL: Final = "sentinel"
SENTINEL_PORT: Final = 26379
SERVER: Final = ("redis", "rediss")  # Celery spells sockets in its own way


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
        user = f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        return ";".join(f"{SENTINEL}://{user}{_bracketed(host)}:{port}/{self.db}" for host, port in self.hosts)


def sentinels_of(url: str) -> Sentinels | None:
    """The Sentinels that a URL names, or None if it names a server.

    Raises:
        ValueError: it is neither; the message does not repeat it, as it may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme in SERVER:
        parse_url(url)  # type: ignore[no-untyped-call]  # redis-py ships its own parser untyped
        return None
    if parts.scheme != SENTINEL:
        raise ValueError("it begins with none of redis://, rediss://, sentinel://")
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    masters = parse_qs(parts.query).get("master", [])
    if len(masters) != 1:
        raise ValueError("?master=<name> must say which master the Sentinels are asked for")
    return Sentinels(
        tuple(_host(host) for host in hosts.split(",")),
        masters[0],
        int(parts.path.strip("/") or 0),
        unquote(username) or None,
        unquote(password) or None,
    )


def client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.Redis":
    """A client of the server, or of whichever server is the master when a connection is made."""
    sentinels = sentinels_of(url)
    if sentinels is None:
        return redis.Redis.from_url(url, **options)
    asked: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        sentinels.hosts,
        sentinel_kwargs=asking(sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]),
    )
    master = asked.master_for(
        sentinels.master, db=sentinels.db, username=sentinels.username, password=sentinels.password, **options
    )
    return cast("redis.Redis", master)


def async_client_of(url: str, *, sentinel_password: str | None, **options: Any) -> "redis.asyncio.Redis":
    """The same for an event loop, where more may ask at once than there are threads: they wait for a connection."""
    sentinels = sentinels_of(url)
    once = {"retry": AsyncRetry(NoBackoff(), 0)}
    waiting = {**options, **once, "timeout": options["socket_timeout"]}
    if sentinels is None:
        return redis.asyncio.Redis.from_pool(BlockingConnectionPool.from_url(url, **waiting))
    asked: Any = AsyncSentinel(  # type: ignore[no-untyped-call]  # redis-py ships its Sentinel untyped
        sentinels.hosts,
        sentinel_kwargs=asking(sentinel_password, options["socket_connect_timeout"], options["socket_timeout"]) | once,
    )
    master = asked.master_for(
        sentinels.master,
        connection_pool_class=MastersPool,
        db=sentinels.db,
        username=sentinels.username,
        password=sentinels.password,
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


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel has no host")
    return parts.hostname, parts.port or SENTINEL_PORT


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
