"""`rushes cancel`: cancels one job, or all that options choose, and says first what that saves."""

from collections.abc import Collection, Sequence
from typing import Annotated, Final

import typer
from rich.text import Text

from jobs.states import State, Status
from producer.cli.batches import batched
from producer.cli.exits import Exit, explained, leave, say
from producer.cli.job_changes import Yes, agree
from producer.cli.job_commands import AsJson
from producer.cli.job_ids import complete
from producer.cli.meter import Meter
from producer.cli.selection import Metadata, Model, Since, Tenant, Until, fitting, selection_of
from producer.cli.session import Session, emit_json
from producer.costs import CancelCosts, cancel_costs, cancelled, cancelled_many
from producer.service import Cancelled, Selection

_UNFINISHED: Final = (Status.QUEUED, Status.IN_PROGRESS)
_AT_ONCE: Final = 200


def cancel(
    job_id: Annotated[str | None, typer.Argument(help="The job's id.", autocompletion=complete)] = None,
    *,
    status: Annotated[list[Status] | None, typer.Option(help="Only this status: queued, or in_progress.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every unfinished job.")] = False,
    model: Model = None,
    tenant: Tenant = None,
    metadata: Metadata = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them, and say what it saves.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job, or the unfinished ones that options choose: free before the purchase; it says what is bought."""
    with explained():
        session = Session()
        chooses = every or any(option is not None for option in (status, model, tenant, metadata, since, until))
        if (job_id is not None) == chooses or (job_id and dry_run):
            options = "--status, --tenant, --metadata, --model, --since, --until or --all"
            leave(Exit.USAGE, f"Give one job's id, or choose by {options}; --dry-run counts what they choose.")
        if job_id:
            _cancel_one(session, job_id, yes=yes, as_json=as_json)
            return
        statuses = _unfinished(status or _UNFINISHED)
        chosen = selection_of(session, statuses, model, tenant, metadata, since, until)
        _cancel_fitting(session, chosen, dry_run=dry_run, yes=yes, as_json=as_json)


def _cancel_one(session: Session, job_id: str, *, yes: bool, as_json: bool) -> None:
    job, request = session.service.get(job_id)
    if job.state is not State.QUEUED and not job.is_final:
        agree(cancel_costs(job, keeps=session.settings.late_fetch.keep_cancelled), yes=yes)
    answer = session.service.cancel(job_id)
    if as_json:
        emit_json(session.view(answer.job, request))
    else:
        session.out.print(Text(cancelled(answer)))


def _unfinished(statuses: Sequence[Status]) -> Sequence[Status]:
    """Return the statuses, unless one is that of ended jobs."""
    if ended := set(statuses) - set(_UNFINISHED):
        leave(Exit.USAGE, f"--status takes queued or in_progress: a job that is {min(ended)} has ended.")
    return statuses


def _cancel_fitting(session: Session, chosen: Selection, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Count what fits, ask, and cancel those that still have a chosen status: what was bought meanwhile goes on."""
    costs, job_ids = CancelCosts(), list[str]()
    for job, _ in fitting(session, chosen):
        costs.add(job)
        job_ids.append(job.id)
    sentence = costs.sentence(keeps=session.settings.late_fetch.keep_cancelled)
    if dry_run or not job_ids:
        session.out.print(Text(sentence))
        return
    agree(sentence, yes=yes)
    answers = _cancel_all(session, job_ids, chosen.statuses, as_json=as_json)
    say(cancelled_many(answers, chosen=len(job_ids)))


def _cancel_all(
    session: Session, job_ids: Sequence[str], statuses: Collection[Status], *, as_json: bool
) -> list[Cancelled]:
    answers: list[Cancelled] = []
    with Meter(session.progress) as meter:
        meter.begin("cancelled", len(job_ids))
        for done, some in enumerate(batched(job_ids, _AT_ONCE)):
            fresh = session.service.cancel_many(some, statuses=statuses)
            answers += fresh
            meter.reach(done * _AT_ONCE + len(some))
            if as_json:
                for job, request in session.service.get_many([answer.job.id for answer in fresh]):
                    emit_json(session.view(job, request))
    return answers
