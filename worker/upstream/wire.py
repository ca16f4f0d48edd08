"""The upstream's wire format: here and in `polls.py` replies become facts; no other module knows its field names.

Source: the AI/ML API documentation of August 2026 (video generations, errors) and live bodies published by others.
Where they disagree, both are read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from jobs.facts import Accepted, LogRow, NoResult, NotBought, Receipt, Rejected, Unknown
from jobs.job import Family, Hold
from worker.upstream.replies import (
    cost_usd,
    error_message,
    hold_of,
    is_content_refusal,
    object_in,
    outcome_of_anything,
    price_usd,
    wait_asked_s,
)

LOG_PATH: Final = "/v2/logs"
LOG_PAGE_LENGTH: Final = 100
LOG_PERIOD: Final = "24h"
PATHS: Final[Mapping[Family, str]] = {
    Family.UNIVERSAL: "/v2/video/generations",
    Family.GOOGLE: "/v2/generate/video/google/generation",
}
BILLING_PATH: Final = "/v2/billing"
REQUEST_ID_HEADER: Final = "X-Client-Request-Id"

_LONGEST_ADDRESS: Final = 200
_LONGEST_ID: Final = 1024
# A proxy or server stopped reading: the request may still have been accepted.
_PROVES_NOTHING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, 499})
# "Ask there instead". 303 is not among them: it shows the result of what was done; 300, 304 and 305 answer no POST.
_ELSEWHERE: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)


@outcome_of_anything(Unknown)
def read_receipt(status: int, headers: Mapping[str, str], body: bytes) -> Receipt:
    """Read what the reply to a purchase proves. `headers` has lower-case names; an unreadable body is b""."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _acceptance(headers, object_in(body))
    if (moved := moved_to(status, headers)) and not _names_generation(headers, body):
        said = f"{status}: the address redirects to {moved}; set RUSHES_UPSTREAM__BASE_URL to the API's own"
        return NotBought(Hold.MISCONFIGURED, said, wait_asked_s(headers))
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PROVES_NOTHING:
        said, hold = error_message(status, body), hold_of(status, body)
        if hold in {None, Hold.FORBIDDEN} and is_content_refusal(object_in(body)):
            return Rejected(said, by_filter=True)
        return Rejected(said) if hold is None else NotBought(hold, said, wait_asked_s(headers))
    return Unknown(f"the upstream answered {error_message(status, body)}")


def _names_generation(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a redirect names a created generation, as those after a web form do."""
    is_named = isinstance(_acceptance(headers, object_in(body)), Accepted)
    return is_named or "generation_id" in headers.get("location", "")


def moved_to(status: int, headers: Mapping[str, str]) -> str | None:
    """Return the base URL that a redirect names, or its whole address if it has none of our paths; None: no redirect.

    A redirect without an address is none. User, query and fragment are left out: they may contain a secret.
    """
    location = headers.get("location", "").encode("latin-1", "replace").decode(errors="replace")
    if status not in _ELSEWHERE or not location.strip():
        return None
    bare = re.sub(r"(?<=//)[^/@?#]*@|[?#].*", "", location.strip())
    path = next((path for path in (*PATHS.values(), BILLING_PATH) if bare.rstrip("/").endswith(path)), "")
    shown = "".join(filter(str.isprintable, bare.rstrip("/").removesuffix(path)))
    return shown[:_LONGEST_ADDRESS] or "another path of the same host"


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of the upstream's request log, newest first; `oldest_at` is when its last line was written."""

    rows: tuple[LogRow, ...]
    oldest_at: float | None
    length: int
    has_more: bool


@outcome_of_anything(lambda why: NoResult(Hold.UNAVAILABLE, why))
def read_log_page(status: int, headers: Mapping[str, str], body: bytes) -> LogPage | NoResult:
    """Read one page of the request log; skip lines without our request id or a generation id."""
    reply = object_in(body)
    lines = reply.get("data") if status == HTTPStatus.OK and reply else None
    if not isinstance(lines, list):
        return NoResult(hold_of(status, body) or Hold.UNAVAILABLE, error_message(status, body), wait_asked_s(headers))
    pagination = (reply or {}).get("pagination")
    objects = [line for line in lines if isinstance(line, dict)]
    return LogPage(
        rows=tuple(row for line in objects if (row := _log_row(line))),
        oldest_at=min((at for line in objects if (at := _moment(line.get("created")))), default=None),
        length=len(lines),
        has_more=isinstance(pagination, dict) and pagination.get("has_more") is True,
    )


def _log_row(line: Mapping[str, Any]) -> LogRow | None:
    request_id, generation_id = _identifier(line.get("client_request_id")), _identifier(line.get("inference_id"))
    if request_id is None or generation_id is None:
        return None
    cost = line.get("cost")
    return LogRow(request_id, generation_id, price_usd(cost.get("usd")) if isinstance(cost, dict) else None)


def _moment(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _acceptance(headers: Mapping[str, str], reply: dict[str, Any] | None) -> Receipt:
    given = reply or {}
    generation_id = _identifier(given.get("id")) or _identifier(given.get("generation_id"))
    generation_id = generation_id or _identifier(headers.get("x-inference-id"))
    if generation_id is None:
        return Unknown("the upstream accepted the request but named no generation id")
    return Accepted(generation_id, cost_usd(headers, given))


def _identifier(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if text.strip() and len(text) <= _LONGEST_ID else None
