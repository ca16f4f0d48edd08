"""What follows a purchase: its receipt is written to the ledger, or kept on disk until it can be."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_hex
from typing import assert_never

from config.reminding import Remind, set_alarms
from jobs.errors import LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.facts import Accepted, NotBought, Receipt
from jobs.job import Hold, Job
from jobs.ledger import Ledger
from jobs.lifecycle import (
    Await,
    GiveUp,
    PutInDoubt,
    WaitInQueue,
    after_submit,
    late_receipt_fetch_in_s,
    on_cancel,
)
from jobs.states import State
from jobs.wakes import Alarm
from worker.pace import Pace
from worker.spool import Spool, Spooled

log = logging.getLogger("rushes.purchases")


class Purchases:
    """Settles receipts; a receipt in hand is never lost for want of a ledger."""

    def __init__(self, ledger: Ledger, spool: Spool, pace: Pace, remind: Remind) -> None:
        self._ledger = ledger
        self._spool = spool
        self._pace = pace
        self._policy = pace.base
        self._remind = remind
        self._in_hand: list[Spooled] = []

    def intend(self, job: Job, *, lease_s: float, worker: str) -> Job:
        """Write the intent to buy, or know that nothing is bought by it.

        An intent whose answer is lost may stand in the ledger all the same. Nothing was sent for it, which only this
        process knows: it says so on disk, lest the job wait as a purchase in doubt.
        """
        intent = token_hex(8)
        try:
            return self._ledger.submitting(job, lease_s=lease_s, worker=worker, intent=intent)
        except LedgerUnavailable as error:
            unsent = NotBought(Hold.NOT_DURABLE, "Redis did not answer that the intent is written: nothing was sent")
            self._keep(Spooled(job.id, f"{job.id}.{job.attempt + 1}", unsent, intent), error)
            raise

    def settle(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        """Write what a purchase proved; returns the alarms to set."""
        try:
            return self._write(job, receipt)
        except LedgerUnavailable as error:
            assert job.request_id is not None
            self._keep(Spooled(job.id, job.request_id, receipt), error)
        except (StaleTurn, WrongState):
            return self._late(job, receipt)
        return ()

    def replay(self) -> int:
        """Bring what is spooled to the ledger; returns how many receipts arrived.

        Raises:
            LedgerUnavailable: it is still away; the rest stays spooled.
        """
        arrived = 0
        for spooled in [*self._in_hand, *self._spool.kept()]:
            try:
                self._replay(spooled)
            except UnreadableRow:
                continue  # it stays spooled until a newer version can read its job
            self._forget(spooled)
            arrived += 1
            log.info("receipt.replayed job=%s request_id=%s", spooled.job_id, spooled.request_id)
        return arrived

    def _forget(self, spooled: Spooled) -> None:
        if spooled in self._in_hand:
            self._in_hand.remove(spooled)
        self._spool.forget(spooled)

    def _write(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        decision = after_submit(job, receipt, policy=self._pace.policy(job))
        match decision:
            case Await(accepted, seconds):
                moved = self._ledger.submitted(
                    job, accepted.generation_id, cost_usd=accepted.cost_usd, first_poll_s=seconds
                )
                if not moved.cancel_asked:
                    return moved.alarms
            case WaitInQueue(seconds, hold, message):
                moved = self._ledger.held_in_queue(job, seconds, hold, message)
            case PutInDoubt(message):
                seconds = self._policy.reconcile_first_s
                moved = self._ledger.in_doubt(job, message, ask_in_s=seconds)
            case GiveUp():
                return self._ledger.gave_up(job, decision).alarms
            case _:
                assert_never(decision)
        return [*moved.alarms, *self.cancel_if_asked(job.id)]

    def cancel_if_asked(self, job_id: str) -> Sequence[Alarm]:
        """Grant a cancel that was asked for while the purchase was under way, now that its outcome is known."""
        job = self._ledger.get(job_id)
        if job.cancel_requested_at is None:
            return ()
        verdict = on_cancel(job, keep=self._policy.keep_cancelled)
        return self._ledger.gave_up(job, verdict).alarms if isinstance(verdict, GiveUp) else ()

    def _keep(self, spooled: Spooled, error: LedgerUnavailable) -> None:
        try:
            self._spool.keep(spooled)
        except OSError as trouble:
            self._in_hand.append(spooled)
            self._tell(spooled, trouble)
        else:
            log.warning("receipt.spooled job=%s request_id=%s ledger=%s", spooled.job_id, spooled.request_id, error)

    def _tell(self, spooled: Spooled, trouble: OSError) -> None:
        """Only this process and its log have the receipt: should it die, what was bought can be adopted by hand."""
        match spooled.receipt:
            case Accepted(generation_id):
                log.critical(
                    "receipt kept in memory and by this line only (%s): should this worker die before Redis is back, "
                    "and the job be in doubt, type: rushes adopt %s -- %s (request_id=%s)",
                    trouble.strerror,
                    spooled.job_id,
                    shlex.quote(generation_id),
                    spooled.request_id,
                )
            case receipt:
                log.critical(
                    "receipt kept in memory and by this line only (%s): job=%s request_id=%s %r",
                    trouble.strerror,
                    spooled.job_id,
                    spooled.request_id,
                    receipt,
                )

    def _replay(self, spooled: Spooled) -> None:
        try:
            job = self._ledger.get(spooled.job_id)
        except UnknownJob:
            log.critical("receipt of a job that nobody knows job=%s %r", spooled.job_id, spooled.receipt)
            return
        if spooled.intent is not None and job.intent != spooled.intent:
            return  # the intent was never written: another try may have bought by the same request id
        speaker = replace(job, state=State.SUBMITTING, request_id=spooled.request_id)
        try:
            alarms = self._write(speaker, spooled.receipt)
        except (StaleTurn, WrongState):
            alarms = self._late(speaker, spooled.receipt)
        set_alarms(self._remind, alarms)

    def _late(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        """The job went on without us. If it had ended, what was bought for it is kept; else somebody adopted it."""
        if not isinstance(receipt, Accepted):
            return ()
        try:
            now_there = self._ledger.get(job.id)
            if now_there.is_final:
                late_fetch_in_s = late_receipt_fetch_in_s(now_there, policy=self._policy)
                return self._ledger.bought_late(
                    job, receipt.generation_id, cost_usd=receipt.cost_usd, late_fetch_in_s=late_fetch_in_s
                )
            if now_there.generation_id != receipt.generation_id:
                log.critical("bought beside a later purchase job=%s %r", job.id, receipt)
        except (StaleTurn, WrongState, UnknownJob) as error:
            log.critical("receipt has no place in the ledger job=%s %r: %s", job.id, receipt, error)
        return ()
