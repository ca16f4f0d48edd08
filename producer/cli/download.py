"""`rushes download`: copies videos into a folder; running it again fetches only what is missing."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from jobs.errors import UnknownJob
from jobs.job import Job, VideoRequest
from jobs.states import Status
from producer.cli.exits import Exit, explained, leave, say
from producer.cli.job_commands import AsJson
from producer.cli.job_ids import JobIds
from producer.cli.results import Copy, NotCopied, copied, say_saved
from producer.cli.selection import Metadata, Model, Since, Tenant, Until, fitting, selection_of
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible

_AT_ONCE: Final = 4
"""Videos that are copied at once, so that a bucket's latency does not add up."""

Found = tuple[Job, VideoRequest]


def download(
    job_ids: JobIds = None,
    *,
    output: Annotated[str, typer.Option("--output", "-o", help="A folder; for one job also a file.")] = ".",
    every: Annotated[bool, typer.Option("--all", help="Every completed job.")] = False,
    model: Model = None,
    tenant: Tenant = None,
    metadata: Metadata = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Copy the videos of these jobs, or of the completed ones that options choose; one that is there stays."""
    with explained():
        session = Session()
        chooses = every or any(option is not None for option in (model, tenant, metadata, since, until))
        if bool(job_ids) == chooses:
            leave(Exit.USAGE, "Give job ids, or choose by --model, --tenant, --metadata, --since, --until or --all.")
        target = Path(output)
        if chooses or len(job_ids or ()) > 1 or output.endswith(os.sep):
            target.mkdir(parents=True, exist_ok=True)
        unknown: list[NotCopied] = []
        if job_ids:
            found = list(_by_id(session, job_ids, unknown))
        else:
            chosen = selection_of(session, [Status.COMPLETED], model, tenant, metadata, since, until)
            found = list(fitting(session, chosen))
        copies = Counter[bool]()

        def tell(copy: Copy) -> None:
            copies[copy.was_there] += 1
            say_saved(copy)
            if as_json:
                emit_json({"id": copy.job_id, "saved": str(copy.path.absolute())})

        failures = [*unknown, *fetch_all(session, found, target, tell=tell)]
        if chooses or len(found) > 1:
            say(f"{copies[False]} saved, {copies[True]} there already, {len(failures)} failed")
        leave_for(failures)


def leave_for(failures: Sequence[NotCopied]) -> None:
    """Say why videos were not copied, a paragraph each, and exit with the first one's code; none: go on."""
    for failure in failures:
        for line in failure.lines:
            say(visible(line))
    if failures:
        raise typer.Exit(failures[0].code)


def _by_id(session: Session, job_ids: Sequence[str], unknown: list[NotCopied]) -> Iterator[Found]:
    for job_id in dict.fromkeys(job_ids):
        try:
            yield session.service.get(job_id)
        except UnknownJob:
            why = f"There is no job {job_id}. `rushes list` shows all jobs."
            unknown.append(NotCopied(Exit.UNKNOWN_JOB, [why]))


def fetch_all(
    session: Session, found: Sequence[Found], target: Path, *, tell: Callable[[Copy], None]
) -> list[NotCopied]:
    """Copy videos, several at once, and tell of each; return why others were not copied."""
    failures: list[NotCopied] = []
    session.store  # noqa: B018 (opened before threads ask for it)
    pool, total = ThreadPoolExecutor(_AT_ONCE), sum(job.stored.size_bytes for job, _ in found if job.stored)
    with _bar(session) as bar:
        task = bar.add_task("", total=total, visible=len(found) > 1, done=0, videos=len(found))
        fetches = [
            pool.submit(copied, session, *each, target, advance=lambda count: bar.advance(task, count))
            for each in found
        ]
        try:
            for done, fetch in enumerate(as_completed(fetches), start=1):
                bar.update(task, done=done)
                outcome = fetch.result()
                if isinstance(outcome, NotCopied):
                    failures.append(outcome)
                else:
                    tell(outcome)
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits only for those under way
    return failures


def _bar(session: Session) -> Progress:
    return Progress(
        TextColumn("{task.fields[done]}/{task.fields[videos]} videos"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=session.progress,
        disable=not session.progress.is_terminal,
        transient=True,
    )
