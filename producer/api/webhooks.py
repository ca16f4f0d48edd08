"""Deliveries: those of webhook endpoints, for administrators, and those of a caller's own jobs."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from config.webhook_endpoints import Endpoint
from jobs.delivery import DeliveryLine
from producer.api.guard import Admins, GuardedRoute, Reads, Submits
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem, documented
from producer.api.videos import COMMON, JobId, check_id, known
from producer.deliveries import DeliveryView, EndpointView, delivery_view, endpoint_view
from producer.receivers import DeliveryChoice, check_has_ended

router = APIRouter(tags=["webhooks"], route_class=GuardedRoute)

PATIENCE_S: Final = 20.0
"""Seconds that a test waits for a worker and for the receiver's reply."""

ASK_EVERY_S: Final = 0.2
LINE_ID: Final = r"^\d{1,18}-\d{1,18}$"

EndpointId = Annotated[
    str, Path(description="The endpoint's id.", examples=["wh_01kb0000000000000000000000"], max_length=100)
]


class WebhookList(TypedDict):
    """Every endpoint."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[EndpointView], Field(description="The endpoints, oldest first.", examples=[[]])]


class DeliveryList(TypedDict):
    """A page of delivery attempts."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[DeliveryView], Field(description="The attempts, newest first.", examples=[[]])]
    has_more: Annotated[bool, Field(description="Whether there are older attempts.", examples=[False])]
    last_id: Annotated[
        str | None, Field(description="Send it as `after` to get the next page.", examples=["1795000000123-0"])
    ]


class RedeliverToEndpoint(BaseModel):
    """The job to deliver to an endpoint again."""

    model_config = ConfigDict(extra="forbid")

    job_id: Annotated[
        str, Field(description="An ended job.", examples=["job_01kb0000000000000000000000"], max_length=100)
    ]


class RedeliverVideo(BaseModel):
    """The receivers to deliver a job to again."""

    model_config = ConfigDict(extra="forbid")

    receiver: Annotated[
        str | None,
        Field(
            description="Only this receiver, as the job's deliveries name it. Default: all subscribed receivers.",
            examples=["wh_01kb0000000000000000000000"],
            max_length=300,
        ),
    ] = None


class Redelivery(TypedDict):
    """The deliveries that are made again."""

    object: Annotated[Literal["redelivery"], Field(description="Always `redelivery`.", examples=["redelivery"])]
    job_id: Annotated[str, Field(description="The job.", examples=["job_01kb0000000000000000000000"])]
    receivers: Annotated[
        dict[str, list[str]],
        Field(
            description="Each receiver with its events; each event has the same `webhook-id` as before.",
            examples=[{"wh_01kb0000000000000000000000": ["job.completed"]}],
        ),
    ]


class TestDelivery(TypedDict):
    """A test delivery that no worker has made yet."""

    object: Annotated[Literal["webhook.test"], Field(description="Always `webhook.test`.", examples=["webhook.test"])]
    job_id: Annotated[
        str,
        Field(description="The test job's id, to find its delivery by.", examples=["test_01kb…"]),
    ]


@router.get(
    "/v1/webhooks", summary="List webhook endpoints", responses={200: {"model": WebhookList}, **documented(*COMMON)}
)
def list_endpoints(parts: Needs, _caller: Admins) -> Response:
    """List every endpoint with its backlog and without its secret. `rushes webhooks` adds and removes endpoints."""
    waiting = parts.receivers.waiting()
    found = [endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in parts.webhooks.all()]
    answer: WebhookList = {"object": "list", "data": found}
    return JSONResponse(answer)


@router.get(
    "/v1/webhooks/{endpoint_id}/deliveries",
    summary="List an endpoint's deliveries",
    responses={200: {"model": DeliveryList}, **documented(Code.NOT_FOUND, Code.INVALID_REQUEST, *COMMON)},
)
def list_deliveries(
    endpoint_id: EndpointId,
    parts: Needs,
    _caller: Admins,
    *,
    after: Annotated[
        str | None,
        Query(description="The `last_id` of the previous page.", pattern=LINE_ID, examples=["1795000000123-0"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The largest number of attempts.", examples=[20])] = 20,
    job_id: Annotated[
        str | None, Query(description="Only this job's attempts.", examples=["job_01kb0000000000000000000000"])
    ] = None,
    delivered: Annotated[
        bool | None, Query(description="Only successful, or only failed attempts.", examples=[False])
    ] = None,
) -> Response:
    """Every attempt with status, time, and excerpts of request and reply. About 200 are kept, for a week."""
    parts.webhooks.get(endpoint_id)
    choice = DeliveryChoice(job_id=job_id, delivered=delivered, before=after)
    lines = parts.receivers.log(endpoint_id, limit=limit + 1, choice=choice)
    return JSONResponse(_page([(endpoint_id, line) for line in lines], limit))


@router.post(
    "/v1/webhooks/{endpoint_id}/redeliver",
    status_code=HTTPStatus.ACCEPTED,
    summary="Deliver a job to an endpoint again",
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
def redeliver(endpoint_id: EndpointId, body: RedeliverToEndpoint, parts: Needs, _caller: Admins) -> Response:
    """A worker delivers the job's ends now, also those delivered before, with the same `webhook-id`."""
    parts.webhooks.get(endpoint_id)
    check_id(body.job_id)
    parts.service.get(body.job_id)  # refuses an erased job, of which nothing is left to deliver
    events = parts.receivers.redeliver(endpoint_id, body.job_id)
    return _accepted(body.job_id, {endpoint_id: list(events)})


@router.post(
    "/v1/webhooks/{endpoint_id}/test",
    summary="Send an endpoint a test delivery",
    responses={
        200: {"model": DeliveryView, "description": "The attempt; `delivered` says whether it succeeded."},
        202: {
            "model": TestDelivery,
            "description": "No worker made the delivery in time; the endpoint's deliveries will show it.",
        },
        **documented(Code.NOT_FOUND, Code.ENDPOINT_DISABLED, Code.INVALID_REQUEST, *COMMON),
    },
)
async def send_test(endpoint_id: EndpointId, parts: Needs, _caller: Admins) -> Response:
    """A worker sends the event `job.test` of a made-up job once, and the reply shows the attempt."""
    test_delivery, line = await tested(parts, endpoint_id)
    if line is None:
        answer: TestDelivery = {"object": "webhook.test", "job_id": test_delivery}
        return JSONResponse(answer, HTTPStatus.ACCEPTED)
    return JSONResponse(delivery_view(endpoint_id, line))


async def tested(parts: Parts, endpoint_id: str) -> tuple[str, DeliveryLine | None]:
    """Have a worker send a test delivery; return its id, and the attempt if it was made in time.

    Raises:
        Problem: the endpoint is disabled.
        UnknownEndpoint: there is none of that id.
    """
    _check_enabled(await run_in_threadpool(parts.webhooks.get, endpoint_id))
    test_delivery = await run_in_threadpool(parts.receivers.start_test, endpoint_id)
    return test_delivery, await _test_outcome(parts, endpoint_id, test_delivery)


@router.get(
    "/v1/videos/{job_id}/deliveries",
    summary="List a job's deliveries",
    responses={
        200: {"model": DeliveryList},
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
def list_own_deliveries(job_id: JobId, parts: Needs, caller: Reads) -> Response:
    """Every logged attempt to deliver the job's events to your endpoints and to the request's own `webhook_url`."""
    job, request = known(parts, caller, job_id)
    found = parts.receivers.own_log(job, request, tenant=caller.tenant)
    return JSONResponse(_page(found, len(found)))


@router.post(
    "/v1/videos/{job_id}/redeliver",
    status_code=HTTPStatus.ACCEPTED,
    summary="Deliver a job to your receivers again",
    responses={
        202: {"model": Redelivery, "description": "`receivers` is empty if none of yours is subscribed."},
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
    job_id: JobId, parts: Needs, caller: Submits, body: Annotated[RedeliverVideo | None, Body()] = None
) -> Response:
    """Workers deliver the job's ends to your endpoints and its `webhook_url` now, also those delivered before."""
    job, request = known(parts, caller, job_id)
    check_has_ended(job)
    wanted = parts.receivers.own_receivers(job, request, tenant=caller.tenant)
    if body is not None and body.receiver is not None:
        if body.receiver not in wanted:
            raise Problem(Code.NOT_FOUND, "You have no such receiver for this job.")
        wanted = {body.receiver: wanted[body.receiver]}
    parts.receivers.redeliver_events(job_id, wanted)
    return _accepted(job_id, {receiver: list(events) for receiver, events in wanted.items() if events})


def _page(found: list[tuple[str, DeliveryLine]], limit: int) -> DeliveryList:
    shown = [delivery_view(receiver, line) for receiver, line in found[:limit]]
    last_id = shown[-1]["id"] if shown else None
    return {"object": "list", "data": shown, "has_more": len(found) > limit, "last_id": last_id}


def _accepted(job_id: str, receivers: dict[str, list[str]]) -> Response:
    answer: Redelivery = {"object": "redelivery", "job_id": job_id, "receivers": receivers}
    return JSONResponse(answer, HTTPStatus.ACCEPTED)


def _check_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled_at:
        detail = (
            f"The endpoint is disabled: {endpoint.disabled_why}. `rushes webhooks enable {endpoint.id}` enables it."
        )
        raise Problem(Code.ENDPOINT_DISABLED, detail)


async def _test_outcome(parts: Parts, endpoint_id: str, test_delivery: str) -> DeliveryLine | None:
    """Wait for a worker's attempt at a test delivery, without holding a thread; None: no worker made it in time."""
    for _ in range(max(1, int(min(PATIENCE_S, parts.settings.api.longest_wait_s) / ASK_EVERY_S))):
        line = await run_in_threadpool(parts.receivers.test_outcome, endpoint_id, test_delivery)
        if line is not None:
            return line
        await asyncio.sleep(ASK_EVERY_S)
    return None
