"""Deliveries: sends events to receivers, each at its own pace, with a bounded share of the worker's threads.

A task claims a batch of one receiver's due deliveries, makes them one after the other for about a second, and writes
all outcomes together.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final

from jobs.delivery import Delivery, NotDelivered, Outcome, line_of
from jobs.job import Job, VideoRequest
from jobs.ledger import Ledger
from jobs.log_fields import about
from jobs.moves.delivery import Timed, after_delivery, reason_to_disable, released
from jobs.moves.move import Move
from jobs.outbox import Attempt, Outbox
from jobs.queues import receiver_of
from jobs.test_deliveries import is_test_delivery, made_up
from jobs.work_items import Claim, Claimed, Item
from worker import faults
from worker.claimed import apply_all
from worker.receivers.outcome import Ready, Receiver
from worker.receivers.registry import ReceiverRegistry

log = logging.getLogger("rushes.deliveries")

BATCH: Final = 32
"""At most this many deliveries are claimed at once, if the receiver is quick."""

LONGEST_S: Final = 1.0
"""After this many seconds the rest of a batch is given back: the receiver is slower than it was."""


class Deliveries:
    """Makes the due deliveries of receivers."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        *,
        worker: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._worker = worker
        self._clock = clock

    def receiver(self, queue: str) -> "Delivering | None":
        """Return the deliveries of a queue's receiver; None: only a newer worker knows it, or it is disabled."""
        name = receiver_of(queue) or ""
        receiver = self._receivers.find(name)
        if receiver is None:
            return None
        slot = f"{self._worker}.{threading.get_ident()}"
        parts = (self._ledger, self._outbox, self._receivers, name, receiver)
        return Delivering(*parts, queue=queue, slot=slot, clock=self._clock)


class Delivering:
    """Makes one receiver's due deliveries, in one of its slots."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: ReceiverRegistry,
        name: str,
        receiver: Receiver,
        *,
        queue: str,
        slot: str,
        clock: Callable[[], float],
    ) -> None:
        terms = receiver.terms
        self.claim = Claim(
            queue=queue, limit=BATCH, wants_request=True, slot=slot, width=terms.width, slow_s=terms.slow_s
        )
        self.longest_s = terms.longest_s + LONGEST_S
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._name = name
        self._receiver = receiver
        self._slot = slot
        self._clock = clock

    def deliver(self, claimed: Claimed) -> None:
        """Make the claimed deliveries for about a second, and give the others back."""
        claimed_at = began = self._clock()
        until, attempts, moves = began + LONGEST_S, list[Attempt](), list[tuple[Job | Item, Move]]()
        readable = list(_readable(claimed.items))
        left, last = {item.id: item for item, _ in readable}, None
        for item, delivery, outcome in self._outcomes(readable):
            now, last = self._clock(), outcome
            attempts.append(_attempt(delivery, outcome, now - began))
            timed = Timed(claimed.at + began - claimed_at, now - began)
            moves.append((item, self._after(delivery, outcome, timed)))
            del left[item.id]
            began = now
            if now > until or (isinstance(outcome, NotDelivered) and outcome.unwanted):
                break
        faults.here("deliver.before_write")
        apply_all(self._ledger, [*moves, *((item, released()) for item in left.values())])
        failing_s = self._outbox.report(self._name, self._slot, attempts, self._receiver.terms)
        if last is not None and (why := reason_to_disable(last, self._receiver.retries, failing_s=failing_s)):
            self._receivers.disable(self._name, why)

    def _outcomes(self, readable: Sequence[tuple[Item, Delivery]]) -> Iterator[tuple[Item, Delivery, Outcome]]:
        """Deliver one after the other, as the outcomes are asked for."""
        ready = list[tuple[Item, Ready]]()
        for item, delivery in readable:
            content = self._content(item)
            if isinstance(content, NotDelivered):
                yield item, delivery, content
            else:
                ready.append((item, (delivery, *content)))
        outcomes = self._receiver.deliver_all([one for _, one in ready])
        for item, (delivery, *_) in ready:
            faults.here("deliver.before_send")
            yield item, delivery, next(outcomes)

    def _after(self, delivery: Delivery, outcome: Outcome, timed: Timed) -> Move:
        spread = random.random()  # noqa: S311 (no secret)
        return after_delivery(delivery, outcome, self._receiver.retries, timed=timed, spread=spread)

    def _content(self, item: Item) -> tuple[Job, VideoRequest] | NotDelivered:
        if is_test_delivery(item.id):
            return made_up(item.id, now=self._ledger.now())
        if item.is_unreadable:
            return NotDelivered("only a newer version can read the job", later=True)
        if item.job is None or item.request is None:
            return NotDelivered("the job's row is no longer kept", never=True)
        return item.job, item.request


def _readable(items: Sequence[Item]) -> Iterator[tuple[Item, Delivery]]:
    """Yield the items with their deliveries; one of a newer version waits for its lease to end."""
    for item in items:
        try:
            yield item, Delivery.of(item)
        except ValueError:
            with about(item.id, item.turn, item.job):
                log.info("delivery left to a newer version queue=%s", item.queue)


def _attempt(delivery: Delivery, outcome: Outcome, took_s: float) -> Attempt:
    is_blameless = isinstance(outcome, NotDelivered) and outcome.is_blameless
    return Attempt(line_of(delivery, outcome, took_s), is_blameless)
