"""The task that runs in this thread: its wake-ups become its retries, and its result names what it did."""

from typing import Any

from celery import Celery

from config.wake_ups import SendWakeUp
from jobs.events import Event, Subscriber
from jobs.scripts import WakeUp


def retrying(app: Celery, send: SendWakeUp) -> SendWakeUp:
    """Return a sender that makes a wake-up of the running task's own queue that task's retry."""

    def send_or_retry(wake_up: WakeUp) -> bool:
        task = _current(app)
        if task is not None and task.request.args[0] == wake_up.queue:
            return bool(task.again(wake_up))
        return send(wake_up)

    return send_or_retry


def noting(app: Celery) -> Subscriber:
    """Return a subscriber that notes each event for the running task's result."""

    def note(event: Event) -> None:
        task = _current(app)
        if task is not None:
            task.request.worked_on.setdefault(event.name, []).append(event.job_id)

    return note


def _current(app: Celery) -> Any:
    """Return the running task, if it is one of ours."""
    task = app.current_worker_task
    return task if task is not None and hasattr(task.request, "worked_on") else None
