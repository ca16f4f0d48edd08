"""The reminders that move jobs along: their names, their queues, and what a state is reminded of."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from jobs.states import FollowUp, State


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

Work: TypeAlias = State | FollowUp
"""What a reminder is of: the state that a job waits in, or a follow-up of an ended one."""

WORKS: Final[Mapping[str, Work]] = {work.value: work for work in (*State, *FollowUp)}
"""Work by its name."""

REMINDER_OF: Final[Mapping[Work, TaskName]] = {
    State.QUEUED: TaskName.SUBMIT,
    State.IN_DOUBT: TaskName.RECONCILE,
    State.RENDERING: TaskName.POLL,
    State.STORING: TaskName.STORE,
    FollowUp.ANNOUNCE: TaskName.ANNOUNCE,
    FollowUp.LATE_FETCH: TaskName.LATE_FETCH,
    FollowUp.DESCRIBE: TaskName.DESCRIBE,
}
"""Which task does which work. `submitting` is missing on purpose: no task may repeat a purchase that is under way."""
