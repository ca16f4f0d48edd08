"""The Celery app, every option argued: the broker carries reminders, the ledger holds the truth.

The arguments lean on the source and behaviour of Celery and kombu 5.7 on Redis, where a message may be lost, late or
doubled whatever the options. Since a lost or doubled reminder is harmless to us, each option is chosen for what it
costs and for how it fails, never for delivery guarantees.
"""

from typing import Any, Final

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Queue

from config import transport
from config.address import Server, asking, parse
from config.settings import RedisSettings, Settings
from jobs.reminders import QUEUE_OF, QueueName

KEY_PREFIX: Final = "rushes:celery:"


class _OwnLoader(AppLoader):
    """Leaves alone what CELERY_LOADER and CELERY_CONFIG_MODULE of another program name."""

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Read nothing."""
        del env
        return {}


def make_app(settings: Settings, app_class: type[Celery] = Celery) -> Celery:
    """A Celery app that sends and runs reminders; it connects when first used."""
    transport.register()
    app = app_class("rushes", set_as_current=False, loader=_OwnLoader)
    broker = _broker(settings.redis)
    app.conf.update(
        **broker,
        # Unset, these follow another program's CELERY_BROKER_URL.
        broker_read_url=broker["broker_url"],
        broker_write_url=broker["broker_url"],
        # One pooled connection for each thread that may publish, and a bounded wait for it: the default waits for ever.
        broker_pool_limit=settings.worker.threads + 8,
        broker_pool_acquire_timeout=settings.redis.socket_timeout_s,
        # A worker outlives any outage of Redis, also one at its start.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A refusal (read-only replica, full memory) makes the worker connect anew instead of ending it.
        broker_channel_error_retry=True,
        # Early ack: a reset connection makes kombu send every unacknowledged message again, a POST in flight among
        # them. A reminder that dies with its worker is found by the due index.
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Results live in the ledger; Celery's would cost two round trips a task.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # Nothing but JSON is read: by a pickle, anybody who can write to Redis could run code in a worker.
        task_serializer="json",
        accept_content=["json"],
        # A publish that timed out may have happened, and repeating it would fork the chain: the due index repeats.
        task_publish_retry=False,
        task_queues=[Queue(name.value) for name in QueueName],
        task_routes={task.value: {"queue": queue.value} for task, queue in QUEUE_OF.items()},
        task_default_queue=QueueName.SUBMIT.value,
        task_create_missing_queues=False,
        # Threads: the work is waiting for HTTP; of the light pools theirs is the event loop that runs timers.
        worker_pool="threads",
        worker_concurrency=settings.worker.threads,
        # One message ahead for each thread; more would lie in a busy worker while an idle one waits.
        worker_prefetch_multiplier=1,
        # No soft shutdown: it belongs to the cold one. A warm shutdown ends purchases within its grace, and what is
        # held for later needs no restoring: the next worker that wakes takes the due items.
        worker_soft_shutdown_timeout=0.0,
        worker_enable_soft_shutdown_on_idle=False,
        # worker_eta_task_limit stays unset: it counts down but never up again, and would starve the worker.
        worker_send_task_events=settings.worker.task_events,
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Flower asks workers about themselves; with acknowledgements emulated this would kill 5.7 on a Redis restart.
        worker_enable_remote_control=True,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _broker(settings: RedisSettings) -> dict[str, Any]:
    """The ledger's Redis, as Celery is told of it."""
    address, password = parse(settings.url.get_secret_value()), settings.sentinel_password
    if isinstance(address, Server):
        # kombu would take any certificate for Redis's, and Flower knows no other way to be told how TLS is checked.
        tls = {"broker_use_ssl": dict(address.tls)} if address.tls else {}
        return {"broker_url": address.url, "broker_transport_options": _transport(settings), **tls}
    asked = asking(
        password.get_secret_value() if password else None, settings.connect_timeout_s, settings.socket_timeout_s
    )
    options = {**_transport(settings), "master_name": address.master, "sentinel_kwargs": asked}
    return {"broker_url": address.for_celery(), "broker_transport_options": options}


def _transport(settings: RedisSettings) -> dict[str, Any]:
    return {
        # No hash of unacknowledged messages: no visibility time-out that doubles long countdowns, no restore that
        # locks itself up, no two round trips a message.
        "ack_emulation": False,
        # One list a queue instead of four: a reminder has no priority over another of its kind.
        "priority_steps": [0],
        # The queues take turns, so that ten thousand submits do not stand before one poll.
        "queue_order_strategy": "round_robin",
        "socket_timeout": settings.socket_timeout_s,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_keepalive": True,
        # A half-open connection is noticed after about two of these.
        "health_check_interval": 10,
        # A reminder to a broker that is away is given up at once, not after 6 s; a worker's own link has no limit.
        "max_retries": 0,
        # redis-py would repeat an LPUSH that timed out, and fork the chain.
        "retry_on_timeout": False,
        "max_connections": settings.max_connections,
        "client_name": "rushes-celery",
        "global_keyprefix": KEY_PREFIX,
    }
