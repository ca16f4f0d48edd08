"""A job's hash in Redis, field by field: the only place that knows how a Job is spelt there."""

import json
from collections.abc import Mapping
from typing import Any, Final

from jobs.job import Charged, Family, Hold, Job, Reason, Stored, Video, VideoRequest
from jobs.states import State

VERSION: Final = 1
"""Written into each row. A reader ignores fields it does not know, so that two versions can share the jobs."""


def job_from(row: Mapping[str, str]) -> Job:
    """Read a row; fields that a newer version added are ignored."""
    return Job(
        id=row["id"],
        version=int(row.get("version", VERSION)),
        state=State(row["state"]),
        turn=int(row["turn"]),
        model=row["model"],
        accepted_at=float(row["accepted_at"]),
        deadline_at=float(row["deadline_at"]),
        deadline_s=float(row["deadline_s"]),
        due_at=_seconds(row, "due_at"),
        attempt=int(row.get("attempt", 0)),
        looks=int(row.get("looks", 0)),
        holds=int(row.get("holds", 0)),
        downloads=int(row.get("downloads", 0)),
        family=Family(row.get("family", Family.UNIVERSAL)),
        request_id=row.get("request_id"),
        generation_id=row.get("generation_id"),
        worker=row.get("worker"),
        intent=row.get("intent"),
        intent_at=_seconds(row, "intent_at"),
        confirms=int(row.get("confirms", 0)),
        attention_at=_seconds(row, "attention_at"),
        submitted_at=_seconds(row, "submitted_at"),
        rendered_at=_seconds(row, "rendered_at"),
        finished_at=_seconds(row, "finished_at"),
        cancel_requested_at=_seconds(row, "cancel_requested_at"),
        video=Video(**json.loads(row["video"])) if "video" in row else None,
        stored=Stored(**json.loads(row["stored"])) if "stored" in row else None,
        cost_usd=_seconds(row, "cost_usd"),
        charged=Charged(row.get("charged", Charged.NO)),
        reason=Reason(row["reason"]) if "reason" in row else None,
        message=row.get("message"),
        hold=Hold(row["hold"]) if "hold" in row else None,
        rescues=int(row.get("rescues", 0)),
        announce_turn=int(row.get("announce_turn", 0)),
        salvage_turn=int(row.get("salvage_turn", 0)),
        kind=row.get("kind"),
        pending_at=_seconds(row, "pending_at"),
    )


def request_from(text: str) -> VideoRequest:
    """Read what was ordered."""
    raw: dict[str, Any] = json.loads(text)
    return VideoRequest(
        raw["model"], raw.get("prompt"), raw.get("parameters", {}), raw.get("metadata", {}), raw.get("webhook_url")
    )


def request_text(request: VideoRequest) -> str:
    """Spell what was ordered, the same for equal orders."""
    record = {
        "model": request.model,
        "prompt": request.prompt,
        "parameters": dict(request.parameters),
        "metadata": dict(request.metadata),
        **({"webhook_url": request.webhook_url} if request.webhook_url else {}),
    }
    return json.dumps(record, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def plain(value: Video | Stored) -> str:
    """Spell a small record as JSON, leaving out what it does not have."""
    fields = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return json.dumps({name: held for name, held in fields.items() if held is not None}, separators=(",", ":"))


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    return float(row[name]) if name in row else None
