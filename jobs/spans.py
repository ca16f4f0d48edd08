"""The spans of a job's trace, from its row and log: what took how long, without prompts, messages or addresses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.events import Event, LogEntry
from jobs.job import Hold, Job
from jobs.states import State

Attributes = Mapping[str, str | int | float]

JOB_ENDS: Final = ("job.completed", "job.failed", "job.cancelled", "job.expired")
"""The events that end a job's own span."""

FOLLOW_UP_ENDS: Final[Mapping[str, str]] = {
    "job.described": "describe",
    "job.describe_waits": "describe",
    "job.describe_ended": "describe",
    "job.fetched_late": "late_fetch",
    "job.late_fetch_ended": "late_fetch",
}
"""The events that end a follow-up's span, and its name."""

DELIVERY_ENDS: Final = ("delivery.succeeded", "delivery.failed", "delivery.abandoned")
"""The events that end the span of a try to deliver."""

_OPENS: Final[Mapping[str, str | None]] = {
    "job.accepted": "wait",
    "job.held": "wait",
    "job.resubmitted": "wait",
    "job.submitting": "purchase",
    "job.in_doubt": "doubt",
    "job.submitted": "generate",
    "job.adopted": "generate",
    "job.rendered": None,
    "job.storing": "download",
    "job.store_failed": None,
    **dict.fromkeys(JOB_ENDS),
}
"""The events that end a step, and the step that begins; all others happen within one."""

_TROUBLES: Final = frozenset(
    {
        *("job.in_doubt", "job.store_failed", "job.failed", "job.expired"),
        *("job.describe_waits", "job.describe_ended", "job.late_fetch_ended", "delivery.failed", "delivery.abandoned"),
    }
)

_SHOWN: Final = (
    *("attempt", "request_id", "generation_id", "cost_usd", "reason", "hold", "wait_s", "late_s", "by"),
    *("size_bytes", "receiver", "of", "try", "job_id"),
)
"""The data of events that spans show. Any other may quote a prompt, or hold a signed address."""

_WORD: Final = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened within a span."""

    name: str
    at: float
    attributes: Attributes


@dataclass(slots=True)
class Span:
    """A step with its times, in seconds since the epoch by Redis's clock; `failed`: it ended in trouble."""

    name: str
    start: float
    end: float
    failed: bool = False
    attributes: Attributes = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)

    def close(self, event: str, at: float, data: Mapping[str, Any]) -> None:
        """End it with an event."""
        self.end = max(at, self.start)
        self.failed |= event in _TROUBLES
        self.attributes = {**self.attributes, **_shown(data), "rushes.outcome": event}


def job_spans(job: Job, end: Event, entries: Sequence[LogEntry]) -> tuple[Span, Sequence[Span]]:
    """Return an ended job's span, and those of its steps; `job` is its row, `end` the event that ended it."""
    whole = Span("job", job.accepted_at, job.accepted_at, attributes=_about(job, end))
    steps, step = list[Span](), None
    for entry in entries:
        name = _step_after(entry)
        if entry.event not in _OPENS or (step is not None and step.name == name == "wait"):
            (step or whole).moments.append(_moment(entry))
            continue
        if step is not None:
            step.close(entry.event, entry.at, entry.data)
        step = Span(name, entry.at, entry.at, attributes=_shown(entry.data)) if name else None
        steps += [step] if step else []
        if entry.event == end.name:
            whole.close(entry.event, entry.at, {})
            break
    return whole, steps


def delivery_span(event: Event) -> Span:
    """Return the span of a try to deliver, from the event that ended it."""
    began_at, took_s = event.data["began_at"], event.data["took_s"]
    span = Span("deliver", began_at, began_at)
    span.close(event.name, began_at + took_s, event.data)
    return span


def follow_up_span(job: Job, event: Event, entries: Sequence[LogEntry]) -> Span | None:
    """Return the span of an ended job's follow-up; None: the job's log was erased."""
    at = next((entry.at for entry in reversed(entries) if entry.event == event.name), None)
    if at is None:
        return None
    name = FOLLOW_UP_ENDS[event.name]
    start = job.finished_at or at if name == "late_fetch" else at - event.data["took_s"]
    waits = [_moment(entry) for entry in entries if entry.event == "job.late_fetch_waits" and name == "late_fetch"]
    span = Span(name, start, at, moments=waits)
    span.close(event.name, at, event.data)
    return span


def _step_after(entry: LogEntry) -> str | None:
    """Return the step that begins: a retry may go on with a generation, a failed download asks for a fresh URL."""
    if entry.state == State.RENDERING and entry.event in {"job.accepted", "job.store_failed"}:
        return "generate" if entry.event == "job.accepted" else "fresh_url"
    return _OPENS.get(entry.event)


def _moment(entry: LogEntry) -> Moment:
    result = {"rushes.result": _result(entry.data["result"])} if "result" in entry.data else {}
    return Moment(entry.event, entry.at, {**_shown(entry.data), **result})


def _result(text: str) -> str:
    """Return a poll's result if it is one word, or the hold that it begins with: what follows may quote anything."""
    word = text.partition(":")[0]
    return word if _WORD.fullmatch(text) or word in set(Hold) else "unclear"


def _shown(data: Mapping[str, Any]) -> Attributes:
    return {f"rushes.{name}": _plain(data[name]) for name in _SHOWN if data.get(name) is not None}


def _about(job: Job, end: Event) -> Attributes:
    """Say whose job it is, what it asked for in short, how it ended, and what it cost."""
    known = ("model", "kind", "tenant", "account", "cost_usd", "generation_id", "polls", "attempt", "retry_of")
    found = {
        "job_id": job.id,
        **{name: getattr(job, name) for name in known},
        "state": end.name.removeprefix("job."),
        "reason": end.data.get("reason"),
        "charged": end.changes.get("charged", job.charged),
    }
    return {f"rushes.{name}": _plain(value) for name, value in found.items() if value is not None}


def _plain(value: Any) -> str | int | float:
    return str(value) if isinstance(value, str) else value
