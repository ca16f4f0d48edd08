"""One delivery of an ended job's event to a receiver: its content, its outcome, and when it is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of one ended job on its way to one receiver.

    `tries` counts failed attempts; `more`: another slot would find work too.
    """

    receiver: str
    job_id: str
    event: str
    turn: int
    tries: int
    more: bool = False


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
class Settlement:
    """A delivery's outcome and what follows: it is over, or tried again in `next_in_s`.

    `blameless`: the receiver is not why the delivery failed.
    """

    line: DeliveryLine
    over: bool
    next_in_s: float = 0.0
    blameless: bool = False


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


Outcome = Delivered | NotDelivered
