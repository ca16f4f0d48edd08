"""The queues of work items, and the Celery task and broker queue that serve each.

A queue is a state (its items are the jobs in it), a follow-up, the queue of slow polls, or that of a receiver.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from jobs.states import FollowUp, State

SLOW_POLLS: Final = "slow_polls"
"""The queue of rendering jobs whose last poll timed out."""

_DELIVER: Final = "deliver:"


class TaskName(StrEnum):
    """The Celery tasks, sent by name so that a producer does not carry the worker's code."""

    SUBMIT = "rushes.submit"
    DOUBT = "rushes.doubt"
    RECONCILE = "rushes.reconcile"
    POLL = "rushes.poll"
    STORE = "rushes.store"
    LATE_FETCH = "rushes.late_fetch"
    DELIVER = "rushes.deliver"
    DESCRIBE = "rushes.describe"


class QueueName(StrEnum):
    """The broker's queues, so that a slow download never stands before a cheap poll."""

    SUBMIT = "submit"
    POLL = "poll"
    TRANSFER = "transfer"
    NOTIFY = "notify"


QUEUE_OF: Final[Mapping[TaskName, QueueName]] = {
    TaskName.SUBMIT: QueueName.SUBMIT,
    TaskName.DOUBT: QueueName.POLL,
    TaskName.RECONCILE: QueueName.POLL,
    TaskName.POLL: QueueName.POLL,
    TaskName.STORE: QueueName.TRANSFER,
    TaskName.LATE_FETCH: QueueName.TRANSFER,
    TaskName.DELIVER: QueueName.NOTIFY,
    TaskName.DESCRIBE: QueueName.TRANSFER,
}

_TASKS: Final[Mapping[str, TaskName]] = {
    State.QUEUED: TaskName.SUBMIT,
    State.SUBMITTING: TaskName.DOUBT,
    State.IN_DOUBT: TaskName.RECONCILE,
    State.RENDERING: TaskName.POLL,
    SLOW_POLLS: TaskName.POLL,
    State.STORING: TaskName.STORE,
    FollowUp.LATE_FETCH: TaskName.LATE_FETCH,
    FollowUp.DESCRIBE: TaskName.DESCRIBE,
}

QUEUES: Final = tuple(str(queue) for queue in _TASKS)
"""Every queue but those of receivers."""

JOB_QUEUES: Final = tuple(queue for queue in QUEUES if queue not in set(FollowUp))
"""The queues whose items are jobs; each unfinished job stands in one of them."""


def task_of(queue: str) -> TaskName:
    """Return the task that works off a queue."""
    return TaskName.DELIVER if receiver_of(queue) is not None else _TASKS[queue]


def delivery_queue(receiver: str) -> str:
    """Return the queue of a receiver's deliveries."""
    return f"{_DELIVER}{receiver}"


def receiver_of(queue: str) -> str | None:
    """Return the receiver whose deliveries wait in a queue; None: it is another kind of queue."""
    return queue.removeprefix(_DELIVER) if queue.startswith(_DELIVER) else None
