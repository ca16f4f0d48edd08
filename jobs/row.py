"""A job's hash in Redis, field by field: the only place that knows how a Job is spelt there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from jobs.artifacts import Artifact
from jobs.job import Charged, Family, Hold, Job, Reason, Stored, Video, VideoRequest
from jobs.media import Media, Mismatch
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
        media=media_from(row["media"]) if "media" in row else None,
        artifacts=tuple(map(Artifact, filter(None, row.get("artifacts", "").split(",")))),
        removed_at=_seconds(row, "removed_at"),
        cost_usd=_seconds(row, "cost_usd"),
        charged=Charged(row.get("charged", Charged.NO)),
        reason=Reason(row["reason"]) if "reason" in row else None,
        message=row.get("message"),
        hold=Hold(row["hold"]) if "hold" in row else None,
        rescues=int(row.get("rescues", 0)),
        announce_turn=int(row.get("announce_turn", 0)),
        salvage_turn=int(row.get("salvage_turn", 0)),
        tenant=row.get("tenant"),
        retry_of=row.get("retry_of"),
        retried_as=row.get("retried_as"),
        erased_at=_seconds(row, "erased_at"),
        kind=row.get("kind"),
        pending_at=_seconds(row, "pending_at"),
        evidence=row.get("evidence"),
        evidence_polls=int(row.get("evidence_polls", 0)),
        describe_turn=int(row.get("describe_turn", 0)),
        describe_failures=int(row.get("describe_failures", 0)),
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


def fingerprint_of(request: VideoRequest) -> str:
    """Names an order: by it an idempotency key knows the request that it was first used for."""
    return hashlib.sha256(request_text(request).encode()).hexdigest()


def media_from(text: str) -> Media:
    """Read what is in a video."""
    raw: dict[str, Any] = json.loads(text)
    return Media(**{**raw, "mismatch": tuple(Mismatch(**found) for found in raw.get("mismatch", []))})


def media_field(media: Media | None) -> dict[str, str]:
    """The row's field for what is in the video, where that is known."""
    return {} if media is None else {"media": plain(media)}


def plain(value: Video | Stored | Media) -> str:
    """Spell a small record as JSON, leaving out what it does not have."""
    held = {name: field for name, field in asdict(value).items() if field is not None and field != ()}
    return json.dumps(held, separators=(",", ":"), ensure_ascii=False)


def _seconds(row: Mapping[str, str], name: str) -> float | None:
    return float(row[name]) if row.get(name) else None
