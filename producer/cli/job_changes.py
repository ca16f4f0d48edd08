"""Commands that change an ended job: retry, erase. Each says what it costs before it does it."""

import sys
from typing import Annotated

import typer
from rich.text import Text

from jobs.moves.request import Retry, on_retry
from producer.cli.exits import Exit, explained, leave, using_archive
from producer.cli.job_commands import AsJson
from producer.cli.job_ids import JobId
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.costs import erase_costs, retry_costs
from producer.service import Retried

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]


def retry(job_id: JobId, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Retry an ended job as a new one: free if its generation may still be fetched; else it asks before it buys."""
    with explained():
        session = Session()
        (job, _), may_buy = session.service.get(job_id), False
        match on_retry(job, pay_again=False):
            case Retry.HAS_ITS_VIDEO:
                leave(Exit.CONFLICT, f"{job_id} has its video: `rushes download {job_id}` copies it.")
            case Retry.NOT_OVER:
                leave(Exit.CONFLICT, f"{job_id} is {job.state}: it goes on by itself.")
            case Retry.WOULD_PAY if job.retried_as is None:
                agree(retry_costs(job), yes=yes)
                may_buy = True
        answer = session.service.retry(job_id, pay_again=may_buy)
        if answer.job_id is None:
            leave(Exit.CONFLICT, retried_text(job_id, answer))
        if as_json:
            emit_json(session.view(*session.service.get(answer.job_id)))
        else:
            session.out.print(Text(retried_text(job_id, answer)))


def erase(job_id: JobId, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Erase an ended job's prompt, pictures, job log and files for good; what it cost stays."""
    with explained(), using_archive():
        session = Session()
        job = session.service.get(job_id).job
        if not job.is_final:
            leave(Exit.CONFLICT, f"{job_id} is {job.state}: cancel it first, or wait for its end.")
        agree(erase_costs(job), yes=yes)
        session.service.erase(job_id)
        if as_json:
            emit_json({"id": job_id, "object": "video.erased", "erased": True})
        else:
            session.out.print(Text(f"{job_id} is erased. What it cost is kept."))


def retried_text(job_id: str, answer: Retried) -> str:
    """Say what became of a retry."""
    if answer.job_id is None:
        return f"{job_id} has changed meanwhile, and nothing was bought: try again."
    if answer.replayed:
        return f"{job_id} was retried before, as {answer.job_id}."
    how = "goes on with its generation, which costs nothing" if answer.decision is Retry.GO_ON else "buys again"
    return f"{answer.job_id} {how}. `rushes wait {answer.job_id}` waits for its end."


def agree(sentence: str, *, yes: bool) -> None:
    """Go on if the person agrees; without a terminal only with --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        leave(Exit.CONFLICT, sentence, "Nothing was changed. Say --yes if that is what you want.")
    typer.echo(visible(sentence, lines=True), err=True)
    if not typer.confirm("Go on?", err=True):
        leave(Exit.CONFLICT, "Nothing was changed.")
