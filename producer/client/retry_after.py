"""The one reader of Retry-After (RFC 9110 §10.2.3); part of the client library, which stands alone, and used by all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_S: Final = 86_400.0
"""No server is obeyed for longer than a day."""


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that a reply asks to wait, from 0 to a day; None if it asks for nothing that can be read.

    A date is compared with the reply's own `Date`, or else with `now`, in seconds since the epoch. `headers` must find
    lower-case names.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), LONGEST_S)
    until = _moment(value)
    if until is None:
        return None
    sent = _moment(headers.get("date", ""))
    return min(max(until - (now if sent is None else sent), 0.0), LONGEST_S)


def _moment(date: str) -> float | None:
    """An HTTP date in seconds since the epoch; it is in UTC whatever it says."""
    try:
        read = parsedate_to_datetime(date).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (read - datetime.fromtimestamp(0, UTC)).total_seconds()
