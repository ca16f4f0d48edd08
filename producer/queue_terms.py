"""How a request waits for its purchase: the same fields in the API and in batch files."""

import re
import time
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jobs.job import LONGEST_WAIT_S, Priority

_DAY_S: Final = 86_400.0
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def seconds_until(not_before: float | str | None) -> float:
    """Return the seconds from now until then: a number of seconds, or an RFC 3339 time with its offset; not below 0.

    Raises:
        ValueError: it is neither, or further off than `LONGEST_WAIT_S`.
    """
    seconds = 0.0 if not_before is None else _seconds(not_before)
    if seconds is None or not seconds <= LONGEST_WAIT_S:
        raise ValueError(
            f"must be seconds from now, or a time with its offset like 2026-12-24T18:00:00Z, "
            f"at most {LONGEST_WAIT_S / _DAY_S:.0f} days ahead"
        )
    return max(seconds, 0.0)


def _seconds(not_before: float | str) -> float | None:
    if _NUMBER.fullmatch(str(not_before)):
        return float(not_before)
    try:
        moment = datetime.fromisoformat(str(not_before))
        return moment.timestamp() - time.time() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _checked(not_before: float | str | None) -> float | str | None:
    seconds_until(not_before)
    return not_before


class QueueTerms(BaseModel):
    """When a request may be bought, until when, and before which others."""

    model_config = ConfigDict(defer_build=True)  # only the API reads requests with it

    priority: Annotated[
        Priority,
        Field(
            description="Its place among your own queued jobs: high is bought as if it came an hour earlier.",
            examples=["high"],
        ),
    ] = Priority.NORMAL
    not_before: Annotated[
        float | str | None,
        BeforeValidator(_checked),
        Field(
            description="When it may be bought: seconds from now, or a time with its offset (RFC 3339).",
            examples=["2026-12-24T18:00:00+01:00", 3600],
        ),
    ] = None
    queue_ttl_s: Annotated[
        float | None,
        Field(
            description="Seconds that it may wait for its purchase; then it expires, and nothing was bought.",
            gt=0,
            le=LONGEST_WAIT_S,
            examples=[7200],
        ),
    ] = None
