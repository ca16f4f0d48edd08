"""The API's error replies: RFC 9457 problems, each with a code from one list.

The extra member `error` has the shape of OpenAI's errors, for its clients. docs/reference/errors.md lists the codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from starlette.responses import JSONResponse
from typing_extensions import TypedDict

from jobs.job import Charged
from jobs.shorten import shorten

MEDIA_TYPE: Final = "application/problem+json"
MOST_NAMED: Final = 10
"""Invalid fields named in the one message for OpenAI's clients; `errors` has more."""
MOST_ERRORS: Final = 100
"""Invalid fields that a reply names in all: a small body with many bad fields must not become a large reply."""
LONGEST_TEXT: Final = 1000


class Code(StrEnum):
    """Every problem code. Codes are a contract; titles and details may change."""

    MALFORMED_BODY = "malformed_body"
    INVALID_REQUEST = "invalid_request"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_LOCAL = "not_local"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    NO_SUCH_ROUTE = "no_such_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    ERASED = "erased"
    CURSOR_TOO_OLD = "cursor_too_old"
    NOT_READY = "not_ready"
    NO_VIDEO = "no_video"
    VARIANT_NOT_THERE = "variant_not_there"
    FILE_NOT_HERE = "file_not_here"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    NOT_ENDED = "not_ended"
    HAS_ITS_VIDEO = "has_its_video"
    WOULD_PAY = "would_pay"
    ENDPOINT_DISABLED = "endpoint_disabled"
    TOO_LARGE = "too_large"
    INPUTS_FULL = "inputs_full"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    ARCHIVE_UNAVAILABLE = "archive_unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class _Kind:
    status: HTTPStatus
    title: str
    retryable: bool = False


KINDS: Final[Mapping[Code, _Kind]] = {
    Code.MALFORMED_BODY: _Kind(HTTPStatus.BAD_REQUEST, "The body cannot be read."),
    Code.INVALID_REQUEST: _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is invalid."),
    Code.IDEMPOTENCY_CONFLICT: _Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key was used for another request."
    ),
    Code.UNAUTHORIZED: _Kind(HTTPStatus.UNAUTHORIZED, "The request has no valid key."),
    Code.FORBIDDEN: _Kind(HTTPStatus.FORBIDDEN, "This key may not do that."),
    Code.NOT_LOCAL: _Kind(HTTPStatus.FORBIDDEN, "Keys are switched off, so only this machine is served."),
    Code.RATE_LIMITED: _Kind(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests.", retryable=True),
    Code.NOT_FOUND: _Kind(HTTPStatus.NOT_FOUND, "There is no resource with this id."),
    Code.NO_SUCH_ROUTE: _Kind(HTTPStatus.NOT_FOUND, "There is no route at this path."),
    Code.METHOD_NOT_ALLOWED: _Kind(HTTPStatus.METHOD_NOT_ALLOWED, "This path does not support the method."),
    Code.ERASED: _Kind(HTTPStatus.NOT_FOUND, "The job was erased."),
    Code.CURSOR_TOO_OLD: _Kind(HTTPStatus.GONE, "The event stream no longer reaches back to that cursor."),
    Code.NOT_READY: _Kind(HTTPStatus.CONFLICT, "The video is not there yet.", retryable=True),
    Code.NO_VIDEO: _Kind(HTTPStatus.CONFLICT, "The job ended without a video."),
    Code.VARIANT_NOT_THERE: _Kind(HTTPStatus.NOT_FOUND, "The video has no such variant."),
    Code.FILE_NOT_HERE: _Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "The video's file is missing from the archive."),
    Code.RANGE_NOT_SATISFIABLE: _Kind(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "The file is shorter than the range."
    ),
    Code.NOT_ENDED: _Kind(HTTPStatus.CONFLICT, "The job has not ended."),
    Code.HAS_ITS_VIDEO: _Kind(HTTPStatus.CONFLICT, "The job already has its video."),
    Code.WOULD_PAY: _Kind(HTTPStatus.CONFLICT, "A retry would buy another generation."),
    Code.ENDPOINT_DISABLED: _Kind(HTTPStatus.CONFLICT, "The webhook endpoint is disabled."),
    Code.TOO_LARGE: _Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large."),
    Code.INPUTS_FULL: _Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The pictures of your jobs take up all their room."),
    Code.HEADERS_TOO_LARGE: _Kind(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large."),
    Code.UNSUPPORTED_MEDIA_TYPE: _Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body's media type is not supported."),
    Code.TOO_MANY_CONNECTIONS: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.", retryable=True),
    Code.LEDGER_UNAVAILABLE: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Redis is unavailable.", retryable=True),
    Code.ARCHIVE_UNAVAILABLE: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The archive is unavailable.", retryable=True),
    Code.INTERNAL: _Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Rushes failed internally."),
}


class FieldProblem(TypedDict):
    """One part of a request to correct."""

    location: Annotated[
        str, Field(description="`body.…`, `query.…`, `header.…` or `path.…`.", examples=["body.duration"])
    ]
    message: Annotated[str, Field(description="What is allowed.", examples=["must be one of 4, 6, 8; got 5"])]


class ErrorForOpenAI(TypedDict):
    """The same problem in the shape of OpenAI's errors: its official clients print `message` and read the rest."""

    message: Annotated[
        str,
        Field(description="The invalid fields, or what to do.", examples=["duration: must be one of 4, 6, 8"]),
    ]
    type: Annotated[
        Literal["invalid_request_error", "rate_limit_error", "server_error"],
        Field(description="OpenAI's class of error.", examples=["invalid_request_error"]),
    ]
    code: Annotated[Code, Field(description="The problem's `code`.", examples=["invalid_request"])]
    param: Annotated[str | None, Field(description="The first invalid field, if any.", examples=["duration"])]


class ProblemView(TypedDict):
    """An RFC 9457 problem that OpenAI's official clients can read too."""

    type: Annotated[str, Field(description="The problem type's URI.", examples=["urn:rushes:problem:invalid_request"])]
    title: Annotated[str, Field(description="The problem type in one sentence.", examples=["The request is invalid."])]
    status: Annotated[int, Field(description="The HTTP status.", examples=[422])]
    detail: Annotated[
        str, Field(description="What to do.", examples=["Correct the fields in `errors`; nothing was submitted."])
    ]
    instance: Annotated[str, Field(description="The requested path.", examples=["/v1/videos"])]
    code: Annotated[Code, Field(description="The problem type, for programs.", examples=["invalid_request"])]
    retryable: Annotated[
        bool, Field(description="Whether the same request is safe to repeat and may succeed later.", examples=[False])
    ]
    charged: Annotated[Charged, Field(description="Whether the upstream charged for this request.", examples=["no"])]
    errors: Annotated[
        list[FieldProblem],
        Field(
            description="The parts of the request to correct, up to a hundred; may be empty.",
            examples=[[{"location": "body.duration", "message": "must be one of 4, 6, 8; got 5"}]],
        ),
    ]
    request_id: Annotated[
        str, Field(description="The request's id in the API's logs.", examples=["req_01kb0000000000000000000000"])
    ]
    error: Annotated[
        ErrorForOpenAI,
        Field(
            description="The same problem for OpenAI's official clients.",
            examples=[
                {
                    "message": "duration: must be one of 4, 6, 8; got 5",
                    "type": "invalid_request_error",
                    "code": "invalid_request",
                    "param": "duration",
                }
            ],
        ),
    ]


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """What is wrong with one part of a request. Callers' words may be in it, so it is cut and made valid UTF-8."""

    location: str
    message: str

    def __post_init__(self) -> None:
        """Cut both texts and replace what UTF-8 cannot encode."""
        for name in ("location", "message"):
            text = getattr(self, name)[:LONGEST_TEXT]
            object.__setattr__(self, name, text.encode(errors="replace").decode())

    @property
    def field(self) -> str:
        """The part's own name: `duration` for `body.duration`."""
        return str(shorten(self.location.partition(".")[2] or self.location))


class BrokenOff(Exception):
    """A reply that has begun is not to be finished; the message is for the log."""


class Problem(Exception):
    """The request is refused; the exception handler turns this into the reply."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: Sequence[ErrorDetail] = (),
        headers: Mapping[str, str] | None = None,
        retryable: bool | None = None,
        charged: Charged = Charged.NO,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors[:MOST_ERRORS])
        self._found = len(errors)
        self.headers = dict(headers or {})
        self.retryable = KINDS[code].retryable if retryable is None else retryable
        self.charged = charged

    @property
    def message(self) -> str:
        """Name the invalid fields with their errors, or say what to do if there are none."""
        named = [f"{error.field}: {error.message}" for error in self.errors[:MOST_NAMED]]
        left = self._found - len(named)
        return "; ".join([*named, *([f"and {left} more"] if left else [])]) or self.detail

    def view(self, *, path: str, request_id: str) -> ProblemView:
        """Return the problem as plain JSON."""
        kind = KINDS[self.code]
        return {
            "type": f"urn:rushes:problem:{self.code}",
            "title": kind.title,
            "status": kind.status.value,
            "detail": self.detail,
            "instance": path,
            "code": self.code,
            "retryable": self.retryable,
            "charged": self.charged,
            "errors": [{"location": shorten(error.location), "message": error.message} for error in self.errors],
            "request_id": request_id,
            "error": {
                "message": self.message,
                "type": _openai_type(kind.status),
                "code": self.code,
                "param": self.errors[0].field if self.errors else None,
            },
        }

    def response(self, *, path: str, request_id: str) -> JSONResponse:
        """Build the reply on `/v1`."""
        # Without x-should-retry OpenAI's clients repeat some refusals by themselves.
        headers = {"x-should-retry": str(self.retryable).lower(), "cache-control": "no-store", **self.headers}
        body = self.view(path=path, request_id=request_id)
        return JSONResponse(body, body["status"], headers=headers, media_type=MEDIA_TYPE)


def _openai_type(status: HTTPStatus) -> Literal["invalid_request_error", "rate_limit_error", "server_error"]:
    """Map a status to OpenAI's class of error."""
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Describe a route's problems for OpenAPI."""
    by_status: dict[int, list[Code]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(KINDS[code].status.value, []).append(code)
    return {
        status: {
            "description": " ".join(f"`{code}`: {KINDS[code].title}" for code in listed),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}},
        }
        for status, listed in sorted(by_status.items())
    }
