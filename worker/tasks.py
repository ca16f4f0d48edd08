"""The tasks, one for each queue of due jobs. None waits: waiting is a Celery countdown.

A message only wakes its task up: the task claims all that is due, whichever job the message names. Further arguments
are a newer version's, so that two versions can work on the same jobs.
"""

from celery import shared_task

from jobs.reminders import TaskName
from jobs.states import FollowUp, State
from worker.queue_task import QueueTask


@shared_task(name=TaskName.SUBMIT.value, bind=True, base=QueueTask)
def submit(self: QueueTask, *_message: object) -> None:
    """Buy what is due in the queue, each job once; then poll for it, wait, or find out whether it was bought."""
    self.work_off(State.QUEUED, self.parts.purchasing.buy)


@shared_task(name=TaskName.RECONCILE.value, bind=True, base=QueueTask)
def reconcile(self: QueueTask, job_id: str, turn: int, *_later: object) -> None:
    """Read the upstream's request log for purchases in doubt; adopt what is found, read again for the rest."""
    for alarm in self.parts.reconciling.run(job_id, turn):
        self.ring(alarm)


@shared_task(name=TaskName.POLL.value, bind=True, base=QueueTask)
def poll(self: QueueTask, *_message: object) -> None:
    """Poll all that is due; then poll again later, fetch the videos, or give up."""
    for alarms, is_last in self.parts.polling.run():
        if is_last:
            self.go_on(alarms)
        else:
            self.ring(*alarms)  # a slow poll must not keep the videos that are there already


@shared_task(name=TaskName.STORE.value, bind=True, base=QueueTask)
def store(self: QueueTask, *_message: object) -> None:
    """Fetch the videos that are due; each job is then done, or its download (never the generation) is tried again."""
    self.work_off_and_go_on(State.STORING, self.parts.downloading.fetch)


@shared_task(name=TaskName.LATE_FETCH.value, bind=True, base=QueueTask)
def late_fetch(self: QueueTask, *_message: object) -> None:
    """See whether ended jobs' paid generations have finished after all, and fetch them."""
    self.work_off(FollowUp.LATE_FETCH, self.parts.late_fetching.fetch)


@shared_task(name=TaskName.ANNOUNCE.value, bind=True, base=QueueTask)
def announce(self: QueueTask, *_message: object) -> None:
    """Put the ends of jobs into the outboxes of everybody who subscribes to them."""
    self.ring(*self.parts.announcing.run())


@shared_task(name=TaskName.DELIVER.value, bind=True, base=QueueTask)
def deliver(self: QueueTask, receiver: str, turn: int = 0, *_later: object) -> None:
    """Deliver what is due to one receiver, for a bounded time; then line up again, or end."""
    wait_s = self.parts.deliveries.run(receiver)
    if wait_s is not None:
        self.again(receiver, turn, wait_s)


@shared_task(name=TaskName.DESCRIBE.value, bind=True, base=QueueTask)
def describe(self: QueueTask, *_message: object) -> None:
    """Put manifest, poster and preview beside the videos for which that is due; while the store fails, again later."""
    self.work_off(FollowUp.DESCRIBE, self.parts.describing.describe)
