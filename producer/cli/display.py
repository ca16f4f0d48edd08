"""Formats jobs for the terminal: a line, a card, a table, a timeline."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from jobs.events import LogEntry
from jobs.job import Charged, Job, VideoRequest
from jobs.media import Media
from jobs.schedule import Eta
from jobs.shorten import shorten
from jobs.states import State
from producer.cli.visible import visible

COLOUR: Final = {
    State.QUEUED: "cyan",
    State.SUBMITTING: "yellow",
    State.IN_DOUBT: "bold red",
    State.RENDERING: "yellow",
    State.STORING: "yellow",
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
    State.EXPIRED: "red",
}
MEGABYTE: Final = 1_000_000
_LONGEST_LIST: Final = 300
_QUIET_FIELDS: Final = frozenset({"account", "sha256", "request_id", "index", "began_at"})


def state_text(state: State) -> Text:
    """Format a state in its colour."""
    return Text(state.value, style=COLOUR[state])


def clock_time(at: float | None) -> str:
    """Format seconds since the epoch as local time."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Format seconds in hours, minutes and seconds."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def age(seconds: float) -> str:
    """Format an age in its largest unit."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def eta_text(eta: Eta) -> str:
    """Format an ETA: its median and its 90th percentile."""
    return f"in about {duration(eta.p50_s)}, 9 of 10 within {duration(eta.p90_s)}"


def size(count: int) -> str:
    """Format a number of bytes in kB or MB."""
    return f"{count / MEGABYTE:.1f} MB" if count >= MEGABYTE else f"{count / 1e3:.0f} kB"


def card(
    job: Job,
    request: VideoRequest,
    archive: str,
    eta: Eta | None = None,
    *,
    why_waiting: str | None = None,
) -> RenderableType:
    """Format one job, one field a line; a terminal wraps long ones, so that a path can be copied whole."""
    fields = _fields(job, request, archive, eta, why_waiting)
    width = max(len(name) for name, _ in fields)
    return Group(*(line for name, value in fields for line in labelled(name, value, width)))


def labelled(name: str, value: Text | str, width: int) -> Iterator[Text]:
    """Format a label and its value; the value's further lines are indented."""
    text = value if isinstance(value, Text) else Text(value)
    for nth, line in enumerate(text.split("\n")):
        yield Text.assemble((("" if nth else name).ljust(width), "dim"), "  ", line)


class Lines:
    """Formats rows, one a line, under their headings.

    Only the last column gives way where the terminal is narrow, and then those before it that are not among the first
    `always`. A pipe gets whole fields, with tabs between them.
    """

    def __init__(
        self, headings: Sequence[str], rows: Iterable[Sequence[Text]], *, always: int, marked: int | None = None
    ) -> None:
        """Mark the row of this index, if there is one."""
        self._rows = [tuple(Text(name, style="dim") for name in headings), *rows]
        self._always = always
        self._marked = None if marked is None else marked + 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a line for each row."""
        if not console.is_terminal:
            yield from (Segment("\t".join(cell.plain for cell in row) + "\n") for row in self._rows)
            return
        *widths, longest = (max(cell.cell_len for cell in column) for column in zip(*self._rows, strict=True))
        shown, wished = list(range(len(widths))), min(longest, _SHORTEST_LAST)
        while (left := options.max_width - sum(widths[column] + 2 for column in shown)) < wished:
            if shown[-1] < self._always:
                break
            shown.pop()
        for nth, row in enumerate(self._rows):
            line = Text("  ").join(_padded(row[column], widths[column]) for column in shown)
            if left >= self._rows[0][-1].cell_len:
                last = row[-1].copy()
                last.truncate(left, overflow="ellipsis")
                line = Text.assemble(line, "  ", last)
            line.no_wrap, line.overflow = True, "ignore"
            if nth == self._marked:
                line.stylize("reverse")
            yield line


_SHORTEST_LAST: Final = 20


def job_table(
    jobs: Sequence[tuple[Job, VideoRequest]], now: float, etas: Mapping[str, Eta], *, marked: int | None = None
) -> Lines:
    """Format many jobs, one a line; `done in` is the ETA's median and 90th percentile."""
    rows = [
        (
            Text(job.id),
            state_text(job.state),
            Text(age(now - job.accepted_at)),
            Text(_cost(job)),
            Text(visible(request.model)),
            Text(_band(etas.get(job.id))),
            Text(str(job.polls)),
            Text(visible(" ".join((request.prompt or "").split()))),
        )
        for job, request in jobs
    ]
    return Lines(("job", "state", "age", "cost", "model", "done in", "polls", "prompt"), rows, always=5, marked=marked)


def _padded(cell: Text, width: int) -> Text:
    cell = cell.copy()
    cell.pad_right(width - cell.cell_len)
    return cell


def timeline(entries: Sequence[LogEntry]) -> RenderableType:
    """Format a job log, each line with the time since the first."""
    start = entries[0].at if entries else 0.0
    width = max((len(entry.event) for entry in entries), default=0)
    return Group(*(_logged(entry, entry.at - start, width) for entry in entries))


def _logged(entry: LogEntry, after_s: float, width: int) -> Text:
    event = Text(entry.event.ljust(width), style=COLOUR.get(State(entry.state), ""))
    line = Text.assemble((f"+{after_s:6.1f} s", "dim"), "  ", event, "  ", _data_line(entry))
    line.rstrip()
    return line


def ending(job: Job, request: VideoRequest, archive: str, entries: Sequence[LogEntry]) -> RenderableType:
    """Format an ended job: its card, then its timeline."""
    return Group(card(job, request, archive), Text(), timeline(entries))


def why(job: Job) -> str:
    """Say in one sentence why the job has no video and what it cost."""
    charged = {"yes": "it was charged", "no": "nothing was charged", "unknown": "it may have been charged"}[job.charged]
    return f"{job.id} {job.state}: {job.reason or 'no reason'} ({visible(job.message or 'no message')}); {charged}."


def _fields(
    job: Job, request: VideoRequest, archive: str, eta: Eta | None, why_waiting: str | None
) -> list[tuple[str, Text | str]]:
    rows: list[tuple[str, Text | str | None]] = [
        ("job", job.id),
        ("state", state_text(job.state)),
        ("model", Text(visible(request.model))),
        ("prompt", Text(visible(request.prompt or "-", lines=True))),
        ("parameters", _listed(shorten(request.parameters))),
        ("metadata", _listed(request.metadata)),
        ("accepted", clock_time(job.accepted_at)),
        ("finished", clock_time(job.finished_at) if job.finished_at else None),
        ("took", duration(job.finished_at - job.accepted_at) if job.finished_at else None),
        ("done", eta_text(eta) if eta else None),
        ("polls", str(job.polls)),
        ("waiting", Text(visible(why_waiting)) if why_waiting else None),
        ("generation", Text(visible(job.generation_id)) if job.generation_id else None),
        ("cost", f"{_cost(job)} (charged: {job.charged})"),
        ("why", Text(why(job)) if job.reason else None),
        ("file", Text(f"{archive}/{job.stored.path}") if job.stored else None),
        ("artifacts", ", ".join(job.artifacts) if not job.removed_at else None),
        ("removed", f"{clock_time(job.removed_at)}, by retention" if job.removed_at else None),
        ("bytes", f"{size(job.stored.size_bytes)}, {job.stored.content_type}" if job.stored else None),
        ("video", _media(job.media) if job.media else None),
        ("mismatch", Text(_mismatch(job.media), style="bold yellow") if job.media and job.media.mismatch else None),
        ("sha256", job.stored.sha256 if job.stored else None),
        ("upstream url", Text(visible(job.video.url)) if job.video else None),
    ]
    return [(name, value) for name, value in rows if value]


def _band(eta: Eta | None) -> str:
    return f"{eta.p50_s:.0f}-{eta.p90_s:.0f} s" if eta else ""


def _listed(pairs: Mapping[str, Any]) -> Text | None:
    return (
        Text(visible(", ".join(f"{name}={value}" for name, value in pairs.items()))[:_LONGEST_LIST]) if pairs else None
    )


def _media(media: Media) -> str:
    picture = f"{media.width}x{media.height}, {media.video_codec}" if media.width else "no picture"
    rate = f", {media.frame_rate:g} fps" if media.frame_rate else ""
    length = f"{media.duration_s:g} s, " if media.duration_s is not None else ""
    loudness = "" if media.loudness_lufs is None else f" at {media.loudness_lufs:g} LUFS"
    sound = "silent" if media.audio_codec is None else f"{media.audio_codec}{loudness}"
    return f"{length}{picture}{rate}; {sound}"


def _mismatch(media: Media) -> str:
    return visible("; ".join(f"{found.field}: asked {found.asked}, got {found.got}" for found in media.mismatch))


def _cost(job: Job) -> str:
    """Format the cost, with `?` if the charge is unknown; a price that was not charged is no cost."""
    if job.cost_usd is None or job.charged is Charged.NO:
        return "-"
    return f"{job.cost_usd:.2f} USD{'?' if job.charged is Charged.UNKNOWN else ''}"


def _data_line(entry: LogEntry) -> str:
    return visible("  ".join(f"{name}={value}" for name, value in entry.data.items() if name not in _QUIET_FIELDS))
