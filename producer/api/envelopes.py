"""A problem in the upstream's own envelope, for those who speak to `/v2`."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from producer.api.problems import KINDS, Code, Problem

_NAMES: Final = {
    HTTPStatus.BAD_REQUEST: "BadRequestException",
    HTTPStatus.UNAUTHORIZED: "UnauthorizedException",
    HTTPStatus.FORBIDDEN: "ForbiddenException",
    HTTPStatus.NOT_FOUND: "NotFoundException",
    HTTPStatus.TOO_MANY_REQUESTS: "ThrottlerException",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableException",
}


def envelope(problem: Problem, *, path: str, query: str) -> Response:
    """A problem as the upstream would tell it."""
    status = _upstream_status(problem.code)
    name = _NAMES.get(
        status, "InternalServerErrorException" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "HttpException"
    )
    error: dict[str, Any] = {"name": name, "message": problem.message}
    if problem.errors:
        error["data"] = [
            {"code": problem.code, "path": wrong.location.split(".")[1:], "message": wrong.message}
            for wrong in problem.errors
        ]
    body = {
        "title": status.phrase,
        "status": status.value,
        "message": problem.message,
        "instance": f"{path}?{query}",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "error": error,
    }
    headers = {"cache-control": "no-store", **problem.headers}
    return JSONResponse(body, status.value, headers, media_type="application/problem+json")


def _upstream_status(code: Code) -> HTTPStatus:
    """The upstream knows no 422: what cannot be taken as it is is a bad request there."""
    status = KINDS[code].status
    return HTTPStatus.BAD_REQUEST if status is HTTPStatus.UNPROCESSABLE_ENTITY else status
