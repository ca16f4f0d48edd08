"""`POST /v1/videos/batch`: many requests at once, one result for each."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.errors import JobError
from jobs.job import Charged
from producer.api.create_video import parse_object
from producer.api.guard import Caller, GuardedRoute, Submits, admit
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem, ProblemView, documented
from producer.api.refusals import problem_of
from producer.api.videos import COMMON, IDEMPOTENCY_KEY, idempotency_key, submit_async
from producer.keys import Scope
from producer.service import Submission
from producer.views import VideoView, job_view

log = logging.getLogger("rushes.api")

router = APIRouter(prefix="/v1/videos", tags=["videos"], route_class=GuardedRoute)

MOST_REQUESTS: Final = 100


class CreateBatch(BaseModel):
    """Many requests. Each is accepted or refused by itself."""

    model_config = ConfigDict(extra="forbid")

    requests: Annotated[
        list[Any],
        Field(
            description="The requests, each a body of `POST /v1/videos`.",
            min_length=1,
            max_length=MOST_REQUESTS,
            examples=[[{"prompt": "a paper boat in the rain"}, {"prompt": "a paper plane in the wind"}]],
            json_schema_extra={"items": {"$ref": "#/components/schemas/CreateVideo"}},
        ),
    ]


class BatchResult(TypedDict):
    """The result of one request."""

    index: Annotated[int, Field(description="The request's index in the batch.", examples=[0])]
    status: Annotated[int, Field(description="The HTTP status of the request by itself.", examples=[202])]
    replayed: Annotated[bool, Field(description="Whether its key had made the job before.", examples=[False])]
    video: Annotated[VideoView | None, Field(description="The job, if the request was accepted.", examples=[None])]
    error: Annotated[ProblemView | None, Field(description="The problem, if it was refused.", examples=[None])]


class BatchResults(TypedDict):
    """One result for each request, in the batch's order."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[BatchResult], Field(description="The results.", examples=[[]])]


@router.post(
    "/batch",
    status_code=HTTPStatus.MULTI_STATUS,
    summary="Create many videos",
    openapi_extra={"parameters": [IDEMPOTENCY_KEY]},
    responses={
        207: {"model": BatchResults, "description": "Read each result: some requests may be refused."},
        **documented(Code.INVALID_REQUEST, Code.TOO_LARGE, Code.MALFORMED_BODY, *COMMON),
    },
)
async def submit_many(batch: CreateBatch, request: Request, parts: Needs, caller: Submits) -> Response:
    """Up to a hundred requests, each accepted or refused by itself. Each counts against the key's rate limit.

    With an `Idempotency-Key` K the requests have the keys `K.0`, `K.1` and so on, so that the batch may be sent again.
    """
    key = idempotency_key(request.headers)
    counts_as = min(len(batch.requests), parts.settings.api.requests_per_min)
    if counts_as > 1:  # one was charged before the body was read
        await admit(request, parts, Scope.SUBMIT, cost=counts_as - 1)
    results = [
        await _submit_one(request, parts, caller, index, raw, f"{key}.{index}" if key else None)
        for index, raw in enumerate(batch.requests)
    ]
    answer = {"object": "list", "data": results}
    return await run_in_threadpool(JSONResponse, answer, HTTPStatus.MULTI_STATUS)


async def _submit_one(
    request: Request, parts: Parts, caller: Caller, index: int, raw: object, key: str | None
) -> dict[str, Any]:
    try:
        body = parse_object(raw)
        answer = await submit_async(parts, caller, body, key)
        return await run_in_threadpool(_accepted, parts, index, answer)
    except Exception as error:  # noqa: BLE001 (one request's error must not lose the results of the others)
        problem = _problem(error).view(path=request.scope["path"], request_id=request.state.request_id)
        return {"index": index, "status": problem["status"], "replayed": False, "video": None, "error": problem}


def _accepted(parts: Parts, index: int, answer: Submission) -> dict[str, Any]:
    # An accepted job is not read again: an outage that begins here must not turn it into an error.
    job, wanted = (answer.job, answer.request) if answer.job and answer.request else parts.service.get(answer.job_id)
    video = job_view(job, wanted, replace(parts.beside(job), reused=answer.reused))
    status = HTTPStatus.OK if answer.reused else HTTPStatus.ACCEPTED
    return {"index": index, "status": status, "replayed": answer.replayed, "video": video, "error": None}


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, JobError):
        return problem_of(error)
    log.error("unexpected error in a request of a batch", exc_info=error)
    return Problem(Code.INTERNAL, "Report the request id to the operator.", charged=Charged.UNKNOWN)
