"""`rushes queue`: pause and resume buying, or try at once what the upstream refused."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from jobs.pauses import Pause, what_of
from jobs.states import State
from producer.cli.display import clock_time
from producer.cli.exits import explained
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.counted import counted
from producer.trials import tried_in_words, tried_view
from producer.waiting import paused, resume_command

queue = typer.Typer(name="queue", help="Pause and resume buying; try now.", no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's jobs.")]
Model = Annotated[str | None, typer.Option(help="Only jobs of this model.")]


@queue.command()
def pause(
    *,
    reason: Annotated[str, typer.Option(help="Why; shown for each job that waits.")] = "",
    tenant: Tenant = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Begin no purchase from now on, in the whole fleet; what has begun goes on to its end."""
    with explained():
        session = Session()
        session.service.pause(by=_person(), reason=reason, what=_what(tenant, model))
        _show(session, session.service.pauses(), as_json=as_json)


@queue.command()
def resume(*, tenant: Tenant = None, model: Model = None, as_json: AsJson = False) -> None:
    """Go on buying."""
    with explained():
        session = Session()
        over = session.service.resume(what=_what(tenant, model))
        if as_json:
            emit_json(queue_view(session.service.pauses()))
        else:
            session.out.print("Buying goes on." if over else "Buying was not paused.")


@queue.command("try")
def try_now(*, as_json: AsJson = False) -> None:
    """Try at once what the upstream refused, after a top-up for instance: one request, and after its success all."""
    with explained():
        session = Session()
        tried = session.service.try_now()
        if as_json:
            emit_json(tried_view(tried))
        else:
            session.out.print(tried_in_words(tried, session.service.pauses()))


@queue.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Say whether buying is paused, and how many jobs wait for it."""
    with explained():
        session = Session()
        _show(session, session.service.pauses(), as_json=as_json)


def _show(session: Session, pauses: Sequence[Pause], *, as_json: bool) -> None:
    if as_json:
        emit_json(queue_view(pauses))
        return
    for found in pauses:
        since = f"Since {clock_time(found.at)}. `{resume_command(found)}` goes on."
        session.out.print(Text(visible(f"{paused(found)} {since}")))
    how = "" if pauses else "Buying is not paused. "
    waiting = counted(session.service.counts()[State.QUEUED], "job waits", "jobs wait")
    session.out.print(f"{how}{waiting} in the queue.")


def queue_view(pauses: Sequence[Pause]) -> dict[str, object]:
    """Return the pauses as JSON, as `/v1/queue` does."""
    whole = next((pause for pause in pauses if pause.what is None), None)
    return {"object": "queue", "paused": whole and _view(whole), "pauses": [_view(pause) for pause in pauses]}


def _view(pause: Pause) -> dict[str, object]:
    return asdict(pause)


def _what(tenant: str | None, model: str | None) -> str | None:
    try:
        return what_of(tenant=tenant, model=model)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "the command line"
