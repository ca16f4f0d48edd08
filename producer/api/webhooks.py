"""Who was told of what: an administrator's endpoints with their deliveries, and those of a caller's own jobs."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.delivery import DeliveryLine
from jobs.webhooks import Endpoint
from producer.api.guard import Admins, Reads, Submits
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem, documented
from producer.api.videos import COMMON, JobId, check_id, known
from producer.deliveries import DeliveryView, EndpointView, delivery_view, endpoint_view
from producer.receivers import DeliveryChoice, check_has_ended

router = APIRouter(tags=["webhooks"])

PATIENCE_S: Final = 20.0
"""How long a test waits for a worker, and for the receiver that it calls."""

ASK_EVERY_S: Final = 0.2
LINE_ID: Final = r"^\d{1,18}-\d{1,18}$"

EndpointId = Annotated[
    str, Path(description="The endpoint's id.", examples=["wh_01kb0000000000000000000000"], max_length=100)
]


class WebhookList(TypedDict):
    """Every endpoint."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[EndpointView], Field(description="The endpoints, the oldest first.", examples=[[]])]


class DeliveryList(TypedDict):
    """How deliveries went."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[DeliveryView], Field(description="The tries, newest first.", examples=[[]])]
    has_more: Annotated[bool, Field(description="Whether there are older ones.", examples=[False])]
    last_id: Annotated[
        str | None, Field(description="Give it as `after` for the next page.", examples=["1795000000123-0"])
    ]


class RedeliveryOrder(BaseModel):
    """Which job an endpoint is to be told again."""

    model_config = ConfigDict(extra="forbid")

    job_id: Annotated[
        str, Field(description="An ended job.", examples=["job_01kb0000000000000000000000"], max_length=100)
    ]


class OwnRedeliveryOrder(BaseModel):
    """Who is to be told of a job again."""

    model_config = ConfigDict(extra="forbid")

    receiver: Annotated[
        str | None,
        Field(
            description="Only this one, as the job's deliveries name it; left out, all that want to be told.",
            examples=["wh_01kb0000000000000000000000"],
            max_length=300,
        ),
    ] = None


class Redelivery(TypedDict):
    """Who is told again, and of what."""

    object: Annotated[Literal["redelivery"], Field(description="Always `redelivery`.", examples=["redelivery"])]
    job_id: Annotated[str, Field(description="The job.", examples=["job_01kb0000000000000000000000"])]
    receivers: Annotated[
        dict[str, list[str]],
        Field(
            description="Each receiver with the events that it is told; their `webhook-id` is the same as before.",
            examples=[{"wh_01kb0000000000000000000000": ["job.completed"]}],
        ),
    ]


class TestDelivery(TypedDict):
    """A test that nobody has carried out yet."""

    object: Annotated[Literal["webhook.test"], Field(description="Always `webhook.test`.", examples=["webhook.test"])]
    job_id: Annotated[
        str,
        Field(description="The made-up job; its delivery shows how it went.", examples=["test_01kb…"]),
    ]


@router.get(
    "/v1/webhooks", summary="List webhook endpoints", responses={200: {"model": WebhookList}, **documented(*COMMON)}
)
def list_endpoints(parts: Needs, _caller: Admins) -> Response:
    """Every endpoint with its backlog, without its secret. `rushes webhooks` adds, rotates and removes them."""
    waiting = parts.receivers.waiting()
    found = [endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in parts.webhooks.all()]
    answer: WebhookList = {"object": "list", "data": found}
    return JSONResponse(answer)


@router.get(
    "/v1/webhooks/{endpoint_id}/deliveries",
    summary="How an endpoint's deliveries went",
    responses={200: {"model": DeliveryList}, **documented(Code.NOT_FOUND, Code.INVALID_REQUEST, *COMMON)},
)
def list_deliveries(
    endpoint_id: EndpointId,
    parts: Needs,
    _caller: Admins,
    *,
    after: Annotated[
        str | None,
        Query(description="The `last_id` of the page before.", pattern=LINE_ID, examples=["1795000000123-0"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.", examples=[20])] = 20,
    job_id: Annotated[
        str | None, Query(description="Only this job's.", examples=["job_01kb0000000000000000000000"])
    ] = None,
    delivered: Annotated[
        bool | None, Query(description="Only those that arrived, or only those that did not.", examples=[False])
    ] = None,
) -> Response:
    """Every try with status, time, and excerpts of request and answer. About 200 are kept, for a week."""
    parts.webhooks.get(endpoint_id)
    choice = DeliveryChoice(job_id=job_id, delivered=delivered, before=after)
    lines = parts.receivers.log(endpoint_id, limit=limit + 1, choice=choice)
    return JSONResponse(_page([(endpoint_id, line) for line in lines], limit))


@router.post(
    "/v1/webhooks/{endpoint_id}/redeliver",
    status_code=HTTPStatus.ACCEPTED,
    summary="Tell an endpoint of a job again",
    responses={
        202: {"model": Redelivery},
        **documented(
            Code.NOT_FOUND,
            Code.ERASED,
            Code.NOT_ENDED,
            Code.INVALID_REQUEST,
            Code.MALFORMED_BODY,
            Code.TOO_LARGE,
            *COMMON,
        ),
    },
)
def redeliver(endpoint_id: EndpointId, order: RedeliveryOrder, parts: Needs, _caller: Admins) -> Response:
    """A worker tells it now, also if it was told before, under the same `webhook-id`."""
    parts.webhooks.get(endpoint_id)
    check_id(order.job_id)
    parts.service.get(order.job_id)  # what was erased has nothing left to be told
    events = parts.receivers.redeliver(endpoint_id, order.job_id)
    return _told_again(order.job_id, {endpoint_id: list(events)})


@router.post(
    "/v1/webhooks/{endpoint_id}/test",
    summary="Tell an endpoint of a made-up job",
    responses={
        200: {"model": DeliveryView, "description": "How it went; `delivered` says whether the endpoint has it."},
        202: {
            "model": TestDelivery,
            "description": "No worker came to it in time; its delivery will show how it went.",
        },
        **documented(Code.NOT_FOUND, Code.ENDPOINT_DISABLED, Code.INVALID_REQUEST, *COMMON),
    },
)
async def send_test(endpoint_id: EndpointId, parts: Needs, _caller: Admins) -> Response:
    """A worker sends it the event `job.test` of a job that never was, once, and the answer says how it went."""
    endpoint = await run_in_threadpool(parts.webhooks.get, endpoint_id)
    _check_enabled(endpoint)
    test_delivery = await run_in_threadpool(parts.receivers.start_test, endpoint_id)
    line = await _test_outcome(parts, endpoint_id, test_delivery)
    if line is None:
        answer: TestDelivery = {"object": "webhook.test", "job_id": test_delivery}
        return JSONResponse(answer, HTTPStatus.ACCEPTED)
    return JSONResponse(delivery_view(endpoint_id, line))


@router.get(
    "/v1/videos/{job_id}/deliveries",
    summary="Who was told of a job's end",
    responses={
        200: {"model": DeliveryList},
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
def list_own_deliveries(job_id: JobId, parts: Needs, caller: Reads) -> Response:
    """Every try to tell your receivers, as far as their logs reach: your endpoints, and the order's own address."""
    job, order = known(parts, caller, job_id)
    found = parts.receivers.own_log(job, order, tenant=caller.tenant)
    return JSONResponse(_page(found, len(found)))


@router.post(
    "/v1/videos/{job_id}/redeliver",
    status_code=HTTPStatus.ACCEPTED,
    summary="Tell your receivers of a job again",
    responses={
        202: {"model": Redelivery, "description": "`receivers` is empty if none of yours wants to be told."},
        **documented(
            Code.NOT_FOUND,
            Code.ERASED,
            Code.NOT_ENDED,
            Code.INVALID_REQUEST,
            Code.MALFORMED_BODY,
            Code.TOO_LARGE,
            *COMMON,
        ),
    },
)
def redeliver_own(
    job_id: JobId, parts: Needs, caller: Submits, order: Annotated[OwnRedeliveryOrder | None, Body()] = None
) -> Response:
    """Your endpoints, and the order's own address, are told now, also of what they were told before."""
    job, request = known(parts, caller, job_id)
    check_has_ended(job)
    wanted = parts.receivers.own_receivers(job, request, tenant=caller.tenant)
    if order is not None and order.receiver is not None:
        if order.receiver not in wanted:
            raise Problem(Code.NOT_FOUND, "You have no such receiver that hears of this job.")
        wanted = {order.receiver: wanted[order.receiver]}
    parts.receivers.redeliver_events(job_id, wanted)
    return _told_again(job_id, {receiver: list(events) for receiver, events in wanted.items() if events})


def _page(found: list[tuple[str, DeliveryLine]], limit: int) -> DeliveryList:
    shown = [delivery_view(receiver, line) for receiver, line in found[:limit]]
    last_id = shown[-1]["id"] if shown else None
    return {"object": "list", "data": shown, "has_more": len(found) > limit, "last_id": last_id}


def _told_again(job_id: str, receivers: dict[str, list[str]]) -> Response:
    answer: Redelivery = {"object": "redelivery", "job_id": job_id, "receivers": receivers}
    return JSONResponse(answer, HTTPStatus.ACCEPTED)


def _check_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled_at:
        detail = f"It is told nothing: {endpoint.disabled_why}. `rushes webhooks enable {endpoint.id}` changes that."
        raise Problem(Code.ENDPOINT_DISABLED, detail)


async def _test_outcome(parts: Parts, endpoint_id: str, test_delivery: str) -> DeliveryLine | None:
    """How a test delivery went, if a worker comes to it in time; waiting holds no thread."""
    for _ in range(max(1, int(min(PATIENCE_S, parts.settings.api.longest_wait_s) / ASK_EVERY_S))):
        line = await run_in_threadpool(parts.receivers.test_outcome, endpoint_id, test_delivery)
        if line is not None:
            return line
        await asyncio.sleep(ASK_EVERY_S)
    return None
