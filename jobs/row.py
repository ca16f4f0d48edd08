"""A job's hash in Redis, field by field: the only place that knows how a Job is written there."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter, ValidationError

from jobs.artifacts import Artifact
from jobs.errors import UnreadableRow
from jobs.job import Charged, Family, Hold, Job, Reason, Stored, Video, VideoRequest
from jobs.media import Media, Mismatch
from jobs.states import State

VERSION: Final = 1
"""Written into each row. A reader ignores fields it does not know, so that two versions can share the jobs."""


_MOST: Final = 1e12
"""No time in seconds, no sum in dollars and no count in a row is larger."""

_VIDEO: Final = TypeAdapter(Video)
_STORED: Final = TypeAdapter(Stored)
_MEDIA: Final = TypeAdapter(Media)
_REQUEST: Final = TypeAdapter(VideoRequest)


def job_from(row: Mapping[str, str]) -> Job:
    """Read a row; fields that a newer version added are ignored.

    Raises:
        UnreadableRow: a field that this version needs is missing, or holds what it does not know.
    """
    try:
        return _job(row)
    except Exception as error:  # whatever is wrong with the row, it concerns this job alone
        raise _unreadable(error) from error


def _job(row: Mapping[str, str]) -> Job:
    return Job(
        id=row["id"],
        version=_count(row.get("version", VERSION)),
        state=State(row["state"]),
        turn=_count(row["turn"]),
        model=row["model"],
        accepted_at=_number(row["accepted_at"]),
        deadline_at=_number(row["deadline_at"]),
        deadline_s=_number(row["deadline_s"]),
        due_at=_seconds(row, "due_at"),
        attempt=_count(row.get("attempt", 0)),
        polls=_count(row.get("polls", 0)),
        holds=_count(row.get("holds", 0)),
        downloads=_count(row.get("downloads", 0)),
        family=Family(row.get("family", Family.UNIVERSAL)),
        request_id=row.get("request_id"),
        generation_id=row.get("generation_id"),
        worker=row.get("worker"),
        intent_at=_seconds(row, "intent_at"),
        log_reads=_count(row.get("log_reads", 0)),
        attention_at=_seconds(row, "attention_at"),
        submitted_at=_seconds(row, "submitted_at"),
        rendered_at=_seconds(row, "rendered_at"),
        finished_at=_seconds(row, "finished_at"),
        cancel_requested_at=_seconds(row, "cancel_requested_at"),
        video=_VIDEO.validate_python(_json(row["video"])) if "video" in row else None,
        stored=_STORED.validate_python(_json(row["stored"])) if "stored" in row else None,
        media=media_from(row["media"]) if "media" in row else None,
        artifacts=tuple(map(Artifact, filter(None, row.get("artifacts", "").split(",")))),
        removed_at=_seconds(row, "removed_at"),
        cost_usd=_seconds(row, "cost_usd"),
        charged=Charged(row.get("charged", Charged.NO)),
        reason=Reason(row["reason"]) if "reason" in row else None,
        message=row.get("message"),
        hold=Hold(row["hold"]) if "hold" in row else None,
        rescues=_count(row.get("rescues", 0)),
        announce_turn=_count(row.get("announce_turn", 0)),
        late_fetch_turn=_count(row.get("late_fetch_turn", 0)),
        tenant=row.get("tenant"),
        retry_of=row.get("retry_of"),
        retried_as=row.get("retried_as"),
        erased_at=_seconds(row, "erased_at"),
        kind=row.get("kind"),
        pending_at=_seconds(row, "pending_at"),
        evidence=row.get("evidence"),
        evidence_polls=_count(row.get("evidence_polls", 0)),
        describe_turn=_count(row.get("describe_turn", 0)),
        describe_failures=_count(row.get("describe_failures", 0)),
    )


def request_from(text: str) -> VideoRequest:
    """Read what was ordered.

    Raises:
        UnreadableRow: a part that this version needs is missing, or holds what it does not know.
    """
    try:
        parts = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        return _REQUEST.validate_python({"prompt": None, **parts})
    except Exception as error:  # as above
        raise _unreadable(error) from error


def request_text(request: VideoRequest) -> str:
    """Spell what was ordered, the same for equal orders."""
    record = {
        "model": request.model,
        "prompt": request.prompt,
        "parameters": dict(request.parameters),
        "metadata": dict(request.metadata),
        **({"webhook_url": request.webhook_url} if request.webhook_url else {}),
        **({"expected": dict(request.expected)} if request.expected else {}),
    }
    return json.dumps(record, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def fingerprint_of(request: VideoRequest) -> str:
    """Names an order: by it an idempotency key knows the request that it was first used for, whatever is expected."""
    return hashlib.sha256(request_text(replace(request, expected={})).encode()).hexdigest()


def media_from(text: str) -> Media:
    """Read what is in a video."""
    raw: dict[str, Any] = _json(text)
    found = tuple(Mismatch(**found) for found in raw.pop("mismatch", ()))
    return replace(_MEDIA.validate_python(raw), mismatch=found)


def media_field(media: Media | None) -> dict[str, str]:
    """The row's field for what is in the video, where that is known."""
    return {} if media is None else {"media": plain(media)}


def plain(value: Video | Stored | Media) -> str:
    """Spell a small record as JSON, leaving out what it does not have."""
    held = {name: field for name, field in asdict(value).items() if field is not None and field != ()}
    return json.dumps(held, separators=(",", ":"), ensure_ascii=False)


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    return _number(row[name]) if row.get(name) else None


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < _MOST:  # nor is NaN
        raise ValueError("a number that is none")
    return number


def _finite(text: str) -> float:
    """A parameter of a request may be of any size that JSON can carry to the upstream."""
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _count(text: str | int) -> int:
    return int(text) if -_MOST < int(text) < _MOST else _no_number(str(text)[:20])


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number, parse_float=_number)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _unreadable(error: Exception) -> UnreadableRow:
    """Names the field and the word, not the rest of what stands there."""
    said = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return UnreadableRow(f"{type(error).__name__}: {said}"[:200])
