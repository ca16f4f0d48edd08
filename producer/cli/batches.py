"""`rushes batch`: turns a file of prompts into a folder of videos; running it again buys nothing twice."""

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
from producer.batch_file import BatchRow, read_batch
from producer.cli.display import why
from producer.cli.exits import Exit, errors, explained, leave
from producer.cli.results import copy_video
from producer.cli.session import Session, emit_json
from producer.cli.submit import DEFAULT_MODEL, warn_unfamiliar
from producer.text import UnreadableText

_AT_ONCE = 200
_KEY_LIFE_S = 30 * 86_400.0
"""How long a file's rows are known, so that a second run buys nothing."""

Item = TypeVar("Item")


def batch(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines or CSV, one request a row.")],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="For rows without a model.")] = DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option(help="The batch's name; by default the file's.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every job has ended.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the videos into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each job as JSON, one a line.")] = False,
) -> None:
    """Submit every row of a file. Running it again submits nothing twice and continues to wait."""
    with explained():
        session = Session()
        rows = _valid_rows(file, session, model, name or file.stem)
        warn_unfamiliar(*(row.request.model for row in rows))
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=session.progress,
        )
        with _resumable(file, bar), bar:
            job_ids = _submit(session, rows, bar)
            if wait or output:
                _wait(session, job_ids, bar)
        _report(session, job_ids, output, as_json=as_json)


@contextmanager
def _resumable(file: Path, bar: Progress) -> Iterator[None]:
    """Say after an interruption that the next run continues this one."""
    how = f"Submitted jobs continue by themselves. Run `rushes batch {file}` again: it submits nothing twice."
    try:
        yield
    except KeyboardInterrupt:
        bar.stop()
        leave(Exit.INTERRUPTED, how)
    except LedgerUnavailable as error:
        bar.stop()
        leave(Exit.NO_LEDGER, f"Redis is unavailable ({error}).", whereabouts(), how)


def _valid_rows(file: Path, session: Session, model: str, name: str) -> list[BatchRow]:
    """Read and validate all rows."""
    try:
        return read_batch(file, default_model=model, name=name, validate=session.service.validate)
    except (OSError, UnreadableText) as error:
        leave(Exit.USAGE, f"{file} cannot be read: {error}.")


def _submit(session: Session, rows: Sequence[BatchRow], bar: Progress) -> list[str]:
    task = bar.add_task("submitting", total=len(rows), note="")
    life_s = _KEY_LIFE_S
    job_ids: list[str] = []
    known = 0
    for some in batched(rows, _AT_ONCE):
        answers = session.service.submit_many(
            [(row.request, Terms(idempotency_key=row.key, idempotency_life_s=life_s)) for row in some]
        )
        for row, answer in zip(some, answers, strict=True):
            if isinstance(answer, IdempotencyConflict):
                bar.stop()
                leave(Exit.CONFLICT, f"line {row.line}: {answer}. Give the row another key, or its earlier request.")
            if isinstance(answer, JobError):
                raise answer
            job_ids.append(answer.job_id)
            known += answer.replayed
        bar.update(task, advance=len(some), note=f"{known} submitted before" if known else "")
    return job_ids


def _wait(session: Session, job_ids: Sequence[str], bar: Progress) -> None:
    left, ends = set(job_ids), Counter[str]()
    total = len(left)
    task = bar.add_task("videos", total=total, note="")
    while left:
        for some in batched(sorted(left), _AT_ONCE):
            known = {job.id: job for job, _ in session.service.get_many(some)}
            ended = [job for job in known.values() if job.is_final]
            ends.update(job.state.value for job in ended)
            left -= {job.id for job in ended} | (set(some) - set(known))  # an earlier run's job may have expired
        bar.update(
            task,
            completed=total - len(left),
            note="  ".join(f"{state} {count}" for state, count in ends.items()),
        )
        for job_id in sorted(left)[:1]:
            for _ in session.service.follow([job_id], timeout_s=1.0):
                pass


def batched(items: Sequence[Item], count: int) -> Iterator[Sequence[Item]]:
    """Split the items into slices of up to `count`."""
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _report(session: Session, job_ids: Sequence[str], output: Path | None, *, as_json: bool) -> None:
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
        expired = len(once) - len(jobs)
        errors.print(f"Jobs of an earlier run that are no longer stored: {expired}. None is bought again.")
    without = sum(count for state, count in states.items() if state.is_final and state is not State.COMPLETED)
    if without:
        leave(
            Exit.NO_VIDEO, f"{without} jobs ended without a video. `rushes list --status {Status.FAILED}` shows them."
        )
