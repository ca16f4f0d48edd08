"""What a retry of an ended job means: a pure decision about money."""

from dataclasses import dataclass
from typing import Final, assert_never

from jobs.job import Job, Reason
from jobs.states import State


@dataclass(frozen=True, slots=True)
class GoOn:
    """Its generation was bought and may still be fetched: a new job goes on with it, free of charge."""


@dataclass(frozen=True, slots=True)
class BuyAgain:
    """A new job buys a generation of its own, as the caller has agreed to."""


@dataclass(frozen=True, slots=True)
class WouldPay:
    """There is no generation left to fetch, and the caller has not agreed to pay for another."""


@dataclass(frozen=True, slots=True)
class NotOver:
    """The job goes on by itself."""


@dataclass(frozen=True, slots=True)
class HasItsVideo:
    """There is nothing to repeat."""


_NO_VIDEO_TO_COME: Final = frozenset({Reason.GENERATION_FAILED, Reason.CONTENT_REFUSED})

Retry = GoOn | BuyAgain | WouldPay | NotOver | HasItsVideo


def on_retry(job: Job, *, pay_again: bool) -> Retry:
    """Never pay without being told to: what was bought is fetched, anything else needs the caller's word."""
    if job.stored is not None:
        return HasItsVideo()
    match job.state:
        case State.FAILED | State.CANCELLED | State.EXPIRED:
            if job.generation_id is not None and job.reason not in _NO_VIDEO_TO_COME:
                return GoOn()
            return BuyAgain() if pay_again else WouldPay()
        case State.COMPLETED:
            return HasItsVideo()
        case State.QUEUED | State.SUBMITTING | State.IN_DOUBT | State.RENDERING | State.STORING:
            return NotOver()
    assert_never(job.state)
