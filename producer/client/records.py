"""What the API tells, as records. Times are seconds since the epoch; `raw` holds every field, known here or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ENDS: Final = frozenset({"completed", "failed", "cancelled", "expired"})


@dataclass(frozen=True, slots=True)
class Video:
    """A job as it stood when it was asked about."""

    id: str
    status: str
    progress: int
    model: str
    prompt: str | None
    created_at: int
    completed_at: int | None
    eta_s: float | None
    cost_usd: float | None
    charged: str
    reused: bool
    reason: str | None
    message: str | None
    metadata: Mapping[str, str]
    warnings: Sequence[str]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status in ENDS


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's job log."""

    id: str
    event: str
    at: float
    state: str
    turn: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """One end of one job, as a webhook tells it: `id` is its `webhook-id`, `data` its body."""

    id: str
    type: str
    job_id: str
    status: str
    timestamp: str | None
    cursor: str
    data: Mapping[str, Any]


def end_from(told: Mapping[str, Any]) -> End:
    """Read an end's JSON."""
    data = told["data"]
    return End(told["id"], told["type"], data["id"], data["status"], told["timestamp"], told["cursor"], data)


def video_from(told: Mapping[str, Any]) -> Video:
    """Read a job's JSON; what a newer API adds stays in `raw`."""
    error = told.get("error") or {}
    return Video(
        told["id"],
        told["status"],
        told["progress"],
        told["model"],
        told.get("prompt"),
        told["created_at"],
        told.get("completed_at"),
        (told.get("eta") or {}).get("p50_s"),
        told.get("cost_usd"),
        told["charged"],
        told.get("reused", False),
        error.get("code"),
        error.get("message"),
        told.get("metadata") or {},
        tuple(told.get("warnings") or ()),
        told,
    )


def event_from(told: Mapping[str, Any]) -> Event:
    """Read an event's JSON."""
    return Event(told["id"], told["event"], told["at"], told["state"], told["turn"], told["data"])
