"""Sends the Celery messages that wake workers: by task name, at most once; the rescuer replaces lost ones."""

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

import redis

from config.settings import Settings
from jobs import outage
from jobs.queues import task_of
from jobs.scripts import WakeUp

if TYPE_CHECKING:
    from celery import Celery  # half of what a command would import

log = logging.getLogger("rushes.wake_ups")

MESSAGE_VERSION: Final = 1
"""Sent in each message's headers; a worker ignores unknown arguments and headers."""

SendWakeUp = Callable[[WakeUp], bool]
"""Sends a wake-up; returns whether the broker accepted the message."""


def why(error: Exception) -> str:
    """Explain why the broker did not accept a message, in the ledger's words for outages."""
    cause = error.__cause__
    return outage.explained(cause) if isinstance(cause, redis.RedisError) else str(error)


def producers_sender(settings: Settings) -> SendWakeUp:
    """Make a sender that imports Celery with its first message, because most commands send none."""

    @cache
    def app() -> "Celery":
        from config.celery_app import make_app  # noqa: PLC0415 (the purpose of this function)

        return make_app(settings)

    return wake_up_sender(app)


def wake_up_sender(app: Callable[[], "Celery"]) -> SendWakeUp:
    """Make a sender that never raises, because an error of the broker must not hide the ledger's answer.

    The rescuer sends the messages that were not sent.
    """

    def send(wake_up: WakeUp) -> bool:
        try:
            app().send_task(
                task_of(wake_up.queue).value,
                args=(wake_up.queue, wake_up.job_id, wake_up.rings),
                countdown=wake_up.seconds or None,
                headers={"rushes": MESSAGE_VERSION},
                ignore_result=True,
            )
        except Exception as error:
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            _log_unsent(wake_up, error)
            return False
        return True

    return send


def _log_unsent(wake_up: WakeUp, error: Exception) -> None:
    from kombu.exceptions import OperationalError  # noqa: PLC0415 (imported with Celery, at the first message)

    if isinstance(error, OperationalError | OSError):
        log.warning("wake-up not sent queue=%s: %s; the rescuer sends it later", wake_up.queue, why(error))
    else:
        log.error("wake-up not sent queue=%s; the rescuer sends it later", wake_up.queue, exc_info=error)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether a Ctrl-C caused an error: Python wraps one that comes while an import makes a class."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
