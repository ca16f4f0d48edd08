"""Celery's consumer, which a Redis that refuses commands makes patient instead of busy."""

import logging
import threading
from typing import Final

import redis
from celery.worker.consumer import Consumer

from jobs import outage

log = logging.getLogger("rushes.consumer")

PAUSE_S: Final = 2.0
"""As long as Celery waits before it connects anew to a server that is away."""


class PatientConsumer(Consumer):
    """Pauses after a refusal; left alone, Celery would connect and be refused several times a second."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say what is wrong in words that help; nothing else runs in this thread while it waits."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, redis.ResponseError):
            log.warning("consumer waits for Redis: %s", outage.explained(exc))
            threading.Event().wait(PAUSE_S)
