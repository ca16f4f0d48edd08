"""Reads the common parts of the upstream's replies: JSON, its two error envelopes, costs, waits, odd numbers."""

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
"""A larger cost is ignored: it would overflow sums."""

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
    """Make a reader that never raises: it logs an unforeseen error, and returns `otherwise` of a sentence."""

    def safe(reader: Callable[P, Outcome]) -> Callable[P, Outcome | Other]:
        @functools.wraps(reader)
        def read(*args: P.args, **kwargs: P.kwargs) -> Outcome | Other:
            try:
                return reader(*args, **kwargs)
            except Exception as error:  # odd data must not strand a paid job
                log.exception("a reply of the upstream could not be read")
                return otherwise(f"the upstream's reply could not be read ({type(error).__name__})")

        return read

    return safe


def wait_asked_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the reply asks us to wait."""
    return retry_after_s(headers, now=time.time())


def cost_usd(headers: Mapping[str, str], reply: Mapping[str, Any]) -> float | None:
    """Return the reply's charge in US dollars; None if it states nothing plausible."""
    meta = reply.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    stated: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    in_usd = (stated.get("usd_spent"), headers.get("x-aimlapi-usd-spent"))
    in_credits = (stated.get("credits_used"), stated.get("tokens_used"), headers.get("x-aimlapi-credits-used"))
    prices = (*map(price_usd, in_usd), *(price_usd(value, CREDITS_PER_USD) for value in in_credits))
    return next((price for price in prices if price is not None), None)


def price_usd(value: Any, units_per_usd: int = 1) -> float | None:
    """Return a plausible price in US dollars, or None."""
    number = number_or_none(value)
    return number / units_per_usd if number is not None and number / units_per_usd <= _DEAREST_USD else None


def number_or_none(value: Any) -> float | None:
    """Return a finite number that is not negative, from a number or text; else None."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def text_or_none(value: Any) -> str | None:
    """Return the value if it is text."""
    return value if isinstance(value, str) else None


def hold_of(status: int, body: bytes) -> Hold | None:
    """Return why a refusal is about our account, or None if it is about the request."""
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
    """Yield the code fields of an error, of its nested error, and of its details."""
    if isinstance(reply, list):
        for item in reply:
            yield from _codes_in(item)
    elif isinstance(reply, dict):
        yield from (code for name in _ERROR_CODE_FIELDS if (code := text_or_none(reply.get(name))))
        for inner in ("error", "data", "detail"):
            yield from _codes_in(reply.get(inner))


def error_message(status: int, body: bytes) -> str:
    """Return the status and the upstream's sentence, short enough for a row."""
    reply = object_in(body)
    said = reason_in(reply) if reply is not None else shortened(body)
    return f"{status} {said}".strip()[:_LONGEST_MESSAGE]


def reason_in(value: Any) -> str:
    """Return the sentence in any of the upstream's error shapes, with fields and allowed values."""
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
    """Return the beginning of a body in one line."""
    return " ".join(body[:200].decode("utf-8", "replace").split())[:120]


def object_in(body: bytes) -> dict[str, Any] | None:
    """Parse a JSON object; a lone surrogate escape becomes a question mark, so that it can be serialized again."""
    try:
        value = _json(body)
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json(body: bytes) -> Any:
    """Parse a JSON value; bytes that are no UTF-8 are read as Latin-1, which some vendors' messages use."""
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        return json.loads(body.decode("latin-1"))
