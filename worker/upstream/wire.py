"""The upstream's words: replies become facts here, and nowhere else are its field names known.

Source: the AI/ML API documentation of August 2026 (video generations, errors) and live bodies published by others.
Where they disagree, both are read.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from jobs.facts import (
    Accepted,
    Finished,
    LogRow,
    NotBought,
    Pending,
    Receipt,
    Refused,
    Rejected,
    Sighting,
    Unknown,
    Unreachable,
)
from jobs.forecast import Latency
from jobs.job import Family, Hold, Video

CREDITS_PER_USD: Final = 2_000_000
LOG_PATH: Final = "/v2/logs"
LOG_PAGE_LENGTH: Final = 100
LOG_PERIOD: Final = "24h"
PATHS: Final[Mapping[Family, str]] = {
    Family.UNIVERSAL: "/v2/video/generations",
    Family.GOOGLE: "/v2/generate/video/google/generation",
}
METRICS_PATH: Final = "/models/metrics"
METRICS_MODEL: Final = "aliases"
REQUEST_ID_HEADER: Final = "X-Client-Request-Id"

_LONGEST_MESSAGE: Final = 500
_QUANTILES: Final = ("p50", "p75", "p90", "p99")
_DONE: Final = "completed"
_BROKEN: Final = frozenset({"error", "failed"})
_FORBIDDEN_KINDS: Final = {  # the upstream's own spelling
    "err_insufficent_credits": Hold.OUT_OF_CREDITS,
    "err_unverified_card": Hold.UNVERIFIED,
}
# A proxy's or server's word that it stopped listening: the request may still have been taken.
_PROVES_NOTHING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, 499})


def read_receipt(status: int, headers: Mapping[str, str], body: bytes) -> Receipt:
    """What the reply to a purchase proves. `headers` has lower-case names; an unreadable body is b""."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _acceptance(headers, _object(body))
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PROVES_NOTHING:
        said = _error_message(status, body)
        hold = _hold(status, body)
        return Rejected(said) if hold is None else NotBought(hold, said, retry_after_s(headers))
    return Unknown(f"the upstream answered {_error_message(status, body)}")


def read_sighting(status: int, headers: Mapping[str, str], body: bytes) -> Sighting:
    """What the reply to a look shows; whatever is not understood means: look again."""
    if status != HTTPStatus.OK:
        hold = _hold(status, body) or Hold.UNAVAILABLE
        return Unreachable(hold, _error_message(status, body), retry_after_s(headers))
    reply = _object(body)
    if reply is None:
        return Unreachable(Hold.UNAVAILABLE, f"200 with a body that is no JSON object: {_shortened(body)}")
    word = (_text(reply.get("status")) or "").strip().lower()
    if word == _DONE:
        video = _video(reply.get("video"))
        return Finished(video) if video else Unreachable(Hold.UNAVAILABLE, "completed, but without a video's URL")
    if word in _BROKEN:
        return Refused(_said(reply.get("error")) or _said(reply) or "the upstream gave no reason")
    return Pending(word[:40] or "no status")


def read_latency(body: bytes, model: str) -> Latency | None:
    """How long a model takes by the upstream's public metrics, or None if they do not say it plainly."""
    models = (_object(body) or {}).get("models")
    for entry in models if isinstance(models, list) else ():
        metrics = entry.get("metrics") if isinstance(entry, dict) and entry.get("alias") == model else None
        durations = metrics.get("duration_ms") if isinstance(metrics, dict) else None
        if isinstance(durations, dict):
            return _quantiles([_number(durations.get(name)) for name in _QUANTILES])
    return None


def _quantiles(milliseconds: list[float | None]) -> Latency | None:
    known = [number / 1000 for number in milliseconds if number]
    rising = len(known) == len(milliseconds) and known == sorted(known)
    return Latency(*known) if rising else None


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of the upstream's request log, newest first; `oldest_at` is when its last line was written."""

    rows: tuple[LogRow, ...]
    oldest_at: float | None
    length: int
    has_more: bool


def read_log_page(status: int, headers: Mapping[str, str], body: bytes) -> LogPage | Unreachable:
    """One page of the request log; lines without our request id or a generation id are passed over."""
    reply = _object(body)
    lines = reply.get("data") if status == HTTPStatus.OK and reply else None
    if not isinstance(lines, list):
        return Unreachable(
            _hold(status, body) or Hold.UNAVAILABLE, _error_message(status, body), retry_after_s(headers)
        )
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
    return LogRow(request_id, generation_id, _number(cost.get("usd")) if isinstance(cost, dict) else None)


def _moment(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the reply asks us to wait (RFC 9110 §10.2.3: a number, or a date read against the reply's own)."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return _number(value)
    try:
        until, sent = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=UTC) - sent.replace(tzinfo=UTC)).total_seconds())


def _acceptance(headers: Mapping[str, str], reply: dict[str, Any] | None) -> Receipt:
    given = reply or {}
    generation_id = _identifier(given.get("id")) or _identifier(given.get("generation_id"))
    generation_id = generation_id or _identifier(headers.get("x-inference-id"))
    if generation_id is None:
        return Unknown("the upstream accepted the order but named no generation id")
    return Accepted(generation_id, _cost_usd(headers, given))


def _identifier(value: Any) -> str | None:
    fits = isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip()
    return str(value) if fits else None


def _cost_usd(headers: Mapping[str, str], reply: Mapping[str, Any]) -> float | None:
    meta = reply.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    told: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    usd = _first_number(told.get("usd_spent"), headers.get("x-aimlapi-usd-spent"))
    if usd is not None:
        return usd
    credits_used = _first_number(
        told.get("credits_used"), told.get("tokens_used"), headers.get("x-aimlapi-credits-used")
    )
    return None if credits_used is None else credits_used / CREDITS_PER_USD


def _first_number(*values: Any) -> float | None:
    return next((number for value in values if (number := _number(value)) is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def _video(value: Any) -> Video | None:
    """One `{url}` or an array of them; only a web address is a video."""
    items = value if isinstance(value, list) else [value]
    return next((video for item in items if (video := _one_video(item))), None)


def _one_video(value: Any) -> Video | None:
    if not isinstance(value, dict) or not _is_web_address(value.get("url")):
        return None
    size = value.get("file_size")
    return Video(
        value["url"],
        content_type=_text(value.get("content_type")),
        file_name=_text(value.get("file_name")),
        file_size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
    )


def _is_web_address(value: Any) -> bool:
    try:
        address = urlsplit(value) if isinstance(value, str) else None
    except ValueError:  # brackets that hold no IPv6 address
        return False
    return address is not None and address.scheme in {"http", "https"} and bool(address.hostname)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _hold(status: int, body: bytes) -> Hold | None:
    """Why a refusal is about us and not about the order, or None if it is about the order."""
    match status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Hold.THROTTLED
        case HTTPStatus.UNAUTHORIZED:
            return Hold.BAD_KEY
        case HTTPStatus.PAYMENT_REQUIRED:
            return Hold.OUT_OF_CREDITS
        case HTTPStatus.FORBIDDEN:
            return _FORBIDDEN_KINDS.get(_kind(body) or "", Hold.FORBIDDEN)
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED | HTTPStatus.TOO_EARLY | HTTPStatus.MISDIRECTED_REQUEST:
            return Hold.UNAVAILABLE
        case _:
            return None


def _kind(body: bytes) -> str | None:
    error = (_object(body) or {}).get("error")
    data = error.get("data") if isinstance(error, dict) else None
    return _text(data.get("kind")) if isinstance(data, dict) else None


def _error_message(status: int, body: bytes) -> str:
    reply = _object(body)
    said = _said(reply) if reply is not None else _shortened(body)
    return f"{status} {said}".strip()[:_LONGEST_MESSAGE]


def _said(value: Any) -> str:
    """The sentence inside any of the upstream's error shapes, fields and allowed values included."""
    if isinstance(value, str):
        return value[:_LONGEST_MESSAGE]
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    listed = inner.get("data") if isinstance(inner.get("data"), list) else inner.get("detail")
    fields = "; ".join(filter(None, map(_field_said, listed))) if isinstance(listed, list) else ""
    texts = (inner.get("message"), value.get("message"), error, inner.get("detail"), inner.get("name"))
    message = next((text for text in map(_text, texts) if text), None)
    return ": ".join(filter(None, [message, fields]))[:_LONGEST_MESSAGE]


def _field_said(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    where = item.get("path") or item.get("loc")
    place = ".".join(str(part) for part in where if isinstance(part, str | int)) if isinstance(where, list) else ""
    said = _text(item.get("message")) or _text(item.get("msg")) or ""
    return " ".join(filter(None, [place, said]))


def _shortened(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())[:120]


def _object(body: bytes) -> dict[str, Any] | None:
    """The JSON object, its text fit to be written down again: a lone surrogate escape becomes a question mark."""
    try:
        value = json.loads(body)
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
