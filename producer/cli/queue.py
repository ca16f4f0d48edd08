"""`rushes queue`: pause and resume buying."""

import getpass
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from jobs.pauses import Pause
from jobs.states import State
from producer.cli.display import clock_time
from producer.cli.exits import explained
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.waiting import paused

queue = typer.Typer(name="queue", help="Pause and resume buying.", no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@queue.command()
def pause(
    *,
    reason: Annotated[str, typer.Option(help="Why; shown for each job that waits.")] = "",
    as_json: AsJson = False,
) -> None:
    """Begin no purchase from now on, in the whole fleet; what has begun goes on to its end."""
    with explained():
        session = Session()
        _show(session, session.service.pause(by=_person(), reason=reason), as_json=as_json)


@queue.command()
def resume(*, as_json: AsJson = False) -> None:
    """Go on buying."""
    with explained():
        session = Session()
        over = session.service.resume()
        if as_json:
            emit_json(_view(None))
        else:
            session.out.print("Buying goes on." if over else "Buying was not paused.")


@queue.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Say whether buying is paused, and how many jobs wait for it."""
    with explained():
        session = Session()
        _show(session, session.service.paused(), as_json=as_json)


def _show(session: Session, found: Pause | None, *, as_json: bool) -> None:
    if as_json:
        emit_json(_view(found))
        return
    waits = session.service.counts()[State.QUEUED]
    since = f" Since {clock_time(found.at)}." if found else ""
    how = f"{paused(found)}{since} `rushes queue resume` goes on." if found else "Buying is not paused."
    session.out.print(Text(visible(f"{how} {waits} jobs wait in the queue.")))


def _view(found: Pause | None) -> dict[str, object]:
    return {"object": "queue", "paused": asdict(found) if found else None}


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "the command line"
