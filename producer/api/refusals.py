"""Maps every error of a request to a problem, in one place, and to the format of its path."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jobs.errors import (
    Erased,
    IdempotencyConflict,
    InputNotKept,
    InputsFull,
    InvalidRequest,
    JobError,
    LedgerRefused,
    LedgerUnavailable,
    RushesError,
    UnknownEndpoint,
    UnknownJob,
    UnknownKey,
    UnreadableRow,
    WrongState,
)
from jobs.job import Charged
from producer.api.envelopes import envelope
from producer.api.problems import Code, ErrorDetail, Problem

_BY_STATUS: Final[Mapping[int, tuple[Code, str]]] = {
    HTTPStatus.NOT_FOUND: (Code.NO_SUCH_ROUTE, "/docs and /openapi.json list every route."),
    HTTPStatus.METHOD_NOT_ALLOWED: (Code.METHOD_NOT_ALLOWED, "The `Allow` header lists the supported methods."),
    HTTPStatus.BAD_REQUEST: (Code.MALFORMED_BODY, "The body is not what its content type says."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (Code.TOO_LARGE, "Send a smaller body; give large pictures by URL."),
}


log = logging.getLogger("rushes.api")

_BY_ERROR: Final[Mapping[type[RushesError], tuple[Code, str]]] = {  # the special before the general
    Erased: (Code.ERASED, "Its prompt and files were erased on request; only what it cost is kept."),
    UnknownJob: (Code.NOT_FOUND, "There is no such job, or it ended so long ago that its record has expired."),
    UnknownKey: (Code.NOT_FOUND, "There is no such key."),
    UnknownEndpoint: (Code.NOT_FOUND, "There is no such endpoint; GET /v1/webhooks lists all endpoints."),
    IdempotencyConflict: (
        Code.IDEMPOTENCY_CONFLICT,
        "{error}. Use a new Idempotency-Key for a new request, or send the same request again.",
    ),
    InputsFull: (
        Code.INPUTS_FULL,
        "{error}. Nothing was submitted. Wait until jobs complete, DELETE ended ones, or give pictures as https URLs.",
    ),
    InputNotKept: (Code.ARCHIVE_UNAVAILABLE, "{error}. Nothing was submitted; try again, or give https URLs."),
    UnreadableRow: (
        Code.LEDGER_UNAVAILABLE,
        "A newer version of Rushes wrote the job's row, and this one cannot read it: update the API.",
    ),
    LedgerRefused: (
        Code.LEDGER_UNAVAILABLE,
        "Redis takes nothing at the moment, and nothing was done; accepted jobs are not lost. Try again in a moment.",
    ),
    LedgerUnavailable: (
        Code.LEDGER_UNAVAILABLE,
        "Redis is unavailable; accepted jobs are not lost. Try again in a moment.",
    ),
    WrongState: (Code.NOT_ENDED, "{error}. Cancel it first, or wait for its end."),
}
_REPORTED: Final = (JobError, UnknownKey, UnknownEndpoint)
_LOST_RACE: Final = (Code.INTERNAL, "The job changed during this request; read it again.")


def refusal(problem: Problem, *, path: str, query: str, request_id: str) -> Response:
    """Build the reply to a refused request, in the format of its path."""
    if path.startswith("/v2/"):
        return envelope(problem, path=path, query=query)
    return problem.response(path=path, request_id=request_id)


def problem_of(error: JobError | UnknownKey | UnknownEndpoint) -> Problem:
    """Translate an error for the caller."""
    if isinstance(error, InvalidRequest):
        errors = [ErrorDetail(f"body.{field.field}", field.message) for field in error.errors]
        return Problem(Code.INVALID_REQUEST, "Correct the fields in `errors`; nothing was submitted.", errors=errors)
    note_outage(error)
    code, detail = next((problem for kind, problem in _BY_ERROR.items() if isinstance(error, kind)), _LOST_RACE)
    headers = {"retry-after": "2"} if code is Code.LEDGER_UNAVAILABLE else {}
    return Problem(code, detail.format(error=error), headers=headers)


def note_outage(error: Exception) -> None:
    """Tell the API's operator why callers are refused; the log drops repetitions."""
    if isinstance(error, LedgerUnavailable) and not isinstance(error, UnreadableRow):
        log.warning("requests are refused, as Redis cannot be used: %s", error)


def unsure_of_submit(*, has_key: bool) -> Problem:
    """Make the refusal for a submit that Redis did not answer: the job may exist."""
    detail = (
        "Redis did not answer, so the job may or may not have been accepted. Send the same request with the same "
        "Idempotency-Key again: it never makes a second job."
        if has_key
        else "Redis did not answer, so the job may or may not have been accepted. Check GET /v1/videos before you "
        "submit again, and send an Idempotency-Key next time: with one it is safe to repeat."
    )
    return Problem(
        Code.LEDGER_UNAVAILABLE,
        detail,
        retryable=has_key,
        charged=Charged.UNKNOWN,
        headers={"retry-after": "2"},
    )


def install(app: FastAPI) -> None:
    """Make the app reply to every error with a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _answer(request, error)

    async def on_job_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, _REPORTED)
        return _answer(request, problem_of(error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [ErrorDetail(_location(each), each["msg"]) for each in error.errors()]
        is_unread = any(each["loc"] == ("body",) for each in error.errors())
        is_json = "json" in request.headers.get("content-type", "")
        unread = "Send `Content-Type: application/json`: the body was not read."
        detail = unread if is_unread and not is_json else "Correct the fields in `errors`."
        return _answer(request, Problem(Code.INVALID_REQUEST, detail, errors=errors))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, detail = _BY_STATUS.get(error.status_code, (Code.INTERNAL, "The request cannot be served."))
        return _answer(request, Problem(code, detail, headers=dict(error.headers or {})))

    handlers: dict[type[Exception], Any] = {
        Problem: on_problem,
        **dict.fromkeys(_REPORTED, on_job_error),
        RequestValidationError: on_invalid,
        HTTPException: on_http,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _location(error: Mapping[str, Any]) -> str:
    """Name the invalid field; a syntax error in JSON belongs to the body, not to a field."""
    loc = error["loc"][:1] if error["type"] == "json_invalid" else error["loc"]
    return ".".join(map(str, loc))


def _answer(request: Request, problem: Problem) -> Response:
    url = request.url
    return refusal(problem, path=url.path, query=url.query, request_id=request.state.request_id)
