"""Reconciles purchases in doubt: reads the upstream's request log once for all of a model's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.settings import ReconcileSettings
from jobs.facts import LogRow, NoResult
from jobs.job import Hold, Job
from jobs.ledger import Ledger
from jobs.moves.move import Policy
from jobs.moves.reconcile import after_failed_reading, after_reading
from jobs.states import State
from jobs.wakes import Alarm
from worker.breaker import spread
from worker.claimed import contained
from worker.purchase import Purchases
from worker.upstream.client import Upstream

MOST_PAGES: Final = 50
"""One reading reads at most this many pages of one model's log, to leave quota for other models."""

MOST_JOBS: Final = 500
"""One reading resolves at most this many doubts."""

CLOCKS_APART_S: Final = 600.0
"""The upstream's clock and ours may differ by this many seconds."""

A_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One model's log lines by our request ids; `whole`: it was read back to before the oldest purchase."""

    rows: Mapping[str, LogRow]
    whole: bool
    trouble: NoResult | None = None


class Reconciling:
    """Reads the upstream's log for purchases in doubt; adopts found ones, reads again for the rest."""

    def __init__(
        self, ledger: Ledger, upstream: Upstream, purchases: Purchases, policy: Policy, settings: ReconcileSettings
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._purchases = purchases
        self._policy = policy
        self._settings = settings

    def run(self, job_id: str, turn: int) -> Iterator[Alarm]:
        """Resolve this doubt and all other due ones of its model; yield the alarms to set."""
        job = self._ledger.at_turn(job_id, turn)
        if self._ledger.limits.wait_s(f"reconcile:{job.model}", every_s=self._settings.read_every_s):
            # Another task is reading the log for us.
            yield Alarm(State.IN_DOUBT, job_id, turn, spread(self._settings.read_every_s))
            return
        doubted = [other for other in in_doubt(self._ledger) if other.model == job.model]
        allowed = allowed_reads(self._ledger, self._settings.reads_per_min)
        reading = read_log(self._upstream, job.model, doubted, allowed)
        now = self._ledger.now()
        for other in doubted:
            row = reading.rows.get(other.request_id or "")
            is_due = other.id == job_id or (other.due_at or now) <= now
            if row is not None or is_due:
                with contained("reconcile", other):
                    yield from self._resolve(other, row, reading, now)

    def _resolve(self, job: Job, row: LogRow | None, reading: Reading, now: float) -> Iterator[Alarm]:
        if row is None and not reading.whole:
            move = after_failed_reading(reading.trouble, policy=self._policy)
        else:
            move = after_reading(job, row, now=now, policy=self._policy)
        applied = self._ledger.move(job, move)
        yield from applied.alarms
        if applied.cancel_requested:
            yield from self._purchases.grant_cancel(job.id)


def in_doubt(ledger: Ledger) -> list[Job]:
    """List jobs in doubt, the longest first, up to one reading's number."""
    ids = ledger.page(states=[State.IN_DOUBT], limit=MOST_JOBS, newest_first=False)
    return [job for job, _ in ledger.get_many(ids) if job.state is State.IN_DOUBT]


def allowed_reads(ledger: Ledger, per_min: int) -> Callable[[], float]:
    """Return the fleet's limit of log pages, for all models together: 0 if one may be read, else a minute.

    After a minute a reading has the full number of pages again; it starts at the first page each time.
    """
    return lambda: A_MINUTE_S if ledger.limits.wait_s("log", every_s=A_MINUTE_S / per_min, burst=per_min) else 0.0


def read_log(upstream: Upstream, model: str, doubted: Sequence[Job], allowed: Callable[[], float]) -> Reading:
    """Read the log back until every doubted purchase is found, or is proven absent."""
    missing = {job.request_id for job in doubted}
    back_to = min(job.intent_at or job.accepted_at for job in doubted) - CLOCKS_APART_S
    rows: dict[str, LogRow] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        if (wait_s := allowed()) > 0:
            used_up = NoResult(Hold.THROTTLED, "as many pages of the log were read as a minute allows", wait_s)
            return Reading(rows, whole=False, trouble=used_up)
        page = upstream.log_page(model, offset)
        if isinstance(page, NoResult):
            return Reading(rows, whole=False, trouble=page)
        rows.update({row.request_id: row for row in page.rows})
        reached = page.oldest_at is not None and page.oldest_at < back_to
        if missing <= rows.keys() or reached or not page.has_more or not page.length:
            return Reading(rows, whole=True)
        offset += page.length
    return Reading(rows, whole=False)
