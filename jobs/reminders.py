"""The reminders that move jobs along: their names, their queues, and what a state is reminded of."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from jobs.states import State


class TaskName(StrEnum):
    """The Celery tasks, sent by name so that a producer does not carry the worker's code."""

    SUBMIT = "rushes.submit"
    POLL = "rushes.poll"
    STORE = "rushes.store"
    ANNOUNCE = "rushes.announce"
    RECONCILE = "rushes.reconcile"
    LATE_FETCH = "rushes.late_fetch"
    DELIVER = "rushes.deliver"
    DESCRIBE = "rushes.describe"


class Errand(StrEnum):
    """What an ended job may still need; each has a turn and a due time of its own."""

    ANNOUNCE = "announce"  # its end is put into the outbox of every receiver
    LATE_FETCH = "late_fetch"  # its paid generation may still finish
    DESCRIBE = "describe"  # manifest, poster and preview are put beside its video


class QueueName(StrEnum):
    """One queue for each kind of work, so that a slow download never stands before a cheap poll."""

    SUBMIT = "submit"
    POLL = "poll"
    TRANSFER = "transfer"
    NOTIFY = "notify"


QUEUE_OF: Final[Mapping[TaskName, QueueName]] = {
    TaskName.SUBMIT: QueueName.SUBMIT,
    TaskName.POLL: QueueName.POLL,
    TaskName.STORE: QueueName.TRANSFER,
    TaskName.ANNOUNCE: QueueName.NOTIFY,
    TaskName.RECONCILE: QueueName.POLL,
    TaskName.LATE_FETCH: QueueName.TRANSFER,
    TaskName.DELIVER: QueueName.NOTIFY,
    TaskName.DESCRIBE: QueueName.TRANSFER,
}

Work: TypeAlias = State | Errand
"""What a reminder is of: the state that a job waits in, or an errand of an ended one."""

WORKS: Final[Mapping[str, Work]] = {work.value: work for work in (*State, *Errand)}
"""Work by its name."""

REMINDER_OF: Final[Mapping[Work, TaskName]] = {
    State.QUEUED: TaskName.SUBMIT,
    State.IN_DOUBT: TaskName.RECONCILE,
    State.RENDERING: TaskName.POLL,
    State.STORING: TaskName.STORE,
    Errand.ANNOUNCE: TaskName.ANNOUNCE,
    Errand.LATE_FETCH: TaskName.LATE_FETCH,
    Errand.DESCRIBE: TaskName.DESCRIBE,
}
"""Which task does which work. A purchase under way has no reminder: nothing may repeat it."""
