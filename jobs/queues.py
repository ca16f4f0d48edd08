"""The queues of work items, and the Celery task, broker queue and threads that serve each.

A queue is a state (its items are the jobs in it), a follow-up, the queue of slow polls, or that of a receiver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobs.states import FollowUp, State

SLOW_POLLS: Final = "slow_polls"
"""The queue of rendering jobs whose last poll timed out."""

DATABASE: Final = "sql"
"""The name of the built-in receiver that writes the database of results."""

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


class Bulkhead(StrEnum):
    """Work that shares a limit of a process's threads (worker/room.py), so that polls always find one."""

    PURCHASES = "purchases"
    DOWNLOADS = "downloads"
    DELIVERIES = "deliveries"
    NONE = "none"  # quick work, which may use any thread


@dataclass(frozen=True, slots=True)
class Route:
    """What a task works off: the queues of its work items, and where its messages and its threads come from."""

    queues: Sequence[str]
    broker: QueueName
    bulkhead: Bulkhead


ROUTES: Final[Mapping[TaskName, Route]] = {
    TaskName.SUBMIT: Route([State.QUEUED], QueueName.SUBMIT, Bulkhead.PURCHASES),
    TaskName.DOUBT: Route([State.SUBMITTING], QueueName.POLL, Bulkhead.NONE),
    TaskName.RECONCILE: Route([State.IN_DOUBT], QueueName.POLL, Bulkhead.NONE),
    TaskName.POLL: Route([State.RENDERING, SLOW_POLLS], QueueName.POLL, Bulkhead.NONE),
    TaskName.STORE: Route([State.STORING], QueueName.TRANSFER, Bulkhead.DOWNLOADS),
    TaskName.LATE_FETCH: Route([FollowUp.LATE_FETCH], QueueName.TRANSFER, Bulkhead.DOWNLOADS),
    TaskName.DELIVER: Route([], QueueName.NOTIFY, Bulkhead.DELIVERIES),  # each receiver has a queue
    TaskName.DESCRIBE: Route([FollowUp.DESCRIBE], QueueName.TRANSFER, Bulkhead.DELIVERIES),
}

_TASKS: Final = {str(queue): task for task, route in ROUTES.items() for queue in route.queues}

QUEUES: Final = tuple(_TASKS)
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


def list_of(tenant: str | None) -> str:
    """Name the list of the receivers of all jobs, or of a tenant's."""
    return "all" if tenant is None else f"tenant:{tenant}"
