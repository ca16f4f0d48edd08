"""The interface of receivers: each has slots, a schedule of retries, and a way to deliver."""

from typing import Protocol

from jobs.delivery import Delivery, Outcome
from jobs.job import Job, VideoRequest
from jobs.moves.delivery import RetryTerms
from jobs.outbox import ReceiverTerms


class Receiver(Protocol):
    """One receiver, as a slot needs it."""

    @property
    def terms(self) -> ReceiverTerms:
        """How it may be called."""

    @property
    def retries(self) -> RetryTerms:
        """When a failed delivery is tried again."""

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        """Deliver one event; a failure is an outcome, never an exception."""
