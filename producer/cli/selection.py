"""The options that choose jobs, the same for each command that takes them."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from jobs.states import Status
from producer.cli.arguments import pairs
from producer.cli.exits import Exit, leave
from producer.cli.session import Session
from producer.service import READ_AT_ONCE, KnownJob, Selection

UNITS_S: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Model = Annotated[str | None, typer.Option("--model", "-m", help="Only this model.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's jobs.")]
Metadata = Annotated[list[str] | None, typer.Option(help="Only jobs with this label, name=value.")]
Since = Annotated[str | None, typer.Option(help="Only jobs accepted since: 2h, 3d, or 2026-11-28T09:00.")]
Until = Annotated[str | None, typer.Option(help="Only jobs accepted before: 2h, 3d, or 2026-11-28.")]


def selection_of(
    session: Session,
    statuses: Sequence[Status],
    model: str | None,
    tenant: str | None,
    metadata: list[str] | None,
    since: str | None,
    until: str | None,
) -> Selection:
    """Build the filter of these options."""
    now = session.service.now()
    labels = pairs(metadata, "--metadata", str)
    created_from, created_before = moment(since, "--since", now=now), moment(until, "--until", now=now)
    return Selection(statuses, model, labels, created_from, created_before, tenant)


def fitting(session: Session, chosen: Selection) -> Iterator[KnownJob]:
    """Yield all jobs that fit, oldest first."""
    after: str | None = None
    while True:
        page = session.service.page(chosen, limit=READ_AT_ONCE, after=after, newest_first=False)
        yield from (KnownJob(*found) for found in page.jobs)
        if page.after is None:
            return
        after = page.after


def moment(text: str | None, option: str, *, now: float) -> float | None:
    """Parse a time: an age before now, or a date in local time; in epoch seconds."""
    if text is None:
        return None
    age = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text)
    if age and age[2] in UNITS_S:
        return now - float(age[1]) * UNITS_S[age[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        leave(Exit.USAGE, f"{option} takes an age such as 2h or 3d, or a date such as 2026-11-28T09:00; got {text!r}.")
