"""How the ledger is reached: its clients, and how long it remembers, as the settings choose."""

from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.address import async_client_of, client_of
from config.settings import RedisSettings, Settings
from jobs.scripts import Retention


def connect(settings: RedisSettings, *, name: str) -> "redis.Redis":
    """A pooled client that decodes to text, gives up in bounded time and never repeats a command by itself.

    A repeated script could find its own first run and read it as somebody else's: the ledger decides what to repeat.
    """
    return client_of(settings.url.get_secret_value(), retry=Retry(NoBackoff(), 0), **_options(settings, name))


def connect_async(settings: RedisSettings, *, name: str) -> "redis.asyncio.Redis":
    """The same for one event loop; close the client before the loop."""
    return async_client_of(settings.url.get_secret_value(), **_options(settings, name))


def _options(settings: RedisSettings, name: str) -> dict[str, Any]:
    password = settings.sentinel_password
    return {
        "sentinel_password": password.get_secret_value() if password else None,
        "decode_responses": True,
        # What somebody else wrote in other bytes must not keep a whole answer from being read.
        "encoding_errors": "replace",
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.socket_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_connections": settings.max_connections,
        "client_name": f"rushes-{name}",
        "protocol": 2,
    }


def retention(settings: Settings) -> Retention:
    """How long this deployment's ledger remembers."""
    return Retention(
        retention_s=settings.ledger.retention_s,
        queue_ttl_s=settings.queue.ttl_s,
        idempotency_s=settings.ledger.idempotency_s,
        job_log_entries=settings.ledger.job_log_entries,
        stream_entries=settings.ledger.stream_entries,
    )
