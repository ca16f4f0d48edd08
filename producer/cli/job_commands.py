"""Commands that show jobs: get, list, events, wait."""

from collections.abc import Sequence
from typing import Annotated

import typer

from jobs.events import LogEntry
from jobs.states import Status
from producer.cli.exits import explained
from producer.cli.job_ids import JobId
from producer.cli.results import report
from producer.cli.selection import Metadata, Model, Since, Tenant, Until, selection_of
from producer.cli.session import Session, emit_json
from producer.service import MOST_READ, Page
from producer.views import entry_view

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Wait this many seconds at most.")]


def get(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show one job."""
    with explained():
        session = Session()
        job, request = session.service.get(job_id)
        if as_json:
            emit_json(session.view(job, request, placed=True))
        else:
            from producer.cli.display import card  # noqa: PLC0415 (rich, which JSON does not need)

            eta, why_waiting = session.service.eta(job), session.service.waiting(job)
            session.out.print(card(job, request, session.settings.archive_root, eta, why_waiting=why_waiting))


def list_jobs(
    *,
    status: Annotated[list[Status] | None, typer.Option(help="Only this status (repeat for more).")] = None,
    model: Model = None,
    tenant: Tenant = None,
    metadata: Metadata = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The largest number of jobs.")] = 20,
    after: Annotated[
        str | None, typer.Option(help="Continue after this job id, the last one of the previous page.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="In order of acceptance.")] = False,
    needs_attention: Annotated[
        bool, typer.Option("--needs-attention", help="Only jobs that need your decision (adopt, resolve).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first; with --json one a line."""
    with explained():
        session = Session()
        selection, newest = selection_of(session, status or (), model, tenant, metadata, since, until), not oldest_first
        page = (
            Page(session.service.in_need(limit=limit), None)
            if needs_attention
            else session.service.page(selection, limit=limit, after=after, newest_first=newest)
        )
        if as_json:
            _emit_page(session, page)
            return
        etas = session.service.etas([job for job, _ in page.jobs])
        if page.jobs:
            from producer.cli.display import job_table  # noqa: PLC0415 (as above)

            session.out.print(job_table(page.jobs, session.service.now(), etas), crop=False)
        else:
            session.out.print("no job needs a decision" if needs_attention else "no job fits")
        if page.is_cut:
            kind = "newer" if oldest_first else "older"
            session.out.print(f"{MOST_READ} jobs were read, no {kind} ones: the same with --after {page.after} goes on")
        elif page.after and _follow(session.service.page(selection, limit=1, after=page.after, newest_first=newest)):
            session.out.print(f"more: the same with --after {page.after}", style="dim")


def _follow(page: Page) -> bool:
    """Whether jobs follow, as far as they were read."""
    return bool(page.jobs) or page.is_cut


def _emit_page(session: Session, page: Page) -> None:
    """Print a job a line; a last line tells a script that the rest was not looked at."""
    for job, request in page.jobs:
        emit_json(session.view(job, request))
    if page.is_cut:
        emit_json({"object": "list.cut", "read": MOST_READ, "after": page.after})


def events(
    job_id: JobId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new events until the job ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a job's events."""
    with explained():
        session = Session()
        if not follow and not as_json:
            _print_timeline(session, session.service.events(job_id, waiting=True))
            return
        session.service.get(job_id)
        followed = (entry for _, entry in session.service.follow([job_id], waiting=True))
        for entry in followed if follow else session.service.events(job_id, waiting=True):
            if as_json:
                emit_json(entry_view(entry))
            else:
                _print_timeline(session, [entry])


def _print_timeline(session: Session, entries: Sequence[LogEntry]) -> None:
    from producer.cli.display import timeline  # noqa: PLC0415 (as above)

    session.out.print(timeline(entries))


def wait(job_id: JobId, *, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Wait until a job ends, and show its progress."""
    with explained():
        session = Session()
        session.service.get(job_id)
        report(session, job_id, timeout_s=timeout, as_json=as_json)
