"""Sends the Celery messages that wake workers: by task name, at most once; the rescuer replaces lost ones."""

import logging
from collections.abc import Callable
from typing import Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from jobs import outage
from jobs.queues import task_of
from jobs.scripts import WakeUp

log = logging.getLogger("rushes.wake_ups")

MESSAGE_VERSION: Final = 1
"""Sent in each message's headers; a worker ignores unknown arguments and headers."""

SendWakeUp = Callable[[WakeUp], bool]
"""Sends a wake-up; returns whether the broker accepted the message."""


def why(error: Exception) -> str:
    """Explain why the broker did not accept a message, in the ledger's words for outages."""
    cause = error.__cause__
    return outage.explained(cause) if isinstance(cause, redis.RedisError) else str(error)


def wake_up_sender(app: Celery) -> SendWakeUp:
    """Make a sender that never raises, because an error of the broker must not hide the ledger's answer.

    The rescuer sends the messages that were not sent.
    """

    def send(wake_up: WakeUp) -> bool:
        try:
            app.send_task(
                task_of(wake_up.queue).value,
                args=(wake_up.queue, wake_up.job_id, wake_up.rings),
                countdown=wake_up.seconds or None,
                headers={"rushes": MESSAGE_VERSION},
                ignore_result=True,
            )
        except (OperationalError, OSError) as error:
            log.warning("wake-up not sent queue=%s: %s; the rescuer sends it later", wake_up.queue, why(error))
            return False
        except Exception as error:
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            log.exception("wake-up not sent queue=%s; the rescuer sends it later", wake_up.queue)
            return False
        return True

    return send


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether a Ctrl-C caused an error: Python wraps one that comes while an import makes a class."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
