"""The API's replies as records. Times are seconds since the epoch; `raw` holds every field, known here or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ENDS: Final = frozenset({"completed", "failed", "cancelled", "expired"})


@dataclass(frozen=True, slots=True, repr=False)
class Video:
    """A job as it was when it was read."""

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
    raw: Mapping[str, Any]

    def __repr__(self) -> str:
        reason = f", reason={self.reason!r}" if self.reason else ""
        return f"Video({self.id!r}, {self.status!r}{reason})"

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended."""
        return self.status in ENDS


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One entry of a job log."""

    id: str
    event: str
    at: float
    state: str
    turn: int
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Event({self.event!r}, {self.state!r})"


@dataclass(frozen=True, slots=True, repr=False)
class End:
    """One end of one job, as in a webhook: `id` is its `webhook-id`, `data` its body's."""

    id: str
    type: str
    job_id: str
    status: str
    timestamp: str | None
    cursor: str
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"End({self.job_id!r}, {self.status!r})"


def end_from(raw: Mapping[str, Any]) -> End:
    """Read an end's JSON."""
    data = raw["data"]
    return End(raw["id"], raw["type"], data["id"], data["status"], raw["timestamp"], raw["cursor"], data)


def video_from(raw: Mapping[str, Any]) -> Video:
    """Read a job's JSON; what a newer API adds stays in `raw`."""
    error = raw.get("error") or {}
    return Video(
        raw["id"],
        raw["status"],
        raw["progress"],
        raw["model"],
        raw.get("prompt"),
        raw["created_at"],
        raw.get("completed_at"),
        (raw.get("eta") or {}).get("p50_s"),
        raw.get("cost_usd"),
        raw["charged"],
        raw.get("reused", False),
        error.get("code"),
        error.get("message"),
        raw.get("metadata") or {},
        tuple(raw.get("warnings") or ()),
        raw,
    )


def event_from(raw: Mapping[str, Any]) -> Event:
    """Read an event's JSON."""
    return Event(raw["id"], raw["event"], raw["at"], raw["state"], raw["turn"], raw["data"])
