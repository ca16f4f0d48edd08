"""`rushes batch`: a file of prompts becomes a folder of videos, once, however often it is run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from config.settings import whereabouts
from jobs.errors import IdempotencyConflict, JobError, LedgerUnavailable
from jobs.job import Terms
from jobs.states import State, Status
from producer.cli.batch_file import BatchRow, read_batch
from producer.cli.exits import Exit, errors, explained, leave
from producer.cli.orders import DEFAULT_MODEL, warn_of
from producer.cli.results import copy_video
from producer.cli.session import Session, emit_json
from producer.cli.telling import why
from producer.cli.text import UnreadableText

_AT_ONCE = 200

Item = TypeVar("Item")


def batch(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines or CSV, a request a row.")],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="For rows that name none.")] = DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option(help="The batch's name; the file's own by default.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every job has ended.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the videos into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each job as JSON, one a line.")] = False,
) -> None:
    """Submit every row of a file. Running it again submits nothing twice and goes on waiting."""
    with explained():
        session = Session()
        rows = _valid(file, session, model, name or file.stem)
        warn_of(*(row.request.model for row in rows))
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=session.progress,
        )
        with _resumable(file, bar), bar:
            job_ids = _submit(session, rows, bar)
            if wait or output:
                _wait(session, job_ids, bar)
        _tell(session, job_ids, output, as_json=as_json)


@contextmanager
def _resumable(file: Path, bar: Progress) -> Iterator[None]:
    """However the run is cut short, the next one goes on with it: say so."""
    on = f"What was submitted goes on by itself. Run `rushes batch {file}` again: it submits nothing twice."
    try:
        yield
    except KeyboardInterrupt:
        bar.stop()
        leave(Exit.INTERRUPTED, on)
    except LedgerUnavailable as error:
        bar.stop()
        leave(Exit.NO_LEDGER, f"Redis cannot be asked ({error}).", whereabouts(), on)


def _valid(file: Path, session: Session, model: str, name: str) -> list[BatchRow]:
    """All rows, each of which the upstream would take."""
    try:
        return read_batch(
            file,
            default_model=model,
            name=name,
            judge=session.service.judge,
        )
    except (OSError, UnreadableText) as error:
        leave(Exit.USAGE, f"{file} cannot be read: {error}.")


def _submit(session: Session, rows: Sequence[BatchRow], bar: Progress) -> list[str]:
    task = bar.add_task("submitting", total=len(rows), told="")
    life_s = session.settings.ledger.batch_key_s
    job_ids: list[str] = []
    known = 0
    for some in batched(rows, _AT_ONCE):
        answers = session.service.submit_many(
            [(row.request, Terms(idempotency_key=row.key, idempotency_life_s=life_s)) for row in some]
        )
        for row, answer in zip(some, answers, strict=True):
            if isinstance(answer, IdempotencyConflict):
                bar.stop()
                leave(Exit.CONFLICT, f"line {row.line}: {answer}. Give the row another key, or what it had before.")
            if isinstance(answer, JobError):
                raise answer
            job_ids.append(answer.job_id)
            known += answer.replayed
        bar.update(task, advance=len(some), told=f"{known} known from before" if known else "")
    return job_ids


def _wait(session: Session, job_ids: Sequence[str], bar: Progress) -> None:
    left, ends = set(job_ids), Counter[str]()
    total = len(left)
    task = bar.add_task("videos", total=total, told="")
    while left:
        for some in batched(sorted(left), _AT_ONCE):
            known = {job.id: job for job, _ in session.service.get_many(some)}
            ended = [job for job in known.values() if job.is_final]
            ends.update(job.state.value for job in ended)
            left -= {job.id for job in ended} | (set(some) - set(known))  # an earlier run's job may be forgotten by now
        bar.update(
            task,
            completed=total - len(left),
            told="  ".join(f"{state} {count}" for state, count in ends.items()),
        )
        for job_id in sorted(left)[:1]:
            for _ in session.service.follow([job_id], timeout_s=1.0):
                pass


def batched(items: Sequence[Item], count: int) -> Iterator[Sequence[Item]]:
    """The items in runs of `count`."""
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _tell(session: Session, job_ids: Sequence[str], output: Path | None, *, as_json: bool) -> None:
    once = list(dict.fromkeys(job_ids))
    jobs = [found for some in batched(once, _AT_ONCE) for found in session.service.get_many(some)]
    if output:
        output.mkdir(parents=True, exist_ok=True)
    for job, request in jobs:
        if output and job.stored:
            copy_video(session, job, output)
        if as_json:
            emit_json(session.view(job, request))
        elif job.reason:
            session.out.print(why(job), markup=False)
    states = Counter(job.state for job, _ in jobs)
    if not as_json:
        session.out.print(", ".join(f"{count} {state}" for state, count in states.items()) or "no rows")
    if len(jobs) < len(once):
        forgotten = len(once) - len(jobs)
        errors.print(
            f"{forgotten} were submitted by an earlier run and have been forgotten since; none is bought again."
        )
    without = sum(count for state, count in states.items() if state.is_final and state is not State.COMPLETED)
    if without:
        leave(
            Exit.NO_VIDEO, f"{without} jobs ended without a video. `rushes list --status {Status.FAILED}` shows them."
        )
