"""The tasks, one for each queue of due jobs. None waits: waiting is a Celery countdown.

A message only wakes its task up: the task claims all due jobs; the job in the message does not matter. Further
arguments are a newer version's, so that two versions can work on the same jobs.
"""

from celery import shared_task

from jobs.reminders import TaskName
from jobs.states import FollowUp, State
from worker.queue_task import QueueTask


@shared_task(name=TaskName.SUBMIT.value, bind=True, base=QueueTask)
def submit(self: QueueTask, *_message: object) -> None:
    """Buy due jobs, each once; then poll, hold, or reconcile them."""
    self.work_off(State.QUEUED, self.parts.purchasing.buy)


@shared_task(name=TaskName.RECONCILE.value, bind=True, base=QueueTask)
def reconcile(self: QueueTask, job_id: str, turn: int, *_later: object) -> None:
    """Read the upstream's request log for purchases in doubt; adopt found ones, read again for the rest."""
    self.ring(self.parts.reconciling.run(job_id, turn))


@shared_task(name=TaskName.POLL.value, bind=True, base=QueueTask)
def poll(self: QueueTask, *_message: object) -> None:
    """Poll all due generations; then poll again later, fetch the videos, or give up."""
    for alarms, is_last in self.parts.polling.run():
        if is_last:
            self.go_on(alarms)
        else:
            self.ring(alarms)  # a slow poll must not delay videos that are finished


@shared_task(name=TaskName.STORE.value, bind=True, base=QueueTask)
def store(self: QueueTask, *_message: object) -> None:
    """Fetch due videos; each job then ends, or its download (never the generation) is tried again."""
    self.work_off_and_go_on(State.STORING, self.parts.downloading.fetch)


@shared_task(name=TaskName.LATE_FETCH.value, bind=True, base=QueueTask)
def late_fetch(self: QueueTask, *_message: object) -> None:
    """Poll ended jobs' paid generations, and fetch those that finished late."""
    self.work_off(FollowUp.LATE_FETCH, self.parts.late_fetching.fetch)


@shared_task(name=TaskName.ANNOUNCE.value, bind=True, base=QueueTask)
def announce(self: QueueTask, *_message: object) -> None:
    """Put the ends of jobs into the outboxes of their receivers."""
    self.ring(self.parts.announcing.run())


@shared_task(name=TaskName.DELIVER.value, bind=True, base=QueueTask)
def deliver(self: QueueTask, receiver: str, turn: int = 0, *_later: object) -> None:
    """Make one receiver's due deliveries, for a bounded time; then queue again, or end."""
    wait_s = self.parts.deliveries.run(receiver)
    if wait_s is not None:
        self.again(receiver, turn, wait_s)


@shared_task(name=TaskName.DESCRIBE.value, bind=True, base=QueueTask)
def describe(self: QueueTask, *_message: object) -> None:
    """Put manifest, poster and preview beside due videos; try again while the store fails."""
    self.work_off(FollowUp.DESCRIBE, self.parts.describing.describe)
