"""How a purchase in doubt is resolved: the upstream's log is read once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.facts import LogRow, Unreachable
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.states import State
from worker.upstream.client import Upstream

MOST_PAGES: Final = 50
"""A quarter of what the upstream allows in a minute."""

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
    ids = ledger.page(states=[State.UNCONFIRMED], limit=MOST_JOBS, newest_first=False)
    return [job for job, _ in ledger.get_many(ids) if job.state is State.UNCONFIRMED]


def read_log(upstream: Upstream, model: str, doubted: Sequence[Job]) -> Reading:
    """Read the log back until every doubted purchase is found, or must have been seen if it were there."""
    missing = {job.request_id for job in doubted}
    back_to = min(job.intent_at or job.accepted_at for job in doubted) - CLOCKS_APART_S
    rows: dict[str, LogRow] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        page = upstream.log_page(model, offset)
        if isinstance(page, Unreachable):
            return Reading(rows, whole=False, trouble=page)
        rows.update({row.request_id: row for row in page.rows})
        reached = page.oldest_at is not None and page.oldest_at < back_to
        if missing <= rows.keys() or reached or not page.has_more or not page.length:
            return Reading(rows, whole=True)
        offset += page.length
    return Reading(rows, whole=False)
