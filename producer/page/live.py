"""`/live`: tells an open page that something changed; the page then asks for itself again."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from producer.api.streams import HEARTBEAT_S, RECONNECT_MS, WatchersReply
from producer.api.videos import JOB_ID
from producer.page.visit import Visit, is_still_admitted

MOST_JOBS: Final = 100
OF_ANY_S: Final = 2.0
"""A page of many jobs is told of changes at most this often, a job's own page four times as often."""


async def stream(visit: Visit) -> Response:
    """Stream changes of the jobs that the query names; without any, the operator hears of all jobs."""
    jobs = await run_in_threadpool(_own, visit)
    cursor = visit.request.query_params.get("after", "")
    at_most_every_s = OF_ANY_S if jobs is None or len(jobs) > 1 else OF_ANY_S / 4

    async def lines() -> AsyncIterator[str]:
        yield f"retry: {RECONNECT_MS}\n\n"
        checked_at = monotonic()
        if cursor and cursor != await run_in_threadpool(visit.parts.service.newest_event):
            yield _CHANGE  # something happened between the page and its stream
        changes = visit.parts.event_stream.changes(jobs, at_most_every_s=at_most_every_s, heartbeat_s=HEARTBEAT_S)
        async for has_changed in changes:
            if monotonic() - checked_at >= HEARTBEAT_S:
                if not await is_still_admitted(visit):
                    yield _CHANGE  # the page asks for itself, and is sent to sign in
                    return
                checked_at = monotonic()
            yield _CHANGE if has_changed else ": alive\n\n"

    return WatchersReply(visit.parts.watchers.place(visit.tenant), lines())


_CHANGE: Final = "event: change\ndata: \n\n"


def _own(visit: Visit) -> frozenset[str] | None:
    """Return the visitor's own jobs of those that it names."""
    named = [job_id for job_id in visit.request.query_params.getlist("job") if JOB_ID.fullmatch(job_id)][:MOST_JOBS]
    if not named and visit.tenant is None:
        return None
    found = visit.parts.service.get_many(named) if named else []
    return frozenset(job.id for job, _ in found if visit.tenant in {None, job.tenant})
