"""`rushes adopt` and `rushes resolve`: a person resolves a purchase in doubt."""

from typing import Annotated

import typer

from producer.cli.exits import Exit, explained, leave
from producer.cli.job_ids import JobId
from producer.cli.session import Session, emit_json

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def adopt(
    job_id: JobId,
    generation_id: Annotated[str, typer.Argument(help="The generation's id, from the upstream's own log.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Name the generation that was bought for a job in doubt; the job continues with it."""
    with explained():
        session = Session()
        job = session.service.adopt(job_id, generation_id)
        if as_json:
            emit_json(session.view(*session.service.get(job_id)))
        else:
            session.out.print(f"{job.id} continues with generation {generation_id}; nothing was bought.", markup=False)


def resolve(
    job_id: JobId,
    *,
    resubmit: Annotated[
        bool, typer.Option("--resubmit", help="Buy again. If the first was bought, you pay twice.")
    ] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="End the job without its video.")] = False,
    as_json: AsJson = False,
) -> None:
    """Resolve a purchase in doubt: buy again, or give it up. Read the upstream's log first; see also adopt."""
    with explained():
        if resubmit == give_up:
            leave(Exit.USAGE, "Choose --resubmit (you may pay twice) or --give-up.")
        session = Session()
        job = session.service.resolve(job_id, resubmit=resubmit)
        if as_json:
            emit_json(session.view(*session.service.get(job_id)))
        else:
            session.out.print(f"{job.id} is {job.state}.", markup=False)
