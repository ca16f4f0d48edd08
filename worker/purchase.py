"""The purchase: buys due jobs, each once; a receipt in hand is never lost.

`Upstream.submit` is the one function that spends money; `Purchasing` is its one caller.
"""

import contextlib
import logging
import shlex
from collections.abc import Mapping
from secrets import token_hex
from time import monotonic
from typing import Any, Final

from config.inputs import Inputs
from config.store import NotThere, StoreError
from jobs.backoff import backoff
from jobs.errors import InvalidMove, JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.facts import Accepted, NotBought, Receipt
from jobs.job import Hold, Job, VideoRequest
from jobs.ledger import Ledger, new_job_id
from jobs.log_fields import about
from jobs.moves.move import Move, Policy, PolicyOf
from jobs.moves.purchase import (
    BoughtTwice,
    after_late_receipt,
    after_submit,
    before_submit,
    given_back,
    held,
    in_doubt,
    submitting,
    without_input,
)
from jobs.states import State
from jobs.work_items import LEASE_S, Claim, Claimed, Leased
from worker import faults
from worker.breaker import UpstreamBreakers
from worker.claimed import Now, apply_all, clock_from, contained
from worker.leases import Leases
from worker.spool import Spool, Spooled
from worker.upstream.client import Upstream

log = logging.getLogger("rushes.purchases")

MOST_AT_ONCE: Final = 8
"""A thread claims at most this many jobs to buy, if more are due than threads."""

_TRIES: Final = 20


class Purchasing:
    """Buys due jobs: writes the intent, sends the request, then writes the receipt."""

    def __init__(
        self,
        purchases: "Purchases",
        ledger: Ledger,
        upstream: Upstream,
        breakers: UpstreamBreakers,
        leases: Leases,
        inputs: Inputs,
        *,
        longest_s: float,
        worker: str,
        threads: int,
        limits: Mapping[str, str],
    ) -> None:
        """A purchase takes at most `longest_s`; `threads` of this process buy at once; `limits` are the settings'."""
        self.longest_s = longest_s
        self.claim = Claim(
            queue=State.QUEUED,
            limit=MOST_AT_ONCE,
            share=threads,
            wants_request=True,
            limits=limits,
            trial_s=longest_s,
        )
        self._purchases = purchases
        self._ledger = ledger
        self._upstream = upstream
        self._breakers = breakers
        self._leases = leases
        self._inputs = inputs
        self._worker = worker

    def buy(self, claimed: Claimed) -> None:
        """Buy for each of the claimed jobs."""
        now = clock_from(claimed.at)
        self._breakers.claimed(is_trial=claimed.is_trial)
        for one in claimed.jobs:
            with contained("submit", one.job):
                self._buy(one.job, one.request, now)

    def _buy(self, job: Job, request: VideoRequest | None, now: Now) -> None:
        move = before_submit(job, now=now()) or (None if self._breakers.may_submit else given_back())
        if move is not None:
            self._ledger.move(job, move)
            return
        if request is None:
            raise UnknownJob(job.id)
        policy = self._purchases.policy_of(job)  # read before the POST: nothing may delay its receipt
        match self._with_input(job, request, policy):
            case Move() as move:
                self._ledger.move(job, move)
            case whole:
                self._intend_and_send(job, whole, policy, now)

    def _with_input(self, job: Job, request: VideoRequest, policy: Policy) -> VideoRequest | Move:
        """Return the request as the upstream is to get it, or the move if that cannot be read."""
        try:
            return self._inputs.whole(request)
        except NotThere as error:
            return without_input(job, str(error))
        except StoreError as error:
            wait_s = backoff(policy.hold_first_s, policy.hold_longest_s, job.holds)
            return held(job, Hold.ARCHIVE, f"its input cannot be read: {error}", wait_s=wait_s)

    def _intend_and_send(self, job: Job, request: VideoRequest, policy: Policy, now: Now) -> None:
        faults.here("submit.before_intent")
        began, sent_at = monotonic(), now()
        job = self._purchases.intend(job, worker=self._worker)
        leased = [Leased(State.SUBMITTING, job.id, job.turn)]
        with about(job.id, job.turn, job), self._leases.renewing(leased, longest_s=self.longest_s):
            receipt = self._send(job, request, began, policy)
        self._breakers.after_submit(receipt, sent_at=sent_at)  # last: the breaker's Redis may be away

    def _send(self, job: Job, request: VideoRequest, began: float, policy: Policy) -> Receipt:
        assert job.request_id is not None
        faults.here("submit.before_post")
        receipt = self._upstream.submit(request, job.family, job.request_id, intent_age_s=monotonic() - began)
        faults.here("submit.after_post")
        self._purchases.settle(job, receipt, policy)
        faults.here("submit.after_write")
        return receipt


class Doubting:
    """Puts purchases in doubt whose lease ended: their worker died or hangs after the intent, and may have bought."""

    claim = Claim(queue=State.SUBMITTING, limit=100, fence=False)
    longest_s = LEASE_S

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy

    def doubt(self, claimed: Claimed) -> None:
        """Put the claimed purchases in doubt."""
        move = in_doubt("the worker that was buying did not report back", policy=self._policy)
        apply_all(self._ledger, [(one.job, move) for one in claimed.jobs])


class Purchases:
    """Writes intents and receipts to the ledger; while it is away, spools receipts and replays them."""

    def __init__(self, ledger: Ledger, spool: Spool, policy_of: PolicyOf) -> None:
        self._ledger = ledger
        self._spool = spool
        self.policy_of = policy_of
        self._in_hand: list[Spooled] = []

    def intend(self, job: Job, *, worker: str) -> Job:
        """Write the intent to buy; if that fails, spool that nothing was bought.

        Redis's answer may be lost and the intent written: only this process knows that nothing was sent.
        """
        move = submitting(job, lease_s=LEASE_S, worker=worker, suffix=token_hex(4))
        try:
            return self._ledger.intend(job, move)
        except LedgerUnavailable as error:
            unsent = NotBought(Hold.NOT_DURABLE, "Redis did not answer that the intent is written: nothing was sent")
            self._keep(Spooled(job.id, move.set["request_id"], unsent), error)
            raise

    def settle(self, job: Job, receipt: Receipt, policy: Policy) -> None:
        """Write a purchase's receipt."""
        try:
            self._write(job, receipt, policy)
        except (LedgerUnavailable, InvalidMove) as error:
            assert job.request_id is not None
            self._keep(Spooled(job.id, job.request_id, receipt), error)

    def replay(self) -> int:
        """Write spooled receipts to the ledger; return how many arrived.

        Raises:
            LedgerUnavailable: it is still away; the rest stays spooled.
        """
        arrived = 0
        for spooled in [*self._in_hand, *self._spool.kept()]:
            with about(spooled.job_id, request_id=spooled.request_id):
                try:
                    self._replay(spooled)
                except (UnreadableRow, InvalidMove):
                    continue  # it stays spooled until a newer version can read or write its job
                self._forget(spooled)
                arrived += 1
                log.info("receipt.replayed")
        return arrived

    def _forget(self, spooled: Spooled) -> None:
        if spooled in self._in_hand:
            self._in_hand.remove(spooled)
        self._spool.forget(spooled)

    def _write(self, job: Job, receipt: Receipt, policy: Policy) -> None:
        """Write the receipt; if the job has moved on, what was bought is kept all the same."""
        try:
            self._ledger.move(job, after_submit(job, receipt, policy=policy))
        except (StaleTurn, WrongState):
            if isinstance(receipt, Accepted):
                self._write_late(job.id, receipt)
        except UnknownJob:
            log.critical("receipt of a job that nobody knows: %r", receipt)

    def _write_late(self, job_id: str, receipt: Accepted) -> None:
        """Keep a purchase of a job that has moved on.

        Raises:
            LedgerUnavailable: the job kept moving; the receipt is to be spooled.
        """
        for _ in range(_TRIES):
            job = self._ledger.get(job_id)
            with contextlib.suppress(StaleTurn, WrongState):  # it moved between reading and writing: decide anew
                match after_late_receipt(job, receipt, policy=self.policy_of(job)):
                    case Move() as move:
                        self._ledger.move(job, move)  # and read it again: another receipt may have been quicker
                    case BoughtTwice():
                        self._ledger.bought_twice(job, receipt, job_id=new_job_id())
                        return
                    case None:
                        return
        raise LedgerUnavailable(f"{job_id} kept moving")

    def _keep(self, spooled: Spooled, error: JobError) -> None:
        try:
            self._spool.keep(spooled)
        except OSError as trouble:
            self._in_hand.append(spooled)
            self._log_unspooled(spooled, trouble)
        else:
            log.warning("receipt.spooled ledger=%s", error, extra=_of(spooled))

    def _log_unspooled(self, spooled: Spooled, trouble: OSError) -> None:
        """Log a receipt that only this process has: if it dies, a person can adopt the generation."""
        match spooled.receipt:
            case Accepted(generation_id):
                log.critical(
                    "receipt kept in memory and by this line only (%s): should this worker die before Redis is back, "
                    "and the job be in doubt, type: rushes adopt %s -- %s",
                    trouble.strerror,
                    spooled.job_id,
                    shlex.quote(generation_id),
                    extra=_of(spooled),
                )
            case receipt:
                log.critical(
                    "receipt kept in memory and by this line only (%s): %r",
                    trouble.strerror,
                    receipt,
                    extra=_of(spooled),
                )

    def _replay(self, spooled: Spooled) -> None:
        try:
            job = self._ledger.get(spooled.job_id)
            then = job.model_copy(update={"state": State.SUBMITTING, "request_id": spooled.request_id})
            self._write(then, spooled.receipt, self.policy_of(job))
        except UnknownJob:
            log.critical("receipt of a job that nobody knows: %r", spooled.receipt)


def _of(spooled: Spooled) -> dict[str, Any]:
    """Return the log fields of a receipt; the job at hand has another request id if its intent failed."""
    return {"rushes": {"job": spooled.job_id, "request_id": spooled.request_id}}
