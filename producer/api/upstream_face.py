"""The upstream's own two endpoints: a program written for AI/ML API becomes durable by changing its base URL.

Shapes, status words and error envelopes are the upstream's; the ids are our jobs'. The video comes from our archive,
by a link that needs no key for a while, like the upstream's own.
"""

import re
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, NotRequired

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from jobs.errors import UnknownJob
from jobs.job import Job
from jobs.states import State
from producer.api.content import content
from producer.api.guard import Reads, Submits
from producer.api.links import Link
from producer.api.parts import Needs, Parts
from producer.api.problems import Code, Problem
from producer.api.videos import JOB_ID, idempotency_key, json_order, known, ordered, submit_async
from producer.models.catalogue import unfamiliar

router = APIRouter(prefix="/v2", tags=["the upstream's own face"])

ANY_PATH: Final = "/video/generations"
GOOGLE_PATH: Final = "/generate/video/google/generation"
FILES: Final = "/v2/files"

_CLIENT_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_EMPTY_ID: Final = {"id": "", "status": "unknown", "error": {"name": "Error", "message": "generation_id is missing"}}


class Receipt(TypedDict):
    """What a submit answers."""

    id: Annotated[str, Field(description="Ask for it by this id.", examples=["job_01kb0000000000000000000000"])]
    status: Annotated[Literal["queued"], Field(description="Always `queued`.", examples=["queued"])]
    warnings: NotRequired[
        Annotated[list[str], Field(description="There if the model may be a mistake; it was taken.", examples=[[]])]
    ]


class LinkedVideo(TypedDict):
    """The finished video."""

    url: Annotated[
        str,
        Field(
            description="Our copy; the link needs no key and ends after a day, each poll gives a fresh one.",
            examples=["https://rushes.example/v2/files/job_01kb0000000000000000000000.mp4?until=1&signature=0"],
        ),
    ]
    content_type: Annotated[str, Field(description="What it is.", examples=["video/mp4"])]
    file_name: Annotated[str, Field(description="A name for it.", examples=["job_01kb0000000000000000000000.mp4"])]
    file_size: Annotated[int, Field(description="Bytes.", examples=[3716781])]


class Failure(TypedDict):
    """Why there is no video."""

    name: Annotated[str, Field(description="Always `Error`.", examples=["Error"])]
    message: Annotated[str, Field(description="The reason.", examples=["the prompt was rejected"])]


class Generation(TypedDict):
    """How far a generation is."""

    id: Annotated[str, Field(description="Its id.", examples=["job_01kb0000000000000000000000"])]
    status: Annotated[
        Literal["queued", "generating", "completed", "error", "unknown"],
        Field(description="The upstream's words.", examples=["generating"]),
    ]
    video: NotRequired[Annotated[LinkedVideo, Field(description="There once it is completed.", examples=[None])]]
    error: NotRequired[Annotated[Failure, Field(description="There if it failed.", examples=[None])]]


_ENVELOPE: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"description": "The upstream's error envelope.", "content": {"application/problem+json": {}}},
    "5XX": {"description": "The upstream's error envelope.", "content": {"application/problem+json": {}}},
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VideoOrder"}}},
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
    """Take an order in the upstream's words. An `Idempotency-Key` works here too."""
    order = await json_order(request)
    answer = await submit_async(parts, caller, order, idempotency_key(request.headers))
    headers = {"x-inference-id": answer.job_id, "idempotency-replayed": str(answer.replayed).lower()}
    name = request.headers.get("x-client-request-id", "")
    if _CLIENT_REQUEST_ID.fullmatch(name):
        headers["x-client-request-id"] = name
    receipt: Receipt = {"id": answer.job_id, "status": "queued"}
    if warning := unfamiliar(ordered(parts, order).model):
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
        str, Query(description="The id that the submit answered.", examples=["job_01kb0000000000000000000000"])
    ] = "",
) -> Response:
    """How far it is, in the upstream's words; an id of either endpoint works at both."""
    if not generation_id:
        return JSONResponse(_EMPTY_ID)
    try:
        job, _ = known(parts, caller, generation_id)
    except UnknownJob:
        raise Problem(Code.NOT_FOUND, "Inference not found") from None
    return JSONResponse(_generation(request, parts, job))


def _generation(request: Request, parts: Parts, job: Job) -> Generation:
    if job.stored is not None:  # also where it came late: then the video counts, not the end
        link = parts.links.made(job.id, job.stored, now=parts.service.now())
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
        told = job.message or str(job.reason)
        return {"id": job.id, "status": "error", "error": {"name": "Error", "message": told}}
    bought = job.state in {State.RENDERING, State.STORING}
    return {"id": job.id, "status": "generating" if bought else "queued"}


@router.get("/files/{file_name}", include_in_schema=False)
@router.head("/files/{file_name}", include_in_schema=False)
def linked_file(file_name: str, request: Request, parts: Needs, until: int = 0, signature: str = "") -> Response:
    """A video by its link, without a key."""
    job_id = file_name.partition(".")[0]
    link = Link(file_name, until, signature)
    if not JOB_ID.fullmatch(job_id) or not parts.links.fits(link, now=parts.service.now()):
        raise Problem(Code.NOT_FOUND, "This link has ended, or never was one: poll again for a fresh one.")
    job, _ = parts.service.get(job_id)
    return content(job, parts.store, request.headers, head_only=request.method == "HEAD")


def _base(request: Request, parts: Parts) -> str:
    """Where the caller reaches us: what the deployment says, else what the caller said."""
    public = parts.settings.api.public_url
    return str(public or request.base_url).rstrip("/")
