"""The formats of replies: JSON, the error envelopes of 2026 and 2025, a proxy's HTML page, a CDN's XML."""

import json
import uuid
from datetime import UTC, datetime

from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

NAMES = {
    400: ("Bad Request", "BadRequestException"),
    401: ("Unauthorized", "UnauthorizedException"),
    403: ("Forbidden", "ForbiddenException"),
    404: ("Not Found", "NotFoundException"),
    429: ("Too Many Requests", "ThrottlerException"),
    500: ("Internal Server Error", "InternalServerErrorException"),
    502: ("Bad Gateway", "BadGatewayException"),
    503: ("Service Unavailable", "ServiceUnavailableException"),
    504: ("Gateway Timeout", "GatewayTimeoutException"),
}


class Json(Response):
    """JSON in ASCII, so that any text from a client, lone surrogates included, can be sent back."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Serialize compactly."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class Problem(Json):
    """JSON with the content type of an error."""

    media_type = "application/problem+json"


def problem(scope: Scope, status: int, message: str, *, data: object = None) -> Response:
    """Build an error in the envelope of 2026."""
    title, name = NAMES[status]
    error: dict[str, object] = {"name": name, "message": message}
    if data is not None:
        error["data"] = data
    body = {
        "title": title,
        "status": status,
        "message": message,
        "instance": f"{scope['path']}?{scope['query_string'].decode('latin-1')}",
        "timestamp": timestamp(),
        "error": error,
    }
    return Problem(body, status)


def old_problem(scope: Scope, status: int, message: str) -> Response:
    """Build an error in the envelope of 2025, which the service still uses."""
    body = {
        "requestId": str(uuid.uuid4()),
        "statusCode": status,
        "timestamp": timestamp(),
        "path": scope["path"],
        "message": message,
    }
    return Json(body, status)


def html_error(status: int, title: str) -> Response:
    """Build the error page of a proxy in front of the service."""
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{status}: {title}</title></head>"
        f"<body><center><h1>Error {status}</h1><p>{title}</p></center><hr><center>proxy</center></body></html>\n"
    )
    return HTMLResponse(page, status)


def access_denied(status: int, code: str, message: str) -> Response:
    """Build a CDN's XML error."""
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>\n'
    return Response(page, status, media_type="application/xml")


def timestamp(at_ms: int | None = None) -> str:
    """Format a time (default: now) as the service does: ISO 8601 in UTC with milliseconds."""
    at = datetime.now(UTC) if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
