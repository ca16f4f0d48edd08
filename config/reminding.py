"""How a reminder is sent: by name, to its queue, at most once; the due index forgives every loss."""

import logging
from collections.abc import Callable
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from jobs.reminders import TaskName

log = logging.getLogger("rushes.reminding")

MESSAGE_VERSION: Final = 1
"""Travels in each message's headers. A worker ignores arguments and headers it does not know."""

Remind = Callable[..., bool]
"""remind(task, job_id, turn, countdown=None) -> whether the broker took the message."""


def reminder_sender(app: Celery) -> Remind:
    """A sender that never raises on broker trouble: the truth is already in the ledger, the rescuer reminds again."""

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
            log.warning("reminder not sent job=%s task=%s error=%s: the due index sends it later", job_id, task, error)
            return False
        return True

    return remind
