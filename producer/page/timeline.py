"""A job's timeline as SVG: a lane for each phase, a dot for each event.

Positions are percentages, so that the drawing fits any width and its letters keep their size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from jobs.delivery import DeliveryLine
from jobs.events import LogEntry
from jobs.job import Job
from jobs.schedule import Eta
from jobs.states import State
from producer.counted import counted
from producer.page.rendering import duration

LANE_PX: Final = 40
MOST_DOTS: Final = 400
"""Dots of one lane; a job that was polled more often shows its newest."""

_BAR_PX: Final = 8
_AFTER_END_S: Final = 30.0
"""What happens to an ended job within this many seconds, or a quarter of its life, is drawn; the log has the rest."""

_PHASES: Final = {
    State.QUEUED: "waits to be bought",
    State.SUBMITTING: "purchase",
    State.IN_DOUBT: "in doubt",
    State.RENDERING: "rendering",
    State.STORING: "download",
}


@dataclass(frozen=True, slots=True)
class Dot:
    """Something that happened at a time, in words."""

    at: float
    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One phase: when it was gone through, and what happened in it."""

    kind: str
    title: str
    spans: Sequence[tuple[float, float]]
    dots: Sequence[Dot]

    @property
    def label(self) -> str:
        """The lane's title, how long it took, and how many polls it had."""
        took_s = sum(end - start for start, end in self.spans)
        polls = sum(dot.kind == "polled" for dot in self.dots)
        polled = f" · {counted(polls, 'poll', 'polls')}" if polls else ""
        return f"{self.title} {duration(took_s)}{polled}" if self.spans else self.title


def lanes_of(
    job: Job, entries: Sequence[LogEntry], deliveries: Sequence[tuple[str, DeliveryLine]], *, now: float
) -> list[Lane]:
    """Divide a job's log into lanes, in the order in which they began."""
    until = job.finished_at or now
    spans: dict[State, list[tuple[float, float]]] = {}
    dots: dict[State, list[Dot]] = {}
    state, since = State.QUEUED, job.accepted_at
    for entry in entries:
        if entry.at > until + max(_AFTER_END_S, (until - job.accepted_at) / 4):
            break
        lane = state if state in _PHASES else State.STORING
        dots.setdefault(lane, []).append(_dot(entry))
        if State(entry.state) is not state:
            spans.setdefault(state, []).append((since, entry.at))
            state, since = State(entry.state), entry.at
    if not job.is_final:
        spans.setdefault(state, []).append((since, now))
    lanes = [
        Lane(phase.value, title, spans.get(phase, []), dots.get(phase, [])[-MOST_DOTS:])
        for phase, title in _PHASES.items()
        if phase in spans
    ]
    told = [Dot(line.at, "delivered" if line.delivered else "trouble", _told(name, line)) for name, line in deliveries]
    return [*lanes, *([Lane("deliveries", f"deliveries {len(told)}", [], told)] if told else [])]


def drawn(job: Job, lanes: Sequence[Lane], *, now: float, eta: Eta | None) -> Markup:
    """Draw the lanes; a running job's axis reaches as far as its ETA."""
    last = max([now if not job.is_final else job.finished_at or now, *(dot.at for lane in lanes for dot in lane.dots)])
    limit = (job.finished_at or now) + max(_AFTER_END_S, ((job.finished_at or now) - job.accepted_at) / 4)
    end = now + eta.p90_s if eta else min(last, limit)
    axis = _Axis(job.accepted_at, max(end - job.accepted_at, 1.0))
    body = Markup("").join(part for at, lane in enumerate(lanes) for part in _lane(axis, lane, at * LANE_PX))
    if eta is not None:
        at = next((at for at, lane in enumerate(lanes) if lane.kind == State.RENDERING), None)
        if at is not None:
            body = _band(axis, now + eta.p50_s, now + eta.p90_s, at * LANE_PX) + body
    summary = "; ".join(lane.label for lane in lanes)
    return Markup(
        '<svg class="timeline" role="img" width="100%" height="{}" aria-label="Timeline: {}">{}</svg>'
    ).format(LANE_PX * len(lanes), summary, body)


@dataclass(frozen=True, slots=True)
class _Axis:
    start: float
    length_s: float

    def at(self, moment: float) -> str:
        share = min(max((moment - self.start) / self.length_s, 0.0), 1.0)
        return f"{0.7 + 98.6 * share:.2f}"

    def width(self, start: float, end: float) -> str:
        return f"{max(float(self.at(end)) - float(self.at(start)), 0.3):.2f}"


def _lane(axis: _Axis, lane: Lane, top: int) -> Iterator[Markup]:
    middle = top + 27
    yield Markup('<text x="0" y="{}">{}</text>').format(top + 13, lane.label)
    yield Markup('<rect class="rail" x="0.7%" y="{}" width="98.6%" height="2" rx="1"/>').format(middle - 1)
    for start, end in lane.spans:
        yield Markup('<rect class="span {}" x="{}%" y="{}" width="{}%" height="{}" rx="4"/>').format(
            lane.kind, axis.at(start), middle - _BAR_PX // 2, axis.width(start, end), _BAR_PX
        )
    for dot in lane.dots:
        yield Markup('<circle class="dot {}" cx="{}%" cy="{}" r="4"><title>{}</title></circle>').format(
            dot.kind, axis.at(dot.at), middle, f"+{duration(max(dot.at - axis.start, 0))} {dot.words}"
        )


def _band(axis: _Axis, start: float, end: float, top: int) -> Markup:
    return Markup('<rect class="band" x="{}%" y="{}" width="{}%" height="16" rx="4"><title>{}</title></rect>').format(
        axis.at(start), top + 19, axis.width(start, end), "probably done in here"
    )


_POLLS: Final = frozenset({"job.polled", "job.rendered"})
_TROUBLES: Final = frozenset({"job.held", "job.in_doubt", "job.needs_attention", "job.store_failed", "job.failed"})


def _dot(entry: LogEntry) -> Dot:
    kind = "trouble" if entry.event in _TROUBLES else "polled" if entry.event in _POLLS else "step"
    details = ", ".join(f"{name} {value}" for name, value in entry.data.items() if isinstance(value, str | int | float))
    return Dot(entry.at, kind, f"{entry.event} {details}"[:300].rstrip())


def _told(receiver: str, line: DeliveryLine) -> str:
    return f"{line.event} to {receiver}: {line.message}, took {duration(line.took_s)}"[:300]
