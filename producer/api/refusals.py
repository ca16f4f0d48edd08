"""Every way in which a request can fail, mapped once to a problem, and to the body that its path speaks."""

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
    InvalidRequest,
    JobError,
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
from producer.api.problems import Code, Problem, Wrong

_BY_STATUS: Final[Mapping[int, tuple[Code, str]]] = {
    HTTPStatus.NOT_FOUND: (Code.NO_SUCH_ROUTE, "See /docs, or /openapi.json, for the addresses there are."),
    HTTPStatus.METHOD_NOT_ALLOWED: (Code.METHOD_NOT_ALLOWED, "The `Allow` header lists the methods there are."),
    HTTPStatus.BAD_REQUEST: (Code.MALFORMED_BODY, "The body is not what its content type says."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (Code.TOO_LARGE, "Send less, and give large pictures by URL."),
}


_BY_ERROR: Final[Mapping[type[RushesError], tuple[Code, str]]] = {  # the special before the general
    Erased: (Code.ERASED, "Its prompt and files were erased on request; only what it cost is kept."),
    UnknownJob: (Code.NOT_FOUND, "There is no such job, or it ended so long ago that it is forgotten."),
    UnknownKey: (Code.NOT_FOUND, "There is no such key."),
    UnknownEndpoint: (Code.NOT_FOUND, "There is no such endpoint; GET /v1/webhooks lists those there are."),
    IdempotencyConflict: (
        Code.IDEMPOTENCY_CONFLICT,
        "{error}. Use a new Idempotency-Key for a new request, or send the same request again.",
    ),
    UnreadableRow: (
        Code.LEDGER_UNAVAILABLE,
        "The job's row holds what this version of Rushes does not know, so it is left to a newer one: update the API.",
    ),
    LedgerUnavailable: (
        Code.LEDGER_UNAVAILABLE,
        "Redis cannot be asked just now; jobs that were accepted are not lost. Try again in a moment.",
    ),
    WrongState: (Code.NOT_ENDED, "{error}. Cancel it first, or wait for its end."),
}
_TOLD: Final = (JobError, UnknownKey, UnknownEndpoint)
_LOST_RACE: Final = (Code.INTERNAL, "The job moved while it was being changed; read it again.")


def refusal(problem: Problem, *, path: str, query: str, request_id: str) -> Response:
    """The answer to a request that cannot be served, in the form that its path speaks."""
    if path.startswith("/v2/"):
        return envelope(problem, path=path, query=query)
    return problem.response(path=path, request_id=request_id)


def problem_of(error: JobError | UnknownKey | UnknownEndpoint) -> Problem:
    """What an error of the ledger means to a caller."""
    if isinstance(error, InvalidRequest):
        wrongs = [Wrong(f"body.{told.field}", told.message) for told in error.errors]
        return Problem(Code.INVALID_REQUEST, "Mend what `errors` names; nothing was submitted.", errors=wrongs)
    code, detail = next((told for kind, told in _BY_ERROR.items() if isinstance(error, kind)), _LOST_RACE)
    headers = {"retry-after": "2"} if code is Code.LEDGER_UNAVAILABLE else {}
    return Problem(code, detail.format(error=error), headers=headers)


def unsure_of_submit(*, has_key: bool) -> Problem:
    """Redis did not answer in the middle of a submit: the job may be there."""
    detail = (
        "Redis did not answer, and the job may have been accepted all the same. Send the same request with the same "
        "Idempotency-Key again: it never makes a second job."
        if has_key
        else "Redis did not answer, and the job may have been accepted all the same. Check GET /v1/videos before you "
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
    """Have the app answer with problems whatever goes wrong."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _answer(request, error)

    async def on_job_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, _TOLD)
        return _answer(request, problem_of(error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrongs = [Wrong(_location(told), told["msg"]) for told in error.errors()]
        is_unread = any(told["loc"] == ("body",) for told in error.errors())
        is_json = "json" in request.headers.get("content-type", "")
        wish = "Send `Content-Type: application/json`: the body was not read."
        detail = wish if is_unread and not is_json else "Mend what `errors` names."
        return _answer(request, Problem(Code.INVALID_REQUEST, detail, errors=wrongs))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, detail = _BY_STATUS.get(error.status_code, (Code.INTERNAL, "The request cannot be served."))
        return _answer(request, Problem(code, detail, headers=dict(error.headers or {})))

    handlers: dict[type[Exception], Any] = {
        Problem: on_problem,
        **dict.fromkeys(_TOLD, on_job_error),
        RequestValidationError: on_invalid,
        HTTPException: on_http,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _location(told: Mapping[str, Any]) -> str:
    """Where a request is wrong; where its JSON breaks off is no field."""
    loc = told["loc"][:1] if told["type"] == "json_invalid" else told["loc"]
    return ".".join(map(str, loc))


def _answer(request: Request, problem: Problem) -> Response:
    url = request.url
    return refusal(problem, path=url.path, query=url.query, request_id=request.state.request_id)
