"""Celery's consumer, with a pause after each command that Redis refuses."""

import logging
import threading
from typing import Final

import redis
from celery.worker.consumer import Consumer

from jobs import outage

log = logging.getLogger("rushes.consumer")

PAUSE_S: Final = 2.0
"""Celery waits as long before it reconnects to a lost server."""


class PatientConsumer(Consumer):
    """Pauses after a refusal; by itself Celery would connect and be refused several times a second."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log what is wrong and what to do, then wait; nothing else runs in this thread."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, redis.ResponseError):
            log.warning("consumer waits for Redis: %s", outage.explained(exc))
            threading.Event().wait(PAUSE_S)
