"""`GET /v1/events`: the ends that a webhook receiver missed while it was down, with the same bodies."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.events import ENDS
from jobs.job_log import STREAM_CLOCK_S
from jobs.payloads import message_id, payload
from producer.api.guard import GuardedRoute, Reads
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem, documented
from producer.api.videos import COMMON
from producer.ends import CursorTooOld, End

router = APIRouter(tags=["webhooks"], route_class=GuardedRoute)

LATEST: Final = "latest"

EndName = Literal["job.completed", "job.failed", "job.cancelled", "job.expired", "job.fetched_late"]


class EndView(TypedDict):
    """One end of one job: a webhook's body, with its `webhook-id` and its place in the event stream."""

    id: Annotated[
        str,
        Field(
            description="The webhook's `webhook-id`, to recognise duplicates.",
            examples=["job_01kb0000000000000000000000.completed"],
        ),
    ]
    object: Annotated[Literal["event"], Field(description="Always `event`.", examples=["event"])]
    cursor: Annotated[str, Field(description="Its position in the event stream.", examples=["1795000000123-0"])]
    type: Annotated[EndName, Field(description="How the job ended.", examples=["job.completed"])]
    timestamp: Annotated[str | None, Field(description="When the job ended.", examples=["2026-11-24T14:00:00.000Z"])]
    data: Annotated[
        dict[str, Any],
        Field(
            description="The job as it is now, as in a webhook; docs/reference/webhooks.md shows all fields.",
            examples=[{"id": "job_01kb0000000000000000000000", "status": "completed", "cost_usd": 2.52}],
        ),
    ]


class EndList(TypedDict):
    """The ends after a cursor."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[EndView], Field(description="The ends, oldest first; may be empty.", examples=[[]])]
    next: Annotated[str, Field(description="Keep it and send it as `after` next time.", examples=["1795-0"])]
    has_more: Annotated[bool, Field(description="Whether to ask again at once.", examples=[False])]


@router.get(
    "/v1/events",
    summary="List the ends after a cursor",
    responses={200: {"model": EndList}, **documented(Code.CURSOR_TOO_OLD, Code.INVALID_REQUEST, *COMMON)},
)
def list_ends(
    parts: Needs,
    caller: Reads,
    *,
    after: Annotated[
        str | None,
        Query(
            description="The last reply's `next`; `latest`: from now on. Default: from the oldest stored event.",
            pattern=r"^(latest|\d{1,18}-\d{1,18})$",
            examples=["1795000000123-0"],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The largest number of ends.", examples=[100])] = 100,
    type: Annotated[  # noqa: A002 (the name in the body)
        list[EndName] | None,
        Query(description="Only these types; repeat it for more.", examples=[["job.completed"]]),
    ] = None,
) -> Response:
    """Every end of your jobs that a webhook receiver missed. A page may be short, or empty, and still have `has_more`.

    Keep `next`, not the last event's cursor: it moves on without events of yours. 410 means that the cursor is too old.
    """
    if after == LATEST:
        return JSONResponse(EndList(object="list", data=[], next=parts.service.ends.latest(), has_more=False))
    read = parts.service.ends.after(after, limit=limit, events=type or ENDS, tenant=caller.tenant)
    if isinstance(read, CursorTooOld):
        raise _too_old(read)
    found = [_view(parts, end) for end in read.ends]
    return JSONResponse(EndList(object="list", data=found, next=read.cursor, has_more=read.has_more))


def _view(parts: Parts, end: End) -> EndView:
    body = payload(end.event, end.job, end.request, public_url=parts.settings.api.public_url)
    return {"id": message_id(end.job.id, end.event), "object": "event", "cursor": end.cursor, **body}  # type: ignore[typeddict-item]  # payload has the rest


def _too_old(read: CursorTooOld) -> Problem:
    detail = (
        "The event stream no longer has every end since this cursor; no job is lost. Take a new cursor from GET "
        f"/v1/events?after=latest, list GET /v1/videos?ended_from={read.at - STREAM_CLOCK_S:.3f}, then continue with "
        "the new cursor."
    )
    return Problem(Code.CURSOR_TOO_OLD, detail)
