"""Makes Redis clients and the ledger's retention from the settings."""

from typing import Any, Final

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.address import async_client_of, client_of
from config.settings import RedisSettings, Settings
from jobs.scripts import Retention

MOST_CONNECTIONS: Final = 640
"""Of a client: one for each of a worker's 512 threads, and some more."""

MOST_ON_A_LOOP: Final = 128
"""Of an event loop's client, whose callers wait for a free one."""


def connect(settings: RedisSettings, *, name: str) -> "redis.Redis":
    """Make a pooled client that decodes to text, has time-outs and never repeats a command.

    A repeated script could read the effect of its own first run as another caller's, so the ledger decides what to
    repeat.
    """
    return client_of(
        settings.url.get_secret_value(), retry=Retry(NoBackoff(), 0), **_options(settings, name, MOST_CONNECTIONS)
    )


def connect_async(settings: RedisSettings, *, name: str, most: int = MOST_ON_A_LOOP) -> "redis.asyncio.Redis":
    """Make the same for one event loop; close the client before the loop."""
    return async_client_of(settings.url.get_secret_value(), **_options(settings, name, most))


def _options(settings: RedisSettings, name: str, most: int) -> dict[str, Any]:
    password = settings.sentinel_password
    return {
        "sentinel_password": password.get_secret_value() if password else None,
        "decode_responses": True,
        # Invalid UTF-8 from another writer must not make a whole reply unreadable.
        "encoding_errors": "replace",
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.socket_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_connections": most,
        "client_name": f"rushes-{name}",
        "protocol": 2,
    }


def retention(settings: Settings) -> Retention:
    """Return how long the ledger keeps its keys."""
    return Retention(
        retention_s=settings.ledger.retention_s,
        queue_ttl_s=settings.queue.ttl_s,
        idempotency_s=settings.ledger.idempotency_s,
        deadline_s=settings.poll.deadline_s,
        stream_entries=settings.ledger.stream_entries,
    )
