"""How the ledger is reached: its clients, and how long it remembers, as the settings choose."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.address import client_of
from config.settings import RedisSettings, Settings
from jobs.scripts import Lives


def connect(settings: RedisSettings, *, name: str) -> "redis.Redis":
    """A pooled client that decodes to text, gives up in bounded time and never repeats a command by itself.

    A repeated script could find its own first run and read it as somebody else's: the ledger decides what to repeat.
    """
    password = settings.sentinel_password
    return client_of(
        settings.url.get_secret_value(),
        sentinel_password=password.get_secret_value() if password else None,
        decode_responses=True,
        socket_connect_timeout=settings.connect_timeout_s,
        socket_timeout=settings.socket_timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        max_connections=settings.max_connections,
        retry=Retry(NoBackoff(), 0),
        client_name=f"rushes-{name}",
        protocol=2,
    )


def lives(settings: Settings) -> Lives:
    """How long this deployment's ledger remembers."""
    return Lives(
        retention_s=settings.ledger.retention_s,
        queue_ttl_s=settings.queue.ttl_s,
        idempotency_s=settings.ledger.idempotency_s,
        journal_entries=settings.ledger.journal_entries,
        feed_entries=settings.ledger.feed_entries,
    )
