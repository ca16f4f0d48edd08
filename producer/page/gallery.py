"""`/gallery`: finished videos as posters that play their previews; endless, a bounded page at a time."""

from dataclasses import replace
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from jobs.states import Status
from producer.models.catalogue import MODELS
from producer.page.lists import SINCE, Filter, listed
from producer.page.visit import Visit

VIDEOS: Final = 24


async def show(visit: Visit) -> Response:
    """Show a page of finished videos whose files are still there."""
    wanted = replace(Filter.of(visit.request.query_params), status=Status.COMPLETED.value)
    found = await listed(visit, wanted, limit=VIDEOS)
    rows = [row for row in found.rows if row.view["file"] and row.view["file"]["removed_at"] is None]
    return await run_in_threadpool(
        visit.page, "gallery.html", jobs=replace(found, rows=rows), wanted=wanted, models=MODELS, since=SINCE
    )
