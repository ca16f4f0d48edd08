"""How a purchase in doubt is resolved: the upstream's log is read once for all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.facts import LogRow, Unreachable
from jobs.job import Hold, Job
from jobs.ledger import Ledger
from jobs.states import State
from worker.upstream.client import Upstream

MOST_PAGES: Final = 50
"""How many pages of one model's log one reading reads, at most; the other models' logs want to be read too."""

MOST_JOBS: Final = 500
"""How many doubts one reading resolves."""

CLOCKS_APART_S: Final = 600.0
"""How far the upstream's clock and ours may disagree."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The log's lines by our request ids, for one model; `whole`: it was read back to before every doubt began."""

    rows: Mapping[str, LogRow]
    whole: bool
    trouble: Unreachable | None = None


def in_doubt(ledger: Ledger) -> list[Job]:
    """Every job whose purchase is in doubt, the longest first, as far as one reading can help."""
    ids = ledger.page(states=[State.IN_DOUBT], limit=MOST_JOBS, newest_first=False)
    return [job for job, _ in ledger.get_many(ids) if job.state is State.IN_DOUBT]


def allowed_reads(ledger: Ledger, per_min: int) -> Callable[[], float]:
    """The fleet's allowance of log pages, whatever the number of models: 0 if one may be read, else seconds to wait."""
    return lambda: ledger.allowance("log", limit=per_min, window_s=60)


def read_log(upstream: Upstream, model: str, doubted: Sequence[Job], allowed: Callable[[], float]) -> Reading:
    """Read the log back until every doubted purchase is found, or must have been seen if it were there."""
    missing = {job.request_id for job in doubted}
    back_to = min(job.intent_at or job.accepted_at for job in doubted) - CLOCKS_APART_S
    rows: dict[str, LogRow] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        if (wait_s := allowed()) > 0:
            used_up = Unreachable(Hold.THROTTLED, "as many pages of the log were read as a minute allows", wait_s)
            return Reading(rows, whole=False, trouble=used_up)
        page = upstream.log_page(model, offset)
        if isinstance(page, Unreachable):
            return Reading(rows, whole=False, trouble=page)
        rows.update({row.request_id: row for row in page.rows})
        reached = page.oldest_at is not None and page.oldest_at < back_to
        if missing <= rows.keys() or reached or not page.has_more or not page.length:
            return Reading(rows, whole=True)
        offset += page.length
    return Reading(rows, whole=False)
