"""The receivers of ended jobs. Each has slots, a schedule for what failed, and a way of being told."""

from dataclasses import dataclass
from typing import Protocol

from jobs.job import Job, VideoRequest
from jobs.outbox import Delivery, ReceiverTerms


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it. `status`, `sent` and `answer` are for its log."""

    message: str = "delivered"
    status: int | None = None
    sent: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """The receiver does not have it, as far as we know.

    `never`: trying again is of no use. `unwanted`: it says that it wants to hear nothing more. `later`: it was not
    called, and that counts as no try.
    """

    message: str
    status: int | None = None
    sent: str | None = None
    answer: str | None = None
    retry_after_s: float | None = None
    never: bool = False
    unwanted: bool = False
    later: bool = False


Outcome = Delivered | NotDelivered


class Receiver(Protocol):
    """One receiver, as a slot needs it."""

    @property
    def terms(self) -> ReceiverTerms:
        """How it may be called."""

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:
        """Tell it of one event; what goes wrong is an outcome, never an exception."""

    def next_try_s(self, tries: int) -> float | None:
        """Seconds until it is told again after `tries` failed tries; None: it is given up."""
