"""One delivery of a job's event to a receiver: its content and its outcome."""

from dataclasses import dataclass
from typing import Self

from jobs.queues import receiver_of
from jobs.work_items import Item


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of one job on its way to one receiver.

    `event_turn` and `at` are the job's turn and the time when it happened; `tries` counts failed attempts.
    """

    receiver: str
    job_id: str
    event: str
    event_turn: int
    at: float
    tries: int

    @classmethod
    def of(cls, item: Item) -> Self:
        """Return the first event that waits in a delivery's item.

        Raises:
            ValueError: a newer version wrote the item.
        """
        event, turn, at = next(iter(item.events), "").split(" ")
        return cls(receiver_of(item.queue) or item.queue, item.id, event, int(turn), float(at), item.tries)


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """A line of a receiver's log, sorted by `id`. `status` is an HTTP status; `sent` and `answer` are excerpts."""

    job_id: str
    event: str
    delivered: bool
    tries: int
    took_s: float
    message: str
    status: int | None = None
    sent: str | None = None
    answer: str | None = None
    at: float = 0.0
    id: str = ""


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

    `never`: trying again is useless. `unwanted`: it wants no further deliveries. `later`: it was not called, which is
    no try.
    """

    message: str
    status: int | None = None
    sent: str | None = None
    answer: str | None = None
    retry_after_s: float | None = None
    never: bool = False
    unwanted: bool = False
    later: bool = False

    @property
    def is_blameless(self) -> bool:
        """Whether the receiver is not why it failed."""
        return self.never or self.later


Outcome = Delivered | NotDelivered


def line_of(delivery: Delivery, outcome: Outcome, took_s: float) -> DeliveryLine:
    """Return the line of the receiver's log for one attempt."""
    return DeliveryLine(
        job_id=delivery.job_id,
        event=delivery.event,
        delivered=isinstance(outcome, Delivered),
        tries=delivery.tries + 1,
        took_s=round(took_s, 4),
        message=outcome.message,
        status=outcome.status,
        sent=outcome.sent,
        answer=outcome.answer,
    )
