"""What every reply of the upstream is read with: its JSON, its two error envelopes, costs, waits, odd numbers."""

import functools
import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, ParamSpec, TypeVar

from jobs.job import Hold
from producer.client.retry_after import retry_after_s

log = logging.getLogger("rushes.upstream")

_LONGEST_MESSAGE: Final = 500
_DEAREST_USD: Final = 1_000_000
"""A larger cost is not one: it would not fit where costs are added up."""

_FORBIDDEN_KINDS: Final = {  # the upstream's own spelling
    "err_insufficent_credits": Hold.OUT_OF_CREDITS,
    "err_unverified_card": Hold.UNVERIFIED,
}
_ERROR_CODE_FIELDS: Final = ("type", "code", "kind", "reason", "name")
_GENERIC_CODE: Final = re.compile(r"([A-Z]\w*)?([Ee]rror|Exception)|\d*")
_ABOUT_CONTENT: Final = re.compile(
    r"content[ _-]?(polic|filter|moderat|violation|safety|restrict)"
    r"|safety([ _-]?(filter|system|polic|setting|guideline|check)|$)"
    r"|moderation|moderated|nsfw|responsible[ _-]?ai|\brai[ _]?(media|filter)|\bfiltered (by|due)"
    r"|(sensitive|prohibited|inappropriate|harmful|explicit|unsafe|disallowed)"
    r"[ _-]?(content|prompt|image|word|material)",
    re.IGNORECASE,
)
_ABOUT_THE_ACCOUNT: Final = re.compile(
    r"\b(account|api[ _-]?key|billing|card|credits?|plan|subscription)\b", re.IGNORECASE
)

P = ParamSpec("P")
Outcome = TypeVar("Outcome")
Other = TypeVar("Other")


CREDITS_PER_USD: Final = 2_000_000


def outcome_of_anything(
    otherwise: Callable[[str], Other],
) -> Callable[[Callable[P, Outcome]], Callable[P, Outcome | Other]]:
    """Make a reader that never raises: what nobody foresaw is logged, and gives `otherwise` of a sentence."""

    def safe(reader: Callable[P, Outcome]) -> Callable[P, Outcome | Other]:
        @functools.wraps(reader)
        def read(*args: P.args, **kwargs: P.kwargs) -> Outcome | Other:
            try:
                return reader(*args, **kwargs)
            except Exception as error:  # a stranger's data must not strand a paid job
                log.exception("a reply of the upstream could not be read")
                return otherwise(f"the upstream's reply could not be read ({type(error).__name__})")

        return read

    return safe


def wait_asked_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the reply asks us to wait."""
    return retry_after_s(headers, now=time.time())


def cost_usd(headers: Mapping[str, str], reply: Mapping[str, Any]) -> float | None:
    """What the reply says was charged, in US dollars; None if it says nothing plausible."""
    meta = reply.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    told: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    in_usd = (told.get("usd_spent"), headers.get("x-aimlapi-usd-spent"))
    in_credits = (told.get("credits_used"), told.get("tokens_used"), headers.get("x-aimlapi-credits-used"))
    prices = (*map(price_usd, in_usd), *(price_usd(value, CREDITS_PER_USD) for value in in_credits))
    return next((price for price in prices if price is not None), None)


def price_usd(value: Any, units_per_usd: int = 1) -> float | None:
    """A plausible price in US dollars, or None."""
    number = number_or_none(value)
    return number / units_per_usd if number is not None and number / units_per_usd <= _DEAREST_USD else None


def number_or_none(value: Any) -> float | None:
    """A finite number that is not negative, given as a number or as text; or None."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def text_or_none(value: Any) -> str | None:
    """The value if it is text."""
    return value if isinstance(value, str) else None


def hold_of(status: int, body: bytes) -> Hold | None:
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
    error = (object_in(body) or {}).get("error")
    data = error.get("data") if isinstance(error, dict) else None
    return text_or_none(data.get("kind")) if isinstance(data, dict) else None


def is_content_refusal(reply: Mapping[str, Any] | None) -> bool:
    """Whether an error blames the content: by its code fields, or by its sentence if it has no code of its own."""
    codes = list(_codes_in(reply))
    if any(map(_ABOUT_CONTENT.search, codes)):
        return True
    if not all(map(_GENERIC_CODE.fullmatch, codes)):
        return False
    said = reason_in(reply)
    return bool(_ABOUT_CONTENT.search(said)) and not _ABOUT_THE_ACCOUNT.search(said)


def _codes_in(reply: Any) -> Iterator[str]:
    """The code fields of an error, of what it holds, and of its details."""
    if isinstance(reply, list):
        for item in reply:
            yield from _codes_in(item)
    elif isinstance(reply, dict):
        yield from (code for name in _ERROR_CODE_FIELDS if (code := text_or_none(reply.get(name))))
        for inner in ("error", "data", "detail"):
            yield from _codes_in(reply.get(inner))


def error_message(status: int, body: bytes) -> str:
    """The status and the upstream's sentence, short enough for a row."""
    reply = object_in(body)
    said = reason_in(reply) if reply is not None else shortened(body)
    return f"{status} {said}".strip()[:_LONGEST_MESSAGE]


def reason_in(value: Any) -> str:
    """The sentence inside any of the upstream's error shapes, fields and allowed values included."""
    if isinstance(value, str):
        return value[:_LONGEST_MESSAGE]
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    if isinstance(error, list):
        error = {"detail": error}
    inner = error if isinstance(error, dict) else value
    listed = inner.get("data") if isinstance(inner.get("data"), list) else inner.get("detail")
    fields = "; ".join(filter(None, map(_field_reason, listed))) if isinstance(listed, list) else ""
    texts = (inner.get("message"), value.get("message"), error, inner.get("detail"), inner.get("name"))
    message = next((text for text in map(text_or_none, texts) if text), None)
    return ": ".join(filter(None, [message, fields]))[:_LONGEST_MESSAGE]


def _field_reason(item: Any) -> str:
    if not isinstance(item, dict):
        return text_or_none(item) or ""
    where = item.get("path") or item.get("loc")
    place = ".".join(str(part) for part in where if isinstance(part, str | int)) if isinstance(where, list) else ""
    said = text_or_none(item.get("message")) or text_or_none(item.get("msg")) or ""
    return " ".join(filter(None, [place, said]))


def shortened(body: bytes) -> str:
    """The beginning of a body in one line."""
    return " ".join(body[:200].decode("utf-8", "replace").split())[:120]


def object_in(body: bytes) -> dict[str, Any] | None:
    """The JSON object, its text fit to be written down again: a lone surrogate escape becomes a question mark."""
    try:
        value = _json(body)
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json(body: bytes) -> Any:
    """The JSON value; bytes that are no UTF-8 are read as Latin-1, which a message of a vendor's may be in."""
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        return json.loads(body.decode("latin-1"))
