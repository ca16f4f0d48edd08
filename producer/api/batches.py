"""`POST /v1/videos/batch`: many orders at once, one result for each."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.access import Scope
from jobs.errors import JobError
from jobs.job import Charged
from producer.api.guard import Caller, Submits, admit
from producer.api.orders import order_from
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem, ProblemView, documented
from producer.api.refusals import problem_of
from producer.api.videos import COMMON, IDEMPOTENCY_KEY, idempotency_key, ordered, submit
from producer.views import VideoView, job_view

log = logging.getLogger("rushes.api")

router = APIRouter(prefix="/v1/videos", tags=["videos"])

MOST_ORDERS: Final = 100


class BatchOrder(BaseModel):
    """Many orders. Each is judged by itself: a bad one does not hold up the others."""

    model_config = ConfigDict(extra="forbid")

    orders: Annotated[
        list[Any],
        Field(
            description="The orders, each as for `POST /v1/videos`.",
            min_length=1,
            max_length=MOST_ORDERS,
            examples=[[{"prompt": "a paper boat in the rain"}, {"prompt": "a paper plane in the wind"}]],
            json_schema_extra={"items": {"$ref": "#/components/schemas/VideoOrder"}},
        ),
    ]


class BatchResult(TypedDict):
    """What became of one order."""

    index: Annotated[int, Field(description="Its place in the request.", examples=[0])]
    status: Annotated[int, Field(description="The HTTP status that it would have had by itself.", examples=[202])]
    replayed: Annotated[bool, Field(description="Whether its key had made the job before.", examples=[False])]
    video: Annotated[VideoView | None, Field(description="The job, if it was accepted.", examples=[None])]
    error: Annotated[ProblemView | None, Field(description="Why not, if it was not.", examples=[None])]


class BatchResults(TypedDict):
    """One result for each order, in their order."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[BatchResult], Field(description="The results.", examples=[[]])]


@router.post(
    "/batch",
    status_code=HTTPStatus.MULTI_STATUS,
    summary="Submit many orders",
    openapi_extra={"parameters": [IDEMPOTENCY_KEY]},
    responses={
        207: {"model": BatchResults, "description": "Read each result: some may be refused."},
        **documented(Code.INVALID_REQUEST, Code.TOO_LARGE, Code.MALFORMED_BODY, *COMMON),
    },
)
async def submit_many(batch: BatchOrder, request: Request, parts: Needs, caller: Submits) -> Response:
    """Up to a hundred orders, each accepted or refused by itself. Each counts as a request of the key's quota.

    With an `Idempotency-Key` K the orders have the keys `K.0`, `K.1` and so on, so that the whole may be sent again.
    """
    key = idempotency_key(request.headers)
    counts_as = min(len(batch.orders), parts.settings.api.requests_per_min)
    if counts_as > 1:  # it came in as one request, before its orders were read
        await admit(request, parts, Scope.SUBMIT, cost=counts_as - 1)
    return await run_in_threadpool(_submit_many, request, parts, caller, batch, key)


def _submit_many(request: Request, parts: Parts, caller: Caller, batch: BatchOrder, key: str | None) -> Response:
    results = [
        _submit_one(request, parts, caller, index, raw, f"{key}.{index}" if key else None)
        for index, raw in enumerate(batch.orders)
    ]
    answer = {"object": "list", "data": results}
    return JSONResponse(answer, HTTPStatus.MULTI_STATUS)


def _submit_one(
    request: Request, parts: Parts, caller: Caller, index: int, raw: object, key: str | None
) -> dict[str, Any]:
    try:
        wanted = order_from(raw)
        answer = submit(parts, caller, wanted, key)
        # What was accepted just now is at hand: an outage that begins here must not turn it into an error.
        job, order = (answer.job, ordered(parts, wanted)) if answer.job else parts.service.get(answer.job_id)
    except Exception as error:  # noqa: BLE001 (one order's trouble must not take the answers of the others along)
        told = _problem(error).view(path=request.scope["path"], request_id=request.state.request_id)
        return {"index": index, "status": told["status"], "replayed": False, "video": None, "error": told}
    video = job_view(job, order, replace(parts.beside(job), reused=answer.reused))
    status = HTTPStatus.OK if answer.reused else HTTPStatus.ACCEPTED
    return {"index": index, "status": status, "replayed": answer.replayed, "video": video, "error": None}


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, JobError):
        return problem_of(error)
    log.error("unexpected error in an order of a batch", exc_info=error)
    return Problem(Code.INTERNAL, "This is our fault. Tell the operator the request id.", charged=Charged.UNKNOWN)
