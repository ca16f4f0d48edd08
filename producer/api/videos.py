"""`/v1/videos`: jobs with the field names of OpenAI's Videos, and further fields of Rushes' own."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from config.store import StoreError
from jobs.artifacts import CONTENT_TYPES, Artifact
from jobs.errors import InvalidRequest, LedgerRefused, LedgerUnavailable
from jobs.job import Job, Terms, VideoRequest
from jobs.job_log import following
from jobs.moves.request import Retry
from jobs.states import State, Status
from producer.api.content import Reader, content, matches
from producer.api.create_video import (
    CreateVideo,
    DefaultModels,
    invalid_request,
    named_as_sent,
    parse_form,
    parse_json,
    to_video_request,
)
from producer.api.forms import read_fields
from producer.api.guard import Caller, GuardedRoute, Reads, Submits, admit, is_still_admitted, room_for_body
from producer.api.parsing import parse_apart, parse_quickly, read_json, submit_apart
from producer.api.parts import Needs, Parts
from producer.api.pictures import pictures_in
from producer.api.problems import Code, ErrorDetail, Problem, documented
from producer.api.refusals import note_outage, unsure_of_submit
from producer.api.streams import LAST_EVENT_ID, PREFER, event_stream, last_event_id, preferred_wait, wait_for_end
from producer.keys import Scope
from producer.queue_terms import seconds_until
from producer.service import MOST_READ, READ_AT_ONCE, Page, Seen, Selection, Submission
from producer.views import EventView, VideoView, entry_view, job_view

router = APIRouter(prefix="/v1/videos", tags=["videos"], route_class=GuardedRoute)

LONGEST_KEY: Final = 255
LONGEST_RETRY_AFTER_S: Final = 60.0
JOB_ID: Final = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
_LISTERS: Final = CapacityLimiter(2)
"""Threads that read lists: each computes, and the event loop waits for every one of them at each step of a request."""

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
    "description": "For a day, the same key with the same request never makes a second job.",
    "example": "order-4711",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
}

JobId = Annotated[str, Path(description="The job's id.", examples=["job_01kb0000000000000000000000"], max_length=100)]


FILES: Final[dict[str, Any]] = {"video/mp4": {}, **{content_type: {} for content_type in CONTENT_TYPES.values()}}
"""The media types of a job's files."""

ARTIFACT_OF: Final = {
    **{artifact.value: artifact for artifact in Artifact},
    "thumbnail": Artifact.POSTER,
    "spritesheet": Artifact.PREVIEW,
}
"""The artifact of each variant's name; two of the names are OpenAI's."""


class VideoList(TypedDict):
    """A page of jobs."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[VideoView], Field(description="The jobs; with filters a page may be short.", examples=[[]])]
    has_more: Annotated[bool, Field(description="Whether there may be more jobs after `last_id`.", examples=[False])]
    first_id: Annotated[
        str | None, Field(description="The first job of this page.", examples=["job_01kb0000000000000000000001"])
    ]
    last_id: Annotated[
        str | None,
        Field(description="Send it as `after` to get the next page.", examples=["job_01kb0000000000000000000000"]),
    ]


class EventList(TypedDict):
    """The events of a job so far."""

    object: Annotated[Literal["list"], Field(description="Always `list`.", examples=["list"])]
    data: Annotated[list[EventView], Field(description="The job log, oldest event first.", examples=[[]])]


class Deleted(TypedDict):
    """The answer to a delete."""

    id: Annotated[str, Field(description="The job's id.", examples=["job_01kb0000000000000000000000"])]
    object: Annotated[
        Literal["video.deleted"], Field(description="Always `video.deleted`.", examples=["video.deleted"])
    ]
    deleted: Annotated[bool, Field(description="Always true.", examples=[True])]


class RetryVideo(BaseModel):
    """How to repeat a job."""

    model_config = ConfigDict(extra="forbid")

    pay_again: Annotated[
        bool, Field(description="Buy another generation if the first cannot be fetched.", examples=[False])
    ] = False


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Create a video",
    responses={
        200: {
            "model": VideoView,
            "description": "With `dedupe`: the completed job of an identical request, `reused`; nothing was bought.",
        },
        202: {
            "model": VideoView,
            "description": "The job is in the ledger: it will end exactly once.",
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in {
                    "Location": "The job's URL.",
                    "Retry-After": "Seconds until the job can have changed.",
                    "Idempotency-Replayed": "`true` if an earlier request with this key made the job.",
                }.items()
            },
        },
        **documented(
            Code.MALFORMED_BODY,
            Code.INVALID_REQUEST,
            Code.IDEMPOTENCY_CONFLICT,
            Code.ERASED,
            Code.TOO_LARGE,
            Code.INPUTS_FULL,
            Code.ARCHIVE_UNAVAILABLE,
            Code.UNSUPPORTED_MEDIA_TYPE,
            *COMMON,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/CreateVideo"}},
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/CreateVideoForm"}},
            },
        },
        "parameters": [
            IDEMPOTENCY_KEY,
            PREFER,
        ],
    },
)
async def create(request: Request, parts: Needs, caller: Submits) -> Response:
    """Accept a request as JSON or as a form. Once it is validated and accepted, its job ends exactly once."""
    wait_s = preferred_wait(request.headers, parts)
    answer = await _submitted(request, parts, caller)
    headers = {"location": f"/v1/videos/{answer.job_id}", "idempotency-replayed": str(answer.replayed).lower()}
    accepted = Seen(answer.job, answer.request, answer.job.accepted_at) if answer.job and answer.request else None
    if wait_s is None and accepted is not None:
        return await _job_response_async(parts, accepted, HTTPStatus.ACCEPTED, headers)
    status = HTTPStatus.OK if answer.reused else HTTPStatus.ACCEPTED
    try:
        if wait_s is not None:
            with suppress(Problem):  # too many wait already, but this job is accepted: a refusal would be believed
                await wait_for_end(parts, answer.job_id, tenant=caller.tenant, within_s=wait_s)
                headers["preference-applied"] = f"wait={wait_s:g}"
        seen = await parts.service.seen_async(answer.job_id)
    except LedgerUnavailable:
        if accepted is None:
            raise
        seen = accepted  # Redis failed after it accepted the job
    return await _job_response_async(parts, seen, status, headers, reused=answer.reused)


async def _submitted(request: Request, parts: Parts, caller: Caller) -> Submission:
    """Read a body and submit it; afterwards it is in nobody's memory, however long the reply waits."""
    key = idempotency_key(request.headers)
    async with room_for_body(request, caller):
        return await submit_async(parts, caller, await read_body(request, parts), key)


def default_models(parts: Parts) -> DefaultModels:
    """Return this deployment's models for requests that name none."""
    return DefaultModels(parts.settings.api.default_model, parts.settings.api.default_image_model)


async def submit_async(parts: Parts, caller: Caller, body: CreateVideo, key: str | None) -> Submission:
    """Submit a request to the service; its pictures are checked in threads of their own.

    Raises:
        Problem: the request is invalid, or whether it was accepted is not known.
    """
    defaults, is_heavy = default_models(parts), body.is_heavy
    request = await submit_apart(to_video_request, body, defaults) if is_heavy else to_video_request(body, defaults)
    found = [*body.errors, *await _picture_errors(parts, caller, body, request, key)]
    if found:
        raise await run_in_threadpool(_refusal, parts, body, request, found)
    with _as_problems(body, key):
        if is_heavy:
            return await submit_apart(parts.service.submit, request, _terms(caller, body, key))
        return await parts.service.submit_async(request, _terms(caller, body, key))


def _terms(caller: Caller, body: CreateVideo, key: str | None) -> Terms:
    return Terms(
        tenant=caller.tenant,
        idempotency_key=key,
        deadline_s=body.deadline_s,
        due_in_s=seconds_until(body.not_before),
        queue_ttl_s=body.queue_ttl_s,
        priority=body.priority,
        reuse=body.dedupe is not None,
        traceparent=caller.traceparent,
    )


@contextmanager
def _as_problems(body: CreateVideo, key: str | None) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        raise invalid_request(named_as_sent(error.errors, body)) from None
    except LedgerRefused:
        raise
    except LedgerUnavailable as error:
        note_outage(error)
        raise unsure_of_submit(has_key=key is not None) from error


def _refusal(parts: Parts, body: CreateVideo, request: VideoRequest, found: Sequence[ErrorDetail]) -> Problem:
    """Make the refusal of a request with unreadable fields or bad pictures; it names the other errors too."""
    fields = set(map(_field, found))
    if "model" in fields:  # the other fields would be validated for another model
        return invalid_request(found)
    others = (error for error in _validation_errors(parts, body, request) if _field(error) not in fields)
    return invalid_request([*found, *others])


def _field(error: ErrorDetail) -> str:
    return error.location.removeprefix("body.").partition(".")[0].partition("[")[0]


def _validation_errors(parts: Parts, body: CreateVideo, request: VideoRequest) -> list[ErrorDetail]:
    try:
        parts.service.validate(request)
    except InvalidRequest as error:
        return named_as_sent(error.errors, body)
    return []


async def _picture_errors(
    parts: Parts, caller: Caller, body: CreateVideo, request: VideoRequest, key: str | None
) -> list[ErrorDetail]:
    """Check the request's pictures, unless its key made a job before: a replay fetches nothing."""
    if parts.pictures is None or not any(pictures_in(request.parameters)):
        return []
    if key is not None and await run_in_threadpool(parts.service.is_known, key, tenant=caller.tenant):
        return []
    found = await parts.pictures.check(request.parameters, tenant=caller.tenant)
    return named_as_sent(found, body)


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
async def list_videos(
    request: Request,
    parts: Needs,
    caller: Reads,
    *,
    after: Annotated[
        str | None,
        Query(description="The `last_id` of the previous page.", examples=["job_01kb0000000000000000000000"]),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The largest number of jobs.", examples=[20])] = 20,
    order: Annotated[
        Literal["asc", "desc"], Query(description="Sort by the time of acceptance.", examples=["desc"])
    ] = "desc",
    status: Annotated[
        list[Status] | None, Query(description="Only these statuses; repeat it for more.", examples=[["failed"]])
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
    """List jobs, newest first by default, one page at a time."""
    if after is not None and not JOB_ID.fullmatch(after):
        errors = [ErrorDetail("query.after", "is not a job id")]
        raise Problem(Code.INVALID_REQUEST, "Correct the query.", errors=errors)
    selection = Selection(
        status or (), model, _labels(request.query_params), created_from, created_before, caller.tenant, ended_from
    )
    page = await _page(request, parts, selection, limit=limit, after=after, newest_first=order == "desc")
    return await to_thread.run_sync(lambda: JSONResponse(_page_view(parts, page)), limiter=_LISTERS)


async def _page(
    request: Request, parts: Parts, selection: Selection, *, limit: int, after: str | None, newest_first: bool
) -> Page:
    """Read a page; each 100 jobs are charged as one request, and where the quota ends, the page ends."""
    jobs: list[tuple[Job, VideoRequest]] = []
    for _ in range(0, MOST_READ, READ_AT_ONCE):
        read = partial(
            parts.service.page,
            selection,
            limit=limit - len(jobs),
            after=after,
            newest_first=newest_first,
            most_read=READ_AT_ONCE,
        )
        page = await to_thread.run_sync(read, limiter=_LISTERS)
        jobs, after = [*jobs, *page.jobs], page.after
        if not page.is_cut or not await _may_read_on(request, parts):
            break
    return Page(jobs, after)


async def _may_read_on(request: Request, parts: Parts) -> bool:
    try:
        await admit(request, parts, Scope.READ)
    except Problem:
        return False
    return True


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
    """The job as it is now. `Retry-After` says when it can have changed; `If-None-Match` spares an unchanged reply."""
    asked, wait_s = request.headers.get("if-none-match"), preferred_wait(request.headers, parts)
    seen = await known_async(parts, caller, job_id)
    if wait_s is None:
        return await _job_response_async(parts, seen, HTTPStatus.OK, {}, asked=asked, placed=True)
    await wait_for_end(parts, job_id, tenant=caller.tenant, within_s=wait_s)
    if not await is_still_admitted(request, parts, Scope.READ):
        raise Problem(Code.UNAUTHORIZED, "This key was revoked, or has expired, while the reply waited.")
    seen, headers = await known_async(parts, caller, job_id), {"preference-applied": f"wait={wait_s:g}"}
    return await _job_response_async(parts, seen, HTTPStatus.OK, headers, asked=asked)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses={
        200: {"model": VideoView, "description": "The job is cancelled, or had ended before."},
        202: {
            "model": VideoView,
            "description": "A purchase is under way; the job is cancelled when its outcome is known.",
        },
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
def cancel(job_id: JobId, parts: Needs, caller: Submits) -> Response:
    """Free before the purchase. After it the upstream refunds nothing; `charged` says whether it cost money."""
    known(parts, caller, job_id)
    answer = parts.service.cancel(job_id)
    status = HTTPStatus.ACCEPTED if answer.is_pending else HTTPStatus.OK
    return _job_response(parts, _seen(parts, job_id), status, {})


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
def retry(job_id: JobId, parts: Needs, caller: Submits, body: Annotated[RetryVideo | None, Body()] = None) -> Response:
    """Make a new job with the same request. It is free if the generation can still be fetched, else needs `pay_again`.

    A second retry returns the same new job: nothing is bought twice.
    """
    known(parts, caller, job_id)
    answer = parts.service.retry(job_id, pay_again=body is not None and body.pay_again)
    if answer.job_id is None:
        match answer.decision:
            case Retry.NOT_OVER:
                raise Problem(Code.NOT_ENDED, "Wait for the job's end, or cancel it.")
            case Retry.HAS_ITS_VIDEO:
                raise Problem(Code.HAS_ITS_VIDEO, "There is nothing to retry: get the video from /content.")
            case Retry.WOULD_PAY:
                detail = 'No generation is left to fetch. Send {"pay_again": true} to buy another.'
                raise Problem(Code.WOULD_PAY, detail)
    assert answer.job_id is not None
    headers = {"location": f"/v1/videos/{answer.job_id}", "idempotency-replayed": str(answer.replayed).lower()}
    return _job_response(parts, _seen(parts, answer.job_id), HTTPStatus.ACCEPTED, headers)


@router.delete(
    "/{job_id}",
    summary="Erase an ended job",
    responses={
        200: {"model": Deleted},
        **documented(Code.NOT_FOUND, Code.NOT_ENDED, Code.ARCHIVE_UNAVAILABLE, Code.INVALID_REQUEST, *COMMON),
    },
)
def delete(job_id: JobId, parts: Needs, caller: Submits) -> Response:
    """Delete the job's prompt, job log and files for good, and keep its cost. Deleting twice is harmless."""
    check_id(job_id)
    erase(parts, caller, job_id)
    answer: Deleted = {"id": job_id, "object": "video.deleted", "deleted": True}
    return JSONResponse(answer)


def erase(parts: Parts, caller: Caller, job_id: str) -> None:
    """Erase an ended job of the caller's.

    Raises:
        Problem: the archive cannot be written.
    """
    try:
        parts.service.erase(job_id, tenant=caller.tenant)
    except StoreError as error:
        detail = f"The API cannot write to the archive ({error}); some of the job's files may be left."
        raise Problem(Code.ARCHIVE_UNAVAILABLE, detail) from error


@router.get(
    "/{job_id}/events",
    summary="List or stream a job's events",
    openapi_extra={"parameters": [LAST_EVENT_ID]},
    responses={
        200: {
            "model": EventList,
            "description": "The job log; with `Accept: text/event-stream` a stream of it until the job ends.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The stream has no more events: the job has ended."},
        **documented(Code.NOT_FOUND, Code.ERASED, Code.INVALID_REQUEST, *COMMON),
    },
)
async def events(job_id: JobId, request: Request, parts: Needs, caller: Reads) -> Response:
    """Every change of state and every poll, with time and reason, as JSON or as server-sent events.

    What a queued job waits for comes last, as `job.waiting`: it is derived, and has the id of the event before it.
    A stream tells each change of it within seconds. It continues after `Last-Event-ID`, sends heartbeats, and ends
    with the job.
    """
    seen = await known_async(parts, caller, job_id)
    if "text/event-stream" not in request.headers.get("accept", ""):
        entries = await run_in_threadpool(parts.service.events, job_id, waiting=True)
        answer: EventList = {"object": "list", "data": [entry_view(entry) for entry in entries]}
        return JSONResponse(answer)
    after = last_event_id(request.headers)
    if seen.job.is_final and not any(following(await run_in_threadpool(parts.service.events, job_id), after)):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    is_admitted = partial(is_still_admitted, request, parts, Scope.READ)
    return event_stream(parts, seen, tenant=caller.tenant, after=after, is_admitted=is_admitted)


@router.get(
    "/{job_id}/content",
    summary="Download the video",
    responses={
        200: {"content": FILES, "description": "The whole file."},
        206: {"content": FILES, "description": "The requested range."},
        304: {"description": "The file still has the `If-None-Match` tag."},
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
        Literal[*ARTIFACT_OF],  # type: ignore[valid-type]  # mypy wants the words themselves; FastAPI reads them here
        Query(
            description="The file; `thumbnail` and `spritesheet` are OpenAI's names for poster and preview.",
            examples=["video"],
        ),
    ] = "video",
) -> Response:
    """The stored video, or an artifact of it. `Range` and `If-Range` are supported; the ETag is the SHA-256."""
    job, _ = known(parts, caller, job_id)
    artifact = ARTIFACT_OF[variant]
    is_admitted = partial(is_still_admitted, request, parts, Scope.READ)
    reader = Reader(parts.downloads.place(caller.tenant), is_admitted)
    return content(job, parts.store, request.headers, artifact, reader=reader, head_only=request.method == "HEAD")


# -- what the routes share -----------------------------------------------------------------------------------------


def known(parts: Parts, caller: Caller, job_id: str) -> tuple[Job, VideoRequest]:
    """Return the caller's job; another tenant's job counts as unknown."""
    check_id(job_id)
    return parts.service.get(job_id, tenant=caller.tenant)


async def known_async(parts: Parts, caller: Caller, job_id: str) -> Seen:
    """Read the caller's job from the event loop, with the time of the reading."""
    check_id(job_id)
    return await parts.service.seen_async(job_id, tenant=caller.tenant)


def check_id(job_id: str) -> None:
    """Refuse what does not look like an id without looking it up."""
    if not JOB_ID.fullmatch(job_id):
        raise Problem(Code.NOT_FOUND, "There is no such job: ids look like job_01kb0000000000000000000000.")


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Read the caller's idempotency key; each tenant has a namespace of its own."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        error = ErrorDetail("header.Idempotency-Key", f"must be 1 to {LONGEST_KEY} visible ASCII characters")
        raise Problem(Code.INVALID_REQUEST, "Correct the header; nothing was submitted.", errors=[error])
    return key


def kind_of_body(request: Request) -> str:
    """Read the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, parts: Parts) -> CreateVideo:
    """Parse a request's body, JSON or form."""
    match kind_of_body(request):
        case "application/json":
            return await read_json_body(request)
        case "multipart/form-data" | "application/x-www-form-urlencoded" as kind:
            fields = await read_fields(request, kind, most_bytes=parts.settings.body_bytes)
            return await parse_apart(parse_form, fields, default_models(parts))
        case _:
            raise not_json()


def not_json() -> Problem:
    """Make the refusal of an unsupported media type."""
    detail = "Send JSON with `Content-Type: application/json`, or a form as multipart/form-data."
    return Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers={"accept": "application/json"})


async def read_json_body(request: Request) -> CreateVideo:
    """Parse a JSON body."""
    return await parse_quickly(parse_json, await read_json(request))


def _labels(query: Any) -> dict[str, str]:
    found = ((_LABEL.fullmatch(name), value) for name, value in query.multi_items())
    return {label[1]: value for label, value in found if label}


def _seen(parts: Parts, job_id: str) -> Seen:
    return Seen(*parts.service.get(job_id), parts.service.now())


def _job_response(
    parts: Parts,
    seen: Seen,
    status: HTTPStatus,
    headers: Mapping[str, str],
    *,
    asked: str | None = None,
    reused: bool = False,
    placed: bool = False,
) -> Response:
    """Build the reply for a job, with its ETag and the time to poll again; `placed`: with its place in the queue."""
    beside = parts.beside(seen.job, at=seen.at, placed=placed)
    view = job_view(seen.job, seen.request, replace(beside, reused=True) if reused else beside)
    body = json.dumps(view, ensure_ascii=False, separators=(",", ":")).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    all_headers = {"etag": etag, "cache-control": "private, no-cache", **headers, **_poll_headers(parts, seen)}
    if status is HTTPStatus.OK and matches(asked, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=all_headers)
    return Response(body, status, all_headers, media_type="application/json")


async def _job_response_async(
    parts: Parts,
    seen: Seen,
    status: HTTPStatus,
    headers: Mapping[str, str],
    *,
    asked: str | None = None,
    reused: bool = False,
    placed: bool = False,
) -> Response:
    """Build the reply on the event loop if that is quick, else in a thread."""
    if _is_quick(parts, seen) and not (placed and seen.job.state is State.QUEUED):
        return _job_response(parts, seen, status, headers, asked=asked, reused=reused)
    respond = partial(_job_response, asked=asked, reused=reused, placed=placed)
    return await run_in_threadpool(respond, parts, seen, status, headers)


def _is_quick(parts: Parts, seen: Seen) -> bool:
    """Whether the reply needs no read from Redis (for the ETA) and no signed links."""
    is_signed = seen.job.stored is not None and parts.settings.archive.links == "signed"
    return not is_signed and parts.service.is_beside_at_hand(seen.job, at=seen.at)


def _poll_headers(parts: Parts, seen: Seen) -> dict[str, str]:
    """Say when the job can have changed: after the next poll of the upstream; nothing once it has ended."""
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
