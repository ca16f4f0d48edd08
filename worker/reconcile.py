"""Reconciles purchases in doubt: reads the upstream's request log once for all of a model's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.facts import LogRow, NoResult
from jobs.job import Hold, Job
from jobs.ledger import Ledger
from jobs.moves.move import Move, Policy
from jobs.moves.reconcile import after_failed_reading, after_reading, put_off
from jobs.states import State
from jobs.work_items import Claim, Claimed
from worker.breaker import spread
from worker.claimed import apply_all
from worker.upstream.client import Upstream

READ_EVERY_S: Final = 10.0
"""How often the fleet reads the log for a model at most, or as often as the first reading is due if that is sooner."""

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

    claim = Claim(queue=State.IN_DOUBT, limit=MOST_JOBS, fence=False)

    def __init__(
        self, ledger: Ledger, upstream: Upstream, policy: Policy, *, reads_per_min: int, page_s: float
    ) -> None:
        """Reading one page of the log takes at most `page_s`; the fleet reads `reads_per_min`."""
        self.longest_s = MOST_PAGES * page_s
        self._ledger = ledger
        self._upstream = upstream
        self._policy = policy
        self._reads_per_min = reads_per_min
        self._every_s = min(READ_EVERY_S, policy.reconcile_first_s)

    def reconcile(self, claimed: Claimed) -> None:
        """Resolve the claimed doubts, with all others of their models that one reading finds."""
        due = {one.job.id: one.job for one in claimed.jobs}
        for model in {job.model for job in due.values()}:
            self._reconcile(model, {id_: job for id_, job in due.items() if job.model == model})

    def _reconcile(self, model: str, due: Mapping[str, Job]) -> None:
        if self._ledger.limits.wait_s(f"reconcile:{model}", every_s=self._every_s):
            later = put_off(spread(self._every_s))  # another task is reading the log for us
            apply_all(self._ledger, [(job, later) for job in due.values()])
            return
        doubted = {**{job.id: job for job in in_doubt(self._ledger) if job.model == model}, **due}
        allowed = allowed_reads(self._ledger, self._reads_per_min)
        reading = read_log(self._upstream, model, list(doubted.values()), allowed)
        now = self._ledger.now()
        found = [(job, reading.rows.get(job.request_id or "")) for job in doubted.values()]
        moves = [(job, self._move(job, row, reading, now)) for job, row in found if row is not None or job.id in due]
        apply_all(self._ledger, moves)

    def _move(self, job: Job, row: LogRow | None, reading: Reading, now: float) -> Move:
        if row is None and not reading.whole:
            return after_failed_reading(reading.trouble, policy=self._policy)
        return after_reading(job, row, now=now, policy=self._policy)


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
