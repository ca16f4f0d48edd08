"""The tasks, one for each kind of queue. None waits: waiting is a Celery countdown.

A message names a queue to work off, the job that caused it, which people read in Flower, and when it was to ring.
Further arguments are a newer version's, so that two versions can work on the same jobs.
"""

from celery import shared_task

from jobs.queues import TaskName
from worker.queue_task import QueueTask


@shared_task(name=TaskName.SUBMIT.value, bind=True, base=QueueTask)
def submit(self: QueueTask, *_message: object) -> None:
    """Buy due jobs, each once; then poll, hold, or reconcile them."""
    buying = self.parts.purchasing
    self.work_off(buying.claim, buying.buy, longest_s=buying.longest_s)


@shared_task(name=TaskName.DOUBT.value, bind=True, base=QueueTask)
def doubt(self: QueueTask, *_message: object) -> None:
    """Put purchases in doubt whose lease ended: their worker died or hangs, and may have bought."""
    doubting = self.parts.doubting
    self.work_off(doubting.claim, doubting.doubt, longest_s=doubting.longest_s)


@shared_task(name=TaskName.RECONCILE.value, bind=True, base=QueueTask)
def reconcile(self: QueueTask, *_message: object) -> None:
    """Read the upstream's request log for purchases in doubt; adopt found ones, read again for the rest."""
    reconciling = self.parts.reconciling
    self.work_off(reconciling.claim, reconciling.reconcile, longest_s=reconciling.longest_s)


@shared_task(name=TaskName.POLL.value, bind=True, base=QueueTask)
def poll(self: QueueTask, queue: str, *_message: object) -> None:
    """Poll all due generations; then poll again later, fetch the videos, or give up."""
    polling = self.parts.polling
    self.work_off(polling.claim(queue), polling.poll, longest_s=polling.longest_s, once=True)


@shared_task(name=TaskName.STORE.value, bind=True, base=QueueTask)
def store(self: QueueTask, *_message: object) -> None:
    """Fetch due videos; each job then ends, or its download (never the generation) is tried again."""
    downloading = self.parts.downloading
    self.work_off(downloading.claim, downloading.fetch, longest_s=downloading.longest_s)


@shared_task(name=TaskName.LATE_FETCH.value, bind=True, base=QueueTask)
def late_fetch(self: QueueTask, *_message: object) -> None:
    """Poll ended jobs' paid generations, and fetch those that finished late."""
    fetching = self.parts.late_fetching
    self.work_off(fetching.claim, fetching.fetch, longest_s=fetching.longest_s)


@shared_task(name=TaskName.DELIVER.value, bind=True, base=QueueTask)
def deliver(self: QueueTask, queue: str, *_message: object) -> None:
    """Make one receiver's due deliveries, for a bounded time."""
    receiver = self.parts.deliveries.receiver(queue)
    if receiver is not None:
        self.work_off(receiver.claim, receiver.deliver, longest_s=receiver.longest_s)


@shared_task(name=TaskName.DESCRIBE.value, bind=True, base=QueueTask)
def describe(self: QueueTask, *_message: object) -> None:
    """Put manifest, poster and preview beside due videos; try again while the store fails."""
    describing = self.parts.describing
    self.work_off(describing.claim, describing.describe, longest_s=describing.longest_s)
