"""The upstream's own two endpoints: a program written for AI/ML API becomes durable by changing its base URL.

Fields, statuses and error envelopes are the upstream's; the ids are those of our jobs. The video comes from our archive
by a link that needs no key and expires, like the upstream's own.
"""

import re
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, NotRequired

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.errors import UnknownJob
from jobs.job import Job
from jobs.states import State
from producer.api.content import Reader, content
from producer.api.create_video import model_of
from producer.api.guard import GuardedRoute, Reads, Submits, room_for_body
from producer.api.links import Link
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem
from producer.api.videos import JOB_ID, default_models, idempotency_key, known, read_json_body, submit_async
from producer.models.catalogue import unfamiliar

router = APIRouter(prefix="/v2", tags=["the upstream's own face"], route_class=GuardedRoute)

ANY_PATH: Final = "/video/generations"
GOOGLE_PATH: Final = "/generate/video/google/generation"
FILES: Final = "/v2/files"

_CLIENT_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_EMPTY_ID: Final = {"id": "", "status": "unknown", "error": {"name": "Error", "message": "generation_id is missing"}}


class Receipt(TypedDict):
    """The reply to a submit."""

    id: Annotated[str, Field(description="Poll with this id.", examples=["job_01kb0000000000000000000000"])]
    status: Annotated[Literal["queued"], Field(description="Always `queued`.", examples=["queued"])]
    warnings: NotRequired[Annotated[list[str], Field(description="Present if the model may be a typo.", examples=[[]])]]


class LinkedVideo(TypedDict):
    """The finished video."""

    url: Annotated[
        str,
        Field(
            description="Our copy. The link needs no key and expires after a day; each poll gives a new one.",
            examples=["https://rushes.example/v2/files/job_01kb0000000000000000000000.mp4?until=1&signature=0"],
        ),
    ]
    content_type: Annotated[str, Field(description="Its media type.", examples=["video/mp4"])]
    file_name: Annotated[str, Field(description="Its file name.", examples=["job_01kb0000000000000000000000.mp4"])]
    file_size: Annotated[int, Field(description="Its size in bytes.", examples=[3716781])]


class Failure(TypedDict):
    """Why there is no video."""

    name: Annotated[str, Field(description="Always `Error`.", examples=["Error"])]
    message: Annotated[str, Field(description="The reason.", examples=["the prompt was rejected"])]


class Generation(TypedDict):
    """The state of a generation."""

    id: Annotated[str, Field(description="Its id.", examples=["job_01kb0000000000000000000000"])]
    status: Annotated[
        Literal["queued", "generating", "completed", "error", "unknown"],
        Field(description="The upstream's status.", examples=["generating"]),
    ]
    video: NotRequired[Annotated[LinkedVideo, Field(description="Present once completed.", examples=[None])]]
    error: NotRequired[Annotated[Failure, Field(description="Present if it failed.", examples=[None])]]


_ENVELOPE: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The upstream's error envelope.", "content": {"application/problem+json": {}}},
    "5XX": {"description": "The upstream's error envelope.", "content": {"application/problem+json": {}}},
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateVideo"}}},
    }
}


@router.post(
    ANY_PATH,
    status_code=201,
    summary="Submit, as to the upstream",
    responses={201: {"model": Receipt}, **_ENVELOPE},
    openapi_extra=_BODY,
)
@router.post(
    GOOGLE_PATH,
    status_code=201,
    summary="Submit, as to the upstream's older endpoint",
    responses={201: {"model": Receipt}, **_ENVELOPE},
    openapi_extra=_BODY,
)
async def generate(request: Request, parts: Needs, caller: Submits) -> Response:
    """Accept a request with the upstream's field names. An `Idempotency-Key` works here too."""
    key = idempotency_key(request.headers)
    async with room_for_body(request, caller):
        body = await read_json_body(request)
        answer = await submit_async(parts, caller, body, key)
    headers = {"x-inference-id": answer.job_id, "idempotency-replayed": str(answer.replayed).lower()}
    name = request.headers.get("x-client-request-id", "")
    if _CLIENT_REQUEST_ID.fullmatch(name):
        headers["x-client-request-id"] = name
    receipt: Receipt = {"id": answer.job_id, "status": "queued"}
    if warning := unfamiliar(model_of(body, default_models(parts))):
        receipt["warnings"] = [warning]
    return JSONResponse(receipt, HTTPStatus.CREATED, headers)


@router.get(ANY_PATH, summary="Poll, as at the upstream", responses={200: {"model": Generation}, **_ENVELOPE})
@router.get(
    GOOGLE_PATH,
    summary="Poll, as at the upstream's older endpoint",
    responses={200: {"model": Generation}, **_ENVELOPE},
)
def poll(
    request: Request,
    parts: Needs,
    caller: Reads,
    generation_id: Annotated[
        str, Query(description="The `id` in the submit's reply.", examples=["job_01kb0000000000000000000000"])
    ] = "",
) -> Response:
    """The generation's status and video, as the upstream reports them; an id of either endpoint works at both."""
    if not generation_id:
        return JSONResponse(_EMPTY_ID)
    try:
        job, _ = known(parts, caller, generation_id)
    except UnknownJob:
        raise Problem(Code.NOT_FOUND, "Inference not found") from None
    return JSONResponse(_generation(request, parts, job))


def _generation(request: Request, parts: Parts, job: Job) -> Generation:
    if job.stored is not None:  # also after a late fetch: the video counts, not the job's end
        link = parts.links.make(job.id, job.stored, now=parts.service.now())
        return {
            "id": job.id,
            "status": "completed",
            "video": {
                "url": f"{_base(request, parts)}{FILES}/{link.path}",
                "content_type": job.stored.content_type,
                "file_name": link.file_name,
                "file_size": job.stored.size_bytes,
            },
        }
    if job.is_final:
        message = job.message or str(job.reason)
        return {"id": job.id, "status": "error", "error": {"name": "Error", "message": message}}
    bought = job.state in {State.RENDERING, State.STORING}
    return {"id": job.id, "status": "generating" if bought else "queued"}


@router.get("/files/{file_name}", include_in_schema=False)
@router.head("/files/{file_name}", include_in_schema=False)
def linked_file(file_name: str, request: Request, parts: Needs, until: int = 0, signature: str = "") -> Response:
    """Serve a video by its signed link, without a key."""
    job_id = file_name.partition(".")[0]
    link = Link(file_name, until, signature)

    def is_valid() -> bool:
        return parts.links.is_valid(link, now=parts.service.now())

    if not JOB_ID.fullmatch(job_id) or not is_valid():
        raise Problem(Code.NOT_FOUND, "This link is invalid or has expired: poll again for a new one.")
    job, _ = parts.service.get(job_id)
    reader = Reader(parts.downloads.place(job.tenant), partial(run_in_threadpool, is_valid))
    return content(job, parts.store, request.headers, reader=reader, head_only=request.method == "HEAD")


def _base(request: Request, parts: Parts) -> str:
    """Return the API's public URL: the deployment's setting, else the URL of this request."""
    public = parts.settings.api.public_url
    return str(public or request.base_url).rstrip("/")
