"""Deliveries to receivers: whether one is tried again, and when an endpoint is disabled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from jobs.backoff import backoff
from jobs.delivery import Delivered, Delivery, Outcome
from jobs.moves.move import Move
from jobs.test_deliveries import is_test_delivery

NEWER_VERSION_S: Final = 600.0
"""A delivery waits this many seconds for a worker that can read its job."""


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """When a failed delivery is tried again: after each of `waits_s`, then never.

    Each wait varies at random by at most the factor `variation`. A receiver that has been failing for `disable_after_s`
    seconds, or wants no further deliveries, is disabled; None: it never is.
    """

    waits_s: Sequence[float]
    variation: float = 1.0
    disable_after_s: float | None = None

    @classmethod
    def doubling(cls, first_s: float, longest_s: float, attempts: int) -> Self:
        """Make this many `attempts`, with a wait that doubles."""
        return cls(tuple(backoff(first_s, longest_s, failures) for failures in range(attempts - 1)))

    def wait_s(self, failures: int, *, spread: float) -> float | None:
        """Return the seconds until the next try after this many failures; None: there is none."""
        if failures > len(self.waits_s):
            return None
        return self.waits_s[failures - 1] * (1 + (2 * spread - 1) * (self.variation - 1))


@dataclass(frozen=True, slots=True)
class Timed:
    """When a try began, by the fleet's clock, and how many seconds it took; its event is written with its batch."""

    began_at: float
    took_s: float


def after_delivery(delivery: Delivery, outcome: Outcome, retries: RetryTerms, *, timed: Timed, spread: float) -> Move:
    """Decide what follows a try; `spread` is a random number from 0 to 1. A test delivery is tried once."""
    data = {
        "receiver": delivery.receiver,
        "of": delivery.event,
        "try": delivery.tries + 1,
        "began_at": round(timed.began_at, 3),
        "took_s": round(timed.took_s, 3),
    }
    if isinstance(outcome, Delivered):
        return Move(event="delivery.succeeded", delivered=True, tries=0, data=data)
    data["message"] = outcome.message
    if outcome.later:
        return _again(data, NEWER_VERSION_S, tries=delivery.tries)
    wait_s = retries.wait_s(delivery.tries + 1, spread=spread)
    if outcome.never or outcome.unwanted or wait_s is None or is_test_delivery(delivery.job_id):
        return Move(event="delivery.abandoned", delivered=True, tries=0, data=data)
    return _again(data, max(wait_s, outcome.retry_after_s or 0.0), tries=delivery.tries + 1)


def _again(data: dict[str, Any], wait_s: float, *, tries: int) -> Move:
    return Move(event="delivery.failed", due_in_s=wait_s, tries=tries, data={**data, "wait_s": round(wait_s, 3)})


def released() -> Move:
    """Give a claimed delivery back untried."""
    return Move(event=None, due_in_s=0)


def reason_to_disable(outcome: Outcome, retries: RetryTerms, *, failing_s: float) -> str | None:
    """Say why a receiver that has failed for `failing_s` seconds is to be disabled; None: it is not."""
    if isinstance(outcome, Delivered) or retries.disable_after_s is None:
        return None
    if outcome.unwanted:
        return f"it wants no further deliveries: {outcome.message}"
    if failing_s >= retries.disable_after_s:
        return f"it has been failing for {failing_s / 3600:.0f} h, last: {outcome.message}"
    return None
