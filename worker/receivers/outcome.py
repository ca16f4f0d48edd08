"""The base of receivers: each has slots, a schedule of retries, and a way to deliver."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from jobs.delivery import Delivery, NotDelivered, Outcome
from jobs.job import Job, VideoRequest
from jobs.log_fields import about
from jobs.moves.delivery import RetryTerms
from jobs.outbox import ReceiverTerms

log = logging.getLogger("rushes.deliveries")

Ready = tuple[Delivery, Job, VideoRequest]
"""A delivery with what it is about."""


class Receiver(ABC):
    """One receiver. `terms`: how it may be called; `retries`: when a failed delivery is tried again."""

    terms: ReceiverTerms
    retries: RetryTerms

    @abstractmethod
    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        """Deliver one event; a failure is an outcome, never an exception."""

    def deliver_all(self, ready: Sequence[Ready]) -> Iterator[Outcome]:
        """Deliver in this order, each when its outcome is asked for."""
        for one in ready:
            yield self._contained(*one)

    def _contained(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        with about(job.id, delivery.event_turn, job):
            try:
                return self.deliver(delivery, job, request)
            except Exception as error:  # one poisoned delivery must not stop the receiver's others
                log.exception("delivery unforeseen receiver=%s", delivery.receiver)
                return NotDelivered(f"unforeseen: {type(error).__name__}")
