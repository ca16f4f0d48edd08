"""The Celery app, with a reason for every option: messages only wake workers, the ledger is the truth.

Source: Celery and kombu 5.7 on Redis, where a message may be lost, late or doubled with any options. That is harmless
to us, so each option is chosen for its cost and its failure mode.
"""

from typing import Any, Final

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Queue

from config import transport
from config.address import Server, parse, sentinel_options
from config.connection import MOST_CONNECTIONS
from config.settings import RedisSettings, Settings
from jobs.queues import ROUTES, QueueName

KEY_PREFIX: Final = "rushes:celery:"


class _OwnLoader(AppLoader):
    """Ignores CELERY_LOADER and CELERY_CONFIG_MODULE, which are for other programs."""

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Read nothing."""
        del env
        return {}


def pooled_connections(settings: Settings) -> int:
    """Count the connections to the broker that a process may need: one for each publishing thread, and a few."""
    return settings.worker.threads + 8


def make_app(settings: Settings, app_class: type[Celery] = Celery) -> Celery:
    """Make a Celery app; it connects when first used."""
    transport.register()
    app = app_class("rushes", set_as_current=False, loader=_OwnLoader)
    broker = _broker(settings.redis)
    app.conf.update(
        **broker,
        # Without these, another program's CELERY_BROKER_URL would apply.
        broker_read_url=broker["broker_url"],
        broker_write_url=broker["broker_url"],
        # With a bounded wait: the default waits for ever.
        broker_pool_limit=pooled_connections(settings),
        broker_pool_acquire_timeout=settings.redis.socket_timeout_s,
        # A worker survives any outage of Redis, also at its start.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # On a refusal (read-only replica, full memory) the worker reconnects instead of ending.
        broker_channel_error_retry=True,
        # Early ack: after a connection reset kombu redelivers every unacknowledged message, also that of a running
        # POST. The rescuer finds the job of a message that is lost with its worker.
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        # Early acks leave nothing to cancel or to prefetch less of; other values only log that, at each reconnect.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_enable_prefetch_count_reduction=False,
        # Results are in the ledger; Celery's would cost two round trips per task.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # Only JSON: with pickle, anybody who can write to Redis could run code in a worker.
        task_serializer="json",
        accept_content=["json"],
        # A publish that timed out may have happened, and a repeated one starts a second chain; the rescuer repeats it.
        task_publish_retry=False,
        task_queues=[Queue(name.value) for name in QueueName],
        task_routes={task.value: {"queue": route.broker.value} for task, route in ROUTES.items()},
        task_default_queue=QueueName.SUBMIT.value,
        task_create_missing_queues=False,
        # Threads, because tasks wait for HTTP; of the light pools only this one keeps the event loop that runs timers.
        worker_pool="threads",
        worker_concurrency=settings.worker.threads,
        # Prefetch one message per thread; more would wait in a busy worker while another is idle.
        worker_prefetch_multiplier=1,
        # No soft shutdown: it is part of the cold one. A warm shutdown finishes purchases within its grace period, and
        # countdowns need no restoring: the next worker claims the due jobs.
        worker_soft_shutdown_timeout=0.0,
        worker_enable_soft_shutdown_on_idle=False,
        # worker_eta_task_limit stays unset: its counter never recovers, and would starve the worker.
        worker_send_task_events=settings.worker.task_events,
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Flower queries workers; with emulated acknowledgements this would kill 5.7 on a Redis restart.
        worker_enable_remote_control=True,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _broker(settings: RedisSettings) -> dict[str, Any]:
    """Return Celery's options for the ledger's Redis."""
    address, password = parse(settings.url.get_secret_value()), settings.sentinel_password
    if isinstance(address, Server):
        # By default kombu accepts any certificate, and Flower reads TLS options only from here.
        tls = {"broker_use_ssl": dict(address.tls)} if address.tls else {}
        return {"broker_url": address.url, "broker_transport_options": _transport(settings), **tls}
    sentinel_kwargs = sentinel_options(
        password.get_secret_value() if password else None, settings.connect_timeout_s, settings.socket_timeout_s
    )
    options = {**_transport(settings), "master_name": address.master, "sentinel_kwargs": sentinel_kwargs}
    return {"broker_url": address.for_celery(), "broker_transport_options": options}


def _transport(settings: RedisSettings) -> dict[str, Any]:
    return {
        # No hash of unacknowledged messages: so no visibility time-out that doubles long countdowns, no restore that
        # deadlocks, and two round trips less per message.
        "ack_emulation": False,
        # One list per queue instead of four, because messages have no priorities.
        "priority_steps": [0],
        # Read the queues in turn, so that 10,000 submits do not delay a poll.
        "queue_order_strategy": "round_robin",
        "socket_timeout": settings.socket_timeout_s,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_keepalive": True,
        # A half-open connection is noticed after about two intervals.
        "health_check_interval": 10,
        # A publish to a broker that is down fails at once, not after 6 s; a worker's own connection has no limit.
        "max_retries": 0,
        # redis-py would repeat an LPUSH that timed out, which would start a second chain.
        "retry_on_timeout": False,
        "max_connections": MOST_CONNECTIONS,
        "client_name": "rushes-celery",
        "global_keyprefix": KEY_PREFIX,
    }
