"""Sends the Celery messages that wake workers: by task name, at most once; the rescuer replaces lost ones."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from jobs import outage
from jobs.reminders import REMINDER_OF, TaskName
from jobs.wakes import Alarm

log = logging.getLogger("rushes.reminding")

MESSAGE_VERSION: Final = 1
"""Sent in each message's headers; a worker ignores unknown arguments and headers."""

Remind = Callable[..., bool]
"""remind(task, job_id, turn, countdown=None) -> whether the broker accepted the message."""


def why(error: Exception) -> str:
    """Explain why the broker did not accept a message, in the ledger's words for outages."""
    cause = error.__cause__
    return outage.explained(cause) if isinstance(cause, redis.RedisError) else str(error)


def reminder_sender(app: Celery) -> Remind:
    """Make a sender that never raises, because an error of the broker must not hide the ledger's answer.

    The rescuer sends the messages that were not sent.
    """

    def remind(task: TaskName, job_id: str, turn: int, countdown: float | None = None) -> bool:
        try:
            app.send_task(
                task.value,
                args=(job_id, turn),
                countdown=countdown,
                task_id=job_id,
                headers={"rushes": MESSAGE_VERSION},
                ignore_result=True,
            )
        except (OperationalError, OSError) as error:
            log.warning("reminder not sent job=%s task=%s: %s; the due index sends it later", job_id, task, why(error))
            return False
        except Exception as error:
            if _is_interrupt(error):
                raise KeyboardInterrupt from error
            log.exception("reminder not sent job=%s task=%s; the due index sends it later", job_id, task)
            return False
        return True

    return remind


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether a Ctrl-C caused an error: Python wraps one that comes while an import makes a class."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def set_alarms(remind: Remind, alarms: Iterable[Alarm]) -> None:
    """Send the alarms' messages."""
    for alarm in alarms:
        remind(REMINDER_OF[alarm.work], alarm.job_id, alarm.turn, alarm.seconds or None)
