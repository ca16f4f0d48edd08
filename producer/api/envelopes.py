"""A problem in the upstream's own error envelope, for callers of `/v2`."""

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
    """Build the reply that the upstream would send for this problem."""
    status = _upstream_status(problem.code)
    name = _NAMES.get(
        status, "InternalServerErrorException" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "HttpException"
    )
    error: dict[str, Any] = {"name": name, "message": problem.message}
    if problem.errors:
        error["data"] = [
            {"code": problem.code, "path": detail.location.split(".")[1:], "message": detail.message}
            for detail in problem.errors
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
    """Turn 422 into 400: the upstream has no 422."""
    status = KINDS[code].status
    return HTTPStatus.BAD_REQUEST if status is HTTPStatus.UNPROCESSABLE_ENTITY else status
