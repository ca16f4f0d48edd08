"""`rushes batch`: turns a file of prompts into a folder of videos; running it again buys nothing twice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from jobs.errors import IdempotencyConflict, JobError, LedgerUnavailable
from jobs.states import State, Status
from producer.batch_file import BatchRow, read_batch
from producer.cli.display import why
from producer.cli.download import fetch_all, leave_for
from producer.cli.exits import Exit, explained, leave, say, where
from producer.cli.meter import Meter
from producer.cli.results import NotCopied, say_saved
from producer.cli.session import Session, emit_json
from producer.cli.submit import DEFAULT_MODEL, warn_unfamiliar
from producer.costs import Prices, estimated
from producer.counted import counted
from producer.text import UnreadableText

_AT_ONCE = 200
Item = TypeVar("Item")


def batch(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines or CSV, one request a row.")],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="For rows without a model.")] = DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option(help="The batch's name; by default the file's.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every job has ended.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the videos into this folder.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, say what they may cost, and submit nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each job as JSON, one a line.")] = False,
) -> None:
    """Submit every row of a file. Running it again submits nothing twice and continues to wait."""
    with explained():
        session = Session()
        rows = _valid_rows(file, session, model, name or file.stem)
        warn_unfamiliar(*(row.request.model for row in rows))
        cost = estimated(Prices.lately(session.service), [row.request for row in rows])
        session.progress.print(f"{counted(len(rows), 'request is', 'requests are')} valid. {cost}")
        if dry_run:
            session.progress.print("Nothing was submitted.")
            return
        with _resumable(file), Meter(session.progress) as meter:
            job_ids = _submit(session, rows, meter)
            if wait or output:
                _wait(session, job_ids, meter)
        _report(session, job_ids, output, as_json=as_json)


@contextmanager
def _resumable(file: Path) -> Iterator[None]:
    """Say after an interruption that the next run continues this one."""
    how = f"Submitted jobs continue by themselves. Run `rushes batch {file}` again: it submits nothing twice."
    try:
        yield
    except KeyboardInterrupt:
        leave(Exit.INTERRUPTED, how)
    except LedgerUnavailable as error:
        leave(Exit.NO_LEDGER, f"Redis is unavailable ({error}).", f"{where(error)}{how}")


def _valid_rows(file: Path, session: Session, model: str, name: str) -> list[BatchRow]:
    """Read and validate all rows."""
    try:
        return read_batch(file, default_model=model, name=name, validate=session.service.validate)
    except (OSError, UnreadableText) as error:
        leave(Exit.USAGE, f"{file} cannot be read: {error}.")


def _submit(session: Session, rows: Sequence[BatchRow], meter: Meter) -> list[str]:
    meter.begin("submitted", len(rows))
    job_ids: list[str] = []
    known = 0
    for some in batched(rows, _AT_ONCE):
        answers = session.service.submit_many([(row.request, row.terms()) for row in some])
        for row, answer in zip(some, answers, strict=True):
            if isinstance(answer, IdempotencyConflict):
                leave(Exit.CONFLICT, f"line {row.line}: {answer}. Give the row another key, or its earlier request.")
            if isinstance(answer, JobError):
                raise answer
            job_ids.append(answer.job_id)
            known += answer.replayed
        meter.reach(len(job_ids), f"{known} submitted before" if known else "")
    return job_ids


def _wait(session: Session, job_ids: Sequence[str], meter: Meter) -> None:
    left, ends = set(job_ids), Counter[str]()
    total = len(left)
    meter.begin("videos", total)
    while left:
        for some in batched(sorted(left), _AT_ONCE):
            known = {job.id: job for job, _ in session.service.get_many(some)}
            ended = [job for job in known.values() if job.is_final]
            ends.update(job.state.value for job in ended)
            left -= {job.id for job in ended} | (set(some) - set(known))  # an earlier run's job may have expired
        meter.reach(total - len(left), ", ".join(f"{count} {state}" for state, count in ends.items()))
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
    failures: Sequence[NotCopied] = ()
    if output:
        output.mkdir(parents=True, exist_ok=True)
        failures = fetch_all(session, [found for found in jobs if found[0].stored], output, tell=say_saved)
    for job, request in jobs:
        if as_json:
            emit_json(session.view(job, request))
        elif job.reason:
            session.out.print(why(job), markup=False)
    states = Counter(job.state for job, _ in jobs)
    if not as_json:
        session.out.print(", ".join(f"{count} {state}" for state, count in states.items()) or "no rows")
    if len(jobs) < len(once):
        expired = len(once) - len(jobs)
        say(f"Jobs of an earlier run that are no longer stored: {expired}. None is bought again.")
    leave_for(failures)
    without = sum(count for state, count in states.items() if state.is_final and state is not State.COMPLETED)
    if without:
        ended = counted(without, "job ended", "jobs ended")
        leave(Exit.NO_VIDEO, f"{ended} without a video. `rushes list --status {Status.FAILED}` shows them.")
