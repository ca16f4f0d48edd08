"""`rushes status`: one screen that says what is in flight, what holds it, and what needs a person."""

import time
from collections.abc import Iterator
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from jobs.states import State
from producer.cli.display import COLOUR, age, clock_time, labelled
from producer.cli.exits import explained
from producer.cli.reconnecting import REFRESH_S, Reconnecting
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.counted import counted
from producer.status import AccountView, Counts, DoubtView, StatusView, status_of

_LABELS: Final = len("in flight")


def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch one a line.")] = False,
) -> None:
    """Show what is in flight, what holds it, and what needs a person."""
    with explained():
        session = Session()
        if not watch:
            _print(session, _read(session), as_json=as_json)
        elif as_json or not session.out.is_terminal:
            for shown in _readings(session):
                _print(session, shown, as_json=as_json)
        else:
            _watch(session)


def _read(session: Session) -> StatusView:
    return status_of(session.service, session.receivers, session.settings)


def _readings(session: Session) -> Iterator[StatusView]:
    while True:
        yield _read(session)
        time.sleep(REFRESH_S)


def _print(session: Session, shown: StatusView, *, as_json: bool) -> None:
    if as_json:
        emit_json(shown)
    else:
        session.out.print(screen(shown))


def _watch(session: Session) -> None:
    view = Reconnecting(session, lambda session: screen(_read(session)))
    with Live(view, console=session.screen, refresh_per_second=4, screen=True):
        view.refresh_until_interrupted(REFRESH_S)


def screen(shown: StatusView) -> RenderableType:
    """Format the status: what is wrong first, then the figures."""
    lines = list(sentences(shown))
    for name, found in _parts(shown):
        lines += labelled(name, Text("\n").join(found), _LABELS) if found else []
    return Group(*lines)


def sentences(shown: StatusView) -> Iterator[Text]:
    """Format what holds jobs and what is wrong, each with what to do."""
    for sentence in (*(hold["sentence"] for hold in shown["holds"]), *shown["trouble"]):
        yield Text(visible(sentence), style="bold yellow")


def _parts(shown: StatusView) -> Iterator[tuple[str, list[Text]]]:
    now = shown["at"]
    yield "jobs", [counts_text(shown["states"])]
    yield "in flight", [Text(_in_flight(found)) for found in shown["accounts"]]
    if shown["tenants"] and [found["tenant"] for found in shown["tenants"]] != [None]:
        lines = [
            Text.assemble(f"{found['tenant'] or 'no tenant'}: ", counts_text(found["states"]))
            for found in shown["tenants"]
        ]
        yield "tenants", [*lines, *([Text(f"and {shown['more_tenants']} more")] if shown["more_tenants"] else [])]
    yield (
        "queues",
        [
            Text(f"{found['queue']}: {_wait(found['items'])}, {found['due']} due{_overdue(found['overdue_s'])}")
            for found in shown["queues"] or ()
        ],
    )
    yield "in doubt", [line for found in shown["doubts"] or () for line in doubt_lines(found)]
    yield (
        "receivers",
        [
            Text(visible(f"{found['receiver']}: {_wait(found['waiting'])}{_failing(found['failing_since'], now)}"))
            for found in shown["receivers"] or ()
        ],
    )
    yield (
        "workers",
        [
            Text(
                f"{found['worker']}  {found['version']}  seen {age(now - found['seen_at'])} ago{_late(found['late_s'])}"
            )
            for found in shown["workers"] or ()
        ],
    )
    yield "at", [Text(clock_time(now))]


def _wait(count: int) -> str:
    return counted(count, "waits", "wait")


def _in_flight(account: AccountView) -> str:
    most = f" of {account['most_in_flight']}" if account["most_in_flight"] is not None else ""
    taught = f"; its 429s taught {account['learnt']} at once" if account["learnt"] is not None else ""
    return f"{account['account']}: {account['in_flight']}{most}{taught}"


def counts_text(counts: Counts) -> Text:
    """Format the number of jobs in each state that has any."""
    found = [Text.assemble(f"{counts[state]} ", (state.value, COLOUR[state])) for state in State if counts.get(state)]
    return Text(", ").join(found) if found else Text("none")


def _overdue(seconds: float) -> str:
    return f", the oldest for {age(seconds)}" if seconds >= 1 else ""


def _late(seconds: float | None) -> str:
    return f", its polls at most {seconds:.1f} s late" if seconds is not None else ""


def _failing(since: float | None, now: float) -> str:
    return f", failing for {age(now - since)}" if since is not None else ""


def doubt_lines(doubt: DoubtView) -> Iterator[Text]:
    """Format a purchase that needs a person's decision, with the commands to type."""
    yield Text(f"{doubt['id']} needs your decision (docs/how-to/doubts.md):", style=COLOUR[State.IN_DOUBT])
    yield from (Text(f"  {command}") for command in doubt["commands"])
