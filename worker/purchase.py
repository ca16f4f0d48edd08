"""The purchase: buys due jobs, each once; a receipt in hand is never lost.

`Upstream.submit` is the one function that spends money; `Purchasing` is its one caller.
"""

import logging
import shlex
from collections.abc import Iterator, Sequence
from secrets import token_hex
from time import monotonic

from config.reminding import Remind, set_alarms
from jobs.breakers import OpenBreaker
from jobs.errors import InvalidMove, JobError, LedgerUnavailable, StaleTurn, UnknownJob, UnreadableRow, WrongState
from jobs.facts import Accepted, NotBought, Receipt
from jobs.job import Hold, Job, VideoRequest
from jobs.ledger import Ledger
from jobs.moves.move import Move
from jobs.moves.purchase import after_late_receipt, after_submit, before_submit, held, still_held, submitting
from jobs.moves.request import on_cancel
from jobs.states import State
from jobs.wakes import Alarm
from worker import faults
from worker.breaker import UpstreamBreakers, spread
from worker.claimed import Now, contained
from worker.pace import Pace
from worker.spool import Spool, Spooled
from worker.upstream.client import Upstream

log = logging.getLogger("rushes.purchases")


class Purchasing:
    """Buys due jobs: writes the intent, sends the request, then writes the receipt."""

    def __init__(
        self,
        purchases: "Purchases",
        ledger: Ledger,
        upstream: Upstream,
        breakers: UpstreamBreakers,
        *,
        lease_s: float,
        worker: str,
    ) -> None:
        self._purchases = purchases
        self._ledger = ledger
        self._upstream = upstream
        self._breakers = breakers
        self._lease_s = lease_s
        self._worker = worker

    def buy(self, jobs: Sequence[Job], now: Now) -> Iterator[Alarm]:
        """Buy for each of the claimed jobs; yield the alarms to set."""
        requests = {job.id: request for job, request in self._ledger.with_requests(jobs)}
        for job in jobs:
            with contained("submit", job):
                yield from self._buy(job, requests.get(job.id), now)

    def _buy(self, job: Job, request: VideoRequest | None, now: Now) -> Iterator[Alarm]:
        move = before_submit(job, now=now()) or self._held_by_breaker(job)
        if move is not None:
            yield from self._ledger.move(job, move).alarms
            return
        if request is None:
            raise UnknownJob(job.id)
        faults.here("submit.before_intent")
        began = monotonic()
        job = self._purchases.intend(job, lease_s=self._lease_s, worker=self._worker)
        assert job.request_id is not None
        faults.here("submit.before_post")
        receipt = self._upstream.submit(request, job.family, job.request_id, intent_age_s=monotonic() - began)
        faults.here("submit.after_post")
        alarms = self._purchases.settle(job, receipt)
        faults.here("submit.after_write")
        yield from alarms  # first: the breaker's Redis may be away
        self._breakers.after_submit(receipt)

    def _held_by_breaker(self, job: Job) -> Move | None:
        """Hold the job while the breaker is open; an event says so once, not each time that it is tried."""
        breaker: OpenBreaker | None = self._breakers.before_submit()
        if breaker is None:
            return None
        wait_s = spread(breaker.wait_s)
        return (
            still_held(wait_s) if job.hold is breaker.hold else held(job, breaker.hold, breaker.message, wait_s=wait_s)
        )


class Purchases:
    """Writes intents and receipts to the ledger; while it is away, spools receipts and replays them."""

    def __init__(self, ledger: Ledger, spool: Spool, pace: Pace, remind: Remind) -> None:
        self._ledger = ledger
        self._spool = spool
        self._pace = pace
        self._policy = pace.base
        self._remind = remind
        self._in_hand: list[Spooled] = []

    def intend(self, job: Job, *, lease_s: float, worker: str) -> Job:
        """Write the intent to buy; if that fails, spool that nothing was bought.

        An intent may be in the ledger even if Redis's answer was lost. Only this process knows that nothing was sent
        for it, and spools that, so that the job does not wait as a purchase in doubt.
        """
        move = submitting(job, lease_s=lease_s, worker=worker, suffix=token_hex(4))
        try:
            return self._ledger.intend(job, move)
        except LedgerUnavailable as error:
            unsent = NotBought(Hold.NOT_DURABLE, "Redis did not answer that the intent is written: nothing was sent")
            self._keep(Spooled(job.id, move.set["request_id"], unsent), error)
            raise

    def settle(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        """Write a purchase's receipt; return the alarms to set."""
        try:
            return self._write(job, receipt)
        except (LedgerUnavailable, InvalidMove) as error:
            assert job.request_id is not None
            self._keep(Spooled(job.id, job.request_id, receipt), error)
        except (StaleTurn, WrongState):
            return self._late(job, receipt)
        return ()

    def replay(self) -> int:
        """Write spooled receipts to the ledger; return how many arrived.

        Raises:
            LedgerUnavailable: it is still away; the rest stays spooled.
        """
        arrived = 0
        for spooled in [*self._in_hand, *self._spool.kept()]:
            try:
                self._replay(spooled)
            except (UnreadableRow, InvalidMove):
                continue  # it stays spooled until a newer version can read or write its job
            self._forget(spooled)
            arrived += 1
            log.info("receipt.replayed job=%s request_id=%s", spooled.job_id, spooled.request_id)
        return arrived

    def _forget(self, spooled: Spooled) -> None:
        if spooled in self._in_hand:
            self._in_hand.remove(spooled)
        self._spool.forget(spooled)

    def _write(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        applied = self._ledger.move(job, after_submit(job, receipt, policy=self._pace.policy(job)))
        return [*applied.alarms, *(self.grant_cancel(job.id) if applied.cancel_requested else ())]

    def grant_cancel(self, job_id: str) -> Sequence[Alarm]:
        """Apply a cancel that was requested during the purchase, if its outcome is known now."""
        job = self._ledger.get(job_id)
        move = on_cancel(job, keep=self._policy.keep_cancelled)
        return () if move is None or move.to is None else self._ledger.move(job, move).alarms

    def _keep(self, spooled: Spooled, error: JobError) -> None:
        try:
            self._spool.keep(spooled)
        except OSError as trouble:
            self._in_hand.append(spooled)
            self._log_unspooled(spooled, trouble)
        else:
            log.warning("receipt.spooled job=%s request_id=%s ledger=%s", spooled.job_id, spooled.request_id, error)

    def _log_unspooled(self, spooled: Spooled, trouble: OSError) -> None:
        """Log a receipt that only this process has: if it dies, a person can adopt the generation."""
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
        speaker = job.model_copy(update={"state": State.SUBMITTING, "request_id": spooled.request_id})
        try:
            alarms = self._write(speaker, spooled.receipt)
        except (StaleTurn, WrongState):
            alarms = self._late(speaker, spooled.receipt)
        set_alarms(self._remind, alarms)

    def _late(self, job: Job, receipt: Receipt) -> Sequence[Alarm]:
        """Write the receipt of a job that has moved on: if it has ended, keep the purchase; else it was adopted."""
        if not isinstance(receipt, Accepted):
            return ()
        try:
            now_there = self._ledger.get(job.id)
            if now_there.is_final:
                move = after_late_receipt(now_there, receipt, policy=self._policy)
                return self._ledger.move(job, move).alarms
            if now_there.generation_id != receipt.generation_id:
                log.critical("bought beside a later purchase job=%s %r", job.id, receipt)
        except (StaleTurn, WrongState, UnknownJob) as error:
            log.critical("receipt has no place in the ledger job=%s %r: %s", job.id, receipt, error)
        return ()
