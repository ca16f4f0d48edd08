"""The reminders that move jobs along: their names, their queues, and what a state is reminded of."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from jobs.states import State


class TaskName(StrEnum):
    """The Celery tasks, sent by name so that a producer does not carry the worker's code."""

    SUBMIT = "rushes.submit"
    LOOK = "rushes.look"
    STORE = "rushes.store"
    ANNOUNCE = "rushes.announce"


class QueueName(StrEnum):
    """One queue for each kind of work, so that a slow download never stands before a cheap look."""

    SUBMIT = "submit"
    LOOK = "look"
    TRANSFER = "transfer"
    NOTIFY = "notify"


QUEUE_OF: Final[Mapping[TaskName, QueueName]] = {
    TaskName.SUBMIT: QueueName.SUBMIT,
    TaskName.LOOK: QueueName.LOOK,
    TaskName.STORE: QueueName.TRANSFER,
    TaskName.ANNOUNCE: QueueName.NOTIFY,
}

REMINDER_OF: Final[Mapping[State, TaskName]] = {
    State.QUEUED: TaskName.SUBMIT,
    State.RENDERING: TaskName.LOOK,
    State.STORING: TaskName.STORE,
}
"""What a job in a waiting state is reminded of. A purchase in doubt has no reminder: nothing may repeat it."""
