"""`/v1/videos`: jobs in the words of OpenAI's Videos, and of our own beside them."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from config.store import StoreError
from jobs.artifacts import Artifact
from jobs.errors import FieldError, InvalidRequest, LedgerUnavailable
from jobs.job import Job, Terms, VideoRequest
from jobs.job_log import following
from jobs.moves.request import Retry
from jobs.states import State, Status
from producer.api.content import content, matches
from producer.api.forms import read_fields
from producer.api.guard import Caller, Reads, Submits
from producer.api.orders import (
    UsualModels,
    VideoOrder,
    in_their_words,
    order_from_form,
    order_from_json,
    refused,
    request_of,
)
from producer.api.parts import Needs, Parts
from producer.api.pictures import pictures_in
from producer.api.problems import Code, Problem, Wrong, documented
from producer.api.refusals import unsure_of_submit
from producer.api.streams import LAST_EVENT_ID, PREFER, ended, event_stream, last_event_id, preferred_wait
from producer.service import Page, Seen, Selection, Submission
from producer.views import EventView, VideoView, entry_view, job_view

router = APIRouter(prefix="/v1/videos", tags=["videos"])

QUICK_BYTES: Final = 65_536
"""What is read within a millisecond; a larger body would hold up the event loop."""

LONGEST_KEY: Final = 255
LONGEST_RETRY_AFTER_S: Final = 60.0
JOB_ID: Final = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_LABEL: Final = re.compile(r"(?s)metadata\[(.{1,64})\]")
COMMON: Final = (
    Code.INVALID_REQUEST,
    Code.UNAUTHORIZED,
    Code.FORBIDDEN,
    Code.NOT_LOCAL,
    Code.RATE_LIMITED,
    Code.HEADERS_TOO_LARGE,
    Code.LEDGER_UNAVAILABLE,
    Code.INTERNAL,
)

IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and request never make a second job, for a day.",
    "example": "order-4711",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
}

JobId = Annotated[str, Path(description="The job's id.", examples=["job_01kb0000000000000000000000"], max_length=100)]


FILES: Final[dict[str, Any]] = {"video/mp4": {}, "image/webp": {}, "application/json": {}}
"""What a file of a job's may be."""

ARTIFACT_OF: Final = {
    **{artifact.value: artifact for artifact in Artifact},
    "thumbnail": Artifact.POSTER,
    "spritesheet": Artifact.PREVIEW,
}
"""What each word for a variant means; two of them are OpenAI's."""


class VideoList(TypedDict):
    """A page of jobs."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[
        list[VideoView], Field(description="The jobs of this page; with filters it may be short.", examples=[[]])
    ]
    has_more: Annotated[bool, Field(description="Whether there may be more behind `last_id`.", examples=[False])]
    first_id: Annotated[
        str | None, Field(description="The first job of this page.", examples=["job_01kb0000000000000000000001"])
    ]
    last_id: Annotated[
        str | None,
        Field(description="Give it as `after` for the next page.", examples=["job_01kb0000000000000000000000"]),
    ]


class EventList(TypedDict):
    """What has happened to a job."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[EventView], Field(description="Its job log, oldest first.", examples=[[]])]


class Deleted(TypedDict):
    """The answer to a delete."""

    id: Annotated[str, Field(description="The job's id.", examples=["job_01kb0000000000000000000000"])]
    object: Annotated[
        Literal["video.deleted"], Field(description="Always `video.deleted`.", examples=["video.deleted"])
    ]
    deleted: Annotated[bool, Field(description="Always true.", examples=[True])]


class RetryOrder(BaseModel):
    """How to repeat a job."""

    model_config = ConfigDict(extra="forbid")

    pay_again: Annotated[
        bool, Field(description="Buy another generation where none can be fetched.", examples=[False])
    ] = False


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Submit an order",
    responses={
        200: {
            "model": VideoView,
            "description": "Only with `dedupe`: the completed job of an identical order, `reused`; nothing was bought.",
        },
        202: {
            "model": VideoView,
            "description": "The job is in the ledger: it will end exactly once.",
            "headers": {
                name: {"description": told, "schema": {"type": "string"}}
                for name, told in {
                    "Location": "Where the job is.",
                    "Retry-After": "Seconds until there can be news.",
                    "Idempotency-Replayed": "`true` if this key made the job before.",
                }.items()
            },
        },
        **documented(
            Code.MALFORMED_BODY,
            Code.INVALID_REQUEST,
            Code.IDEMPOTENCY_CONFLICT,
            Code.ERASED,
            Code.TOO_LARGE,
            Code.UNSUPPORTED_MEDIA_TYPE,
            *COMMON,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/VideoOrder"}},
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/VideoForm"}},
            },
        },
        "parameters": [
            IDEMPOTENCY_KEY,
            PREFER,
        ],
    },
)
async def create(request: Request, parts: Needs, caller: Submits) -> Response:
    """Take an order as JSON or as a form. It is validated first; from then on the job ends exactly once."""
    wait_s = preferred_wait(request.headers, parts)
    order = await read_order(request, parts)
    answer = await submit_async(parts, caller, order, idempotency_key(request.headers))
    headers = {"location": f"/v1/videos/{answer.job_id}", "idempotency-replayed": str(answer.replayed).lower()}
    at_hand = Seen(answer.job, ordered(parts, order), answer.job.accepted_at) if answer.job is not None else None
    if wait_s is None and at_hand is not None:
        return await _told_async(parts, at_hand, HTTPStatus.ACCEPTED, headers)
    status = HTTPStatus.OK if answer.reused else HTTPStatus.ACCEPTED
    try:
        if wait_s is not None:
            await ended(parts, answer.job_id, within_s=wait_s)
            headers["preference-applied"] = f"wait={wait_s:g}"
        seen = await parts.service.seen_async(answer.job_id)
    except LedgerUnavailable:
        if at_hand is None:
            raise
        seen = at_hand  # it is accepted, whatever has become of Redis since
    return await _told_async(parts, seen, status, headers, reused=answer.reused)


def ordered(parts: Parts, order: VideoOrder) -> VideoRequest:
    """What the order means to the upstream, with this deployment's usual models."""
    return request_of(order, _usual(parts))


def _usual(parts: Parts) -> UsualModels:
    return UsualModels(parts.settings.api.default_model, parts.settings.api.default_image_model)


def submit(parts: Parts, caller: Caller, order: VideoOrder, key: str | None) -> Submission:
    """Submit an order to the service.

    Raises:
        Problem: it cannot be taken as it is, or whether it was taken is not known.
    """
    request = ordered(parts, order)
    _check(parts, caller, order, request, key)
    with _refusals_told(order, key):
        return parts.service.submit(request, _terms(caller, order, key))


async def submit_async(parts: Parts, caller: Caller, order: VideoOrder, key: str | None) -> Submission:
    """The same from the event loop; an order with pictures, which are large or elsewhere, goes by a thread."""
    request = ordered(parts, order)
    if order.wrongs or any(pictures_in(request.parameters)):
        return await run_in_threadpool(submit, parts, caller, order, key)
    with _refusals_told(order, key):
        return await parts.service.submit_async(request, _terms(caller, order, key))


def _terms(caller: Caller, order: VideoOrder, key: str | None) -> Terms:
    return Terms(tenant=caller.tenant, idempotency_key=key, deadline_s=order.deadline_s, reuse=order.dedupe is not None)


@contextmanager
def _refusals_told(order: VideoOrder, key: str | None) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        raise refused(in_their_words(error.errors, order)) from None
    except LedgerUnavailable as error:
        raise unsure_of_submit(has_key=key is not None) from error


def _check(parts: Parts, caller: Caller, order: VideoOrder, request: VideoRequest, key: str | None) -> None:
    """Refuse an order with all that is wrong at once; one that could be read and has good pictures the service judges.

    Raises:
        Problem: naming each field that has to change.
    """
    found = [*order.wrongs, *_wrong_pictures(parts, caller, order, request, key)]
    if not found:
        return
    told = set(map(_field, found))
    if "model" not in told:  # else all else would be judged by another model
        found += [wrong for wrong in _judged(parts, order, request) if _field(wrong) not in told]
    raise refused(found)


def _field(wrong: Wrong) -> str:
    return wrong.location.removeprefix("body.").partition(".")[0].partition("[")[0]


def _judged(parts: Parts, order: VideoOrder, request: VideoRequest) -> list[Wrong]:
    try:
        parts.service.judge(request)
    except InvalidRequest as error:
        return in_their_words(error.errors, order)
    return []


def _wrong_pictures(
    parts: Parts, caller: Caller, order: VideoOrder, request: VideoRequest, key: str | None
) -> list[Wrong]:
    """What is wrong with its pictures, unless it was taken before: a replay asks nothing of the world."""
    if parts.pictures is None or not any(pictures_in(request.parameters)):
        return []
    if key is not None and parts.service.is_known(key, tenant=caller.tenant):
        return []
    try:
        parts.pictures.check(request.parameters)
    except Problem as problem:
        fields = (FieldError(wrong.location.partition(".")[2], wrong.message) for wrong in problem.errors)
        return in_their_words(fields, order)
    return []


@router.get(
    "",
    summary="List jobs",
    responses={200: {"model": VideoList}, **documented(Code.INVALID_REQUEST, *COMMON)},
    openapi_extra={
        "parameters": [
            {
                "name": "metadata",
                "in": "query",
                "required": False,
                "description": "Only jobs with these labels: `metadata[campaign]=spring`.",
                "style": "deepObject",
                "explode": True,
                "example": {"campaign": "spring"},
                "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        ]
    },
)
def list_videos(
    request: Request,
    parts: Needs,
    caller: Reads,
    *,
    after: Annotated[
        str | None,
        Query(description="The `last_id` of the page before.", examples=["job_01kb0000000000000000000000"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.", examples=[20])] = 20,
    order: Annotated[
        Literal["asc", "desc"], Query(description="By the time of acceptance.", examples=["desc"])
    ] = "desc",
    status: Annotated[
        list[Status] | None, Query(description="Only these; give it several times for more.", examples=[["failed"]])
    ] = None,
    model: Annotated[str | None, Query(description="Only this model.", examples=["google/veo3"])] = None,
    created_from: Annotated[
        float | None, Query(description="Only jobs accepted then or later (epoch seconds).", examples=[1795000000])
    ] = None,
    created_before: Annotated[
        float | None, Query(description="Only jobs accepted before then (epoch seconds).", examples=[1795086400])
    ] = None,
    ended_from: Annotated[
        float | None, Query(description="Only jobs that ended then or later (epoch seconds).", examples=[1795000000])
    ] = None,
) -> Response:
    """A page of jobs, newest first unless told otherwise."""
    if after is not None and not JOB_ID.fullmatch(after):
        raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names.", errors=[Wrong("query.after", "is no job id")])
    selection = Selection(
        status or (), model, _labels(request.query_params), created_from, created_before, caller.tenant, ended_from
    )
    page = parts.service.page(selection, limit=limit, after=after, newest_first=order == "desc")
    return JSONResponse(_page_view(parts, page))


@router.get(
    "/{job_id}",
    summary="Get a job",
    openapi_extra={"parameters": [PREFER]},
    responses={
        200: {"model": VideoView},
        304: {"description": "Nothing has changed since the `If-None-Match` tag."},
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
async def retrieve(job_id: JobId, request: Request, parts: Needs, caller: Reads) -> Response:
    """The job as it stands. `Retry-After` says when there can be news, `ETag` spares an answer that says the same."""
    asked, wait_s = request.headers.get("if-none-match"), preferred_wait(request.headers, parts)
    seen = await known_async(parts, caller, job_id)
    if wait_s is None:
        return await _told_async(parts, seen, HTTPStatus.OK, {}, asked=asked)
    await ended(parts, job_id, within_s=wait_s)
    seen, headers = await known_async(parts, caller, job_id), {"preference-applied": f"wait={wait_s:g}"}
    return await _told_async(parts, seen, HTTPStatus.OK, headers, asked=asked)


@router.post(
    "/{job_id}/cancel",
    summary="Call a job off",
    responses={
        200: {"model": VideoView, "description": "It is cancelled, or had ended before."},
        202: {
            "model": VideoView,
            "description": "It is being bought at this moment; it is cancelled when that is known.",
        },
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
def cancel(job_id: JobId, parts: Needs, caller: Submits) -> Response:
    """Before the purchase this is free. After it, `charged` says what was bought: it is not taken back."""
    known(parts, caller, job_id)
    answer = parts.service.cancel(job_id)
    status = HTTPStatus.ACCEPTED if answer.is_pending else HTTPStatus.OK
    return _told(parts, _seen(parts, job_id), status, {})


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Repeat an ended job",
    responses={
        202: {"model": VideoView, "description": "The new job; `retry_of` names the old one."},
        **documented(
            Code.NOT_FOUND,
            Code.ERASED,
            Code.NOT_ENDED,
            Code.HAS_ITS_VIDEO,
            Code.WOULD_PAY,
            Code.INVALID_REQUEST,
            Code.MALFORMED_BODY,
            Code.TOO_LARGE,
            *COMMON,
        ),
    },
)
def retry(job_id: JobId, parts: Needs, caller: Submits, order: Annotated[RetryOrder | None, Body()] = None) -> Response:
    """A new job with the same order. It is free where the generation may still be fetched; else it needs `pay_again`.

    Asking twice gives the same new job: a retry is never bought twice.
    """
    known(parts, caller, job_id)
    answer = parts.service.retry(job_id, pay_again=order is not None and order.pay_again)
    if answer.job_id is None:
        match answer.decision:
            case Retry.NOT_OVER:
                raise Problem(Code.NOT_ENDED, "It goes on by itself; wait for its end, or cancel it.")
            case Retry.HAS_ITS_VIDEO:
                raise Problem(Code.HAS_ITS_VIDEO, "There is nothing to repeat: get it from /content.")
            case Retry.WOULD_PAY:
                detail = 'No generation is left to fetch. Send {"pay_again": true} to buy another.'
                raise Problem(Code.WOULD_PAY, detail)
    assert answer.job_id is not None
    headers = {"location": f"/v1/videos/{answer.job_id}", "idempotency-replayed": str(answer.replayed).lower()}
    return _told(parts, _seen(parts, answer.job_id), HTTPStatus.ACCEPTED, headers)


@router.delete(
    "/{job_id}",
    summary="Erase an ended job",
    responses={
        200: {"model": Deleted},
        **documented(Code.NOT_FOUND, Code.NOT_ENDED, Code.ARCHIVE_UNAVAILABLE, Code.INVALID_REQUEST, *COMMON),
    },
)
def delete(job_id: JobId, parts: Needs, caller: Submits) -> Response:
    """Prompt, job log and files go for good; what it cost is kept. Asking twice is harmless."""
    check_id(job_id)
    try:
        parts.service.erase(job_id, tenant=caller.tenant)
    except StoreError as error:
        detail = f"The archive cannot be written from here ({error}); files of the job may be left."
        raise Problem(Code.ARCHIVE_UNAVAILABLE, detail) from error
    answer: Deleted = {"id": job_id, "object": "video.deleted", "deleted": True}
    return JSONResponse(answer)


@router.get(
    "/{job_id}/events",
    summary="What has happened to a job",
    openapi_extra={"parameters": [LAST_EVENT_ID]},
    responses={
        200: {
            "model": EventList,
            "description": "Its job log; or, if `text/event-stream` is accepted, a stream of it until the job ends.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "A stream was asked for, the job has ended and there is nothing left to tell."},
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
async def events(job_id: JobId, request: Request, parts: Needs, caller: Reads) -> Response:
    """Its journal: every edge and every poll, with time and reason. As JSON, or as server-sent events.

    A stream goes on after `Last-Event-ID`, says every now and then that it is alive, and ends with the job.
    """
    job = (await known_async(parts, caller, job_id)).job
    if "text/event-stream" not in request.headers.get("accept", ""):
        entries = await run_in_threadpool(parts.service.events, job_id)
        answer: EventList = {"object": "list", "data": [entry_view(entry) for entry in entries]}
        return JSONResponse(answer)
    after = last_event_id(request.headers)
    if job.is_final and not any(following(await run_in_threadpool(parts.service.events, job_id), after)):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return event_stream(parts, job_id, after=after)


@router.get(
    "/{job_id}/content",
    summary="The video itself",
    responses={
        200: {"content": FILES, "description": "All of it."},
        206: {"content": FILES, "description": "The range that was asked for."},
        304: {"description": "It is what the `If-None-Match` tag names."},
        **documented(
            Code.NOT_FOUND,
            Code.ERASED,
            Code.NOT_READY,
            Code.NO_VIDEO,
            Code.VARIANT_NOT_THERE,
            Code.RANGE_NOT_SATISFIABLE,
            Code.FILE_NOT_HERE,
            Code.ARCHIVE_UNAVAILABLE,
            Code.INVALID_REQUEST,
            *COMMON,
        ),
    },
)
@router.head("/{job_id}/content", include_in_schema=False)
def video_content(
    job_id: JobId,
    request: Request,
    parts: Needs,
    caller: Reads,
    variant: Annotated[
        Literal["video", "poster", "thumbnail", "preview", "spritesheet", "manifest"],
        Query(
            description="Which file; `thumbnail` and `spritesheet` are OpenAI's words for poster and preview.",
            examples=["video"],
        ),
    ] = "video",
) -> Response:
    """The stored video or what stands beside it; `Range` and `If-Range` are understood, the ETag is the SHA-256."""
    job, _ = known(parts, caller, job_id)
    artifact = ARTIFACT_OF[variant]
    return content(job, parts.store, request.headers, artifact, head_only=request.method == "HEAD")


# -- what the routes share -----------------------------------------------------------------------------------------


def known(parts: Parts, caller: Caller, job_id: str) -> tuple[Job, VideoRequest]:
    """The caller's job, if there is one; another tenant's is answered as if there were none."""
    check_id(job_id)
    return parts.service.get(job_id, tenant=caller.tenant)


async def known_async(parts: Parts, caller: Caller, job_id: str) -> Seen:
    """The same from the event loop, and when that was so."""
    check_id(job_id)
    return await parts.service.seen_async(job_id, tenant=caller.tenant)


def check_id(job_id: str) -> None:
    """What does not look like an id is not looked up."""
    if not JOB_ID.fullmatch(job_id):
        raise Problem(Code.NOT_FOUND, "There is no such job: ids look like job_01kb0000000000000000000000.")


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The caller's key; the ledger keeps those of each tenant apart."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        wrong = Wrong("header.Idempotency-Key", f"must be 1 to {LONGEST_KEY} visible ASCII characters")
        raise Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=[wrong])
    return key


def kind_of_body(request: Request) -> str:
    """The media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_order(request: Request, parts: Parts) -> VideoOrder:
    """The order in a request's body, JSON or form."""
    match kind_of_body(request):
        case "application/json":
            return await json_order(request)
        case "multipart/form-data" | "application/x-www-form-urlencoded" as kind:
            fields = await read_fields(request, kind, most_bytes=parts.settings.api.body_bytes)
            return await run_in_threadpool(order_from_form, fields, _usual(parts))
        case _:
            raise not_json()


def not_json() -> Problem:
    """The body is of a kind that is not read."""
    detail = "Send JSON with `Content-Type: application/json`, or a form as multipart/form-data."
    return Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers={"accept": "application/json"})


async def json_order(request: Request) -> VideoOrder:
    """The order in a JSON body."""
    body = await request.body()
    return order_from_json(body) if len(body) < QUICK_BYTES else await run_in_threadpool(order_from_json, body)


def _labels(query: Any) -> dict[str, str]:
    found = ((_LABEL.fullmatch(name), value) for name, value in query.multi_items())
    return {label[1]: value for label, value in found if label}


def _seen(parts: Parts, job_id: str) -> Seen:
    return Seen(*parts.service.get(job_id), parts.service.now())


def _told(
    parts: Parts,
    seen: Seen,
    status: HTTPStatus,
    headers: Mapping[str, str],
    *,
    asked: str | None = None,
    reused: bool = False,
) -> Response:
    """The job as an answer, with its tag, and when to ask again."""
    beside = parts.beside(seen.job, at=seen.at)
    view = job_view(seen.job, seen.request, replace(beside, reused=True) if reused else beside)
    body = json.dumps(view, ensure_ascii=False, separators=(",", ":")).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    told = {"etag": etag, "cache-control": "private, no-cache", **headers, **_next_news(parts, seen)}
    if status is HTTPStatus.OK and matches(asked, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=told)
    return Response(body, status, told, media_type="application/json")


async def _told_async(
    parts: Parts,
    seen: Seen,
    status: HTTPStatus,
    headers: Mapping[str, str],
    *,
    asked: str | None = None,
    reused: bool = False,
) -> Response:
    """The same from the event loop."""
    if _is_told_at_once(parts, seen):
        return _told(parts, seen, status, headers, asked=asked, reused=reused)
    return await run_in_threadpool(_told, parts, seen, status, headers, asked=asked, reused=reused)


def _is_told_at_once(parts: Parts, seen: Seen) -> bool:
    """Whether the answer is short, and needs neither the sketch of the job's kind nor signed links fetched first."""
    is_signed = seen.job.stored is not None and parts.settings.archive.links == "signed"
    is_long = any(pictures_in(seen.request.parameters))
    return not is_signed and not is_long and parts.service.has_eta_at_hand(seen.job, at=seen.at)


def _next_news(parts: Parts, seen: Seen) -> dict[str, str]:
    """When asking again can tell something new: after the next poll, and the last one of all is the end."""
    job = seen.job
    if job.is_final:
        return {}
    interval = parts.settings.poll.interval_s
    left = (job.due_at or 0.0) - seen.at if job.state is State.RENDERING else 1.0
    seconds = min(max(round(left + 0.5), 1), LONGEST_RETRY_AFTER_S)
    return {"retry-after": str(int(seconds)), "openai-poll-after-ms": str(int(min(interval, 5.0) * 1000))}


def _page_view(parts: Parts, page: Page) -> dict[str, Any]:
    jobs: Sequence[tuple[Job, VideoRequest]] = page.jobs
    ids = [job.id for job, _ in jobs]
    at = parts.service.now()
    return {
        "object": "list",
        "data": [job_view(job, request, parts.beside(job, at=at)) for job, request in jobs],
        "has_more": page.after is not None,
        "first_id": ids[0] if ids else None,
        "last_id": page.after or (ids[-1] if ids else None),
    }
