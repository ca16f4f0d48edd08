"""`rushes hooks`: who is told of ended jobs, how far behind they are, and telling them again."""

from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from jobs.delivery import DeliveryLine
from producer.cli.exits import Exit, explained, leave
from producer.cli.session import Session, emit_json
from producer.cli.telling import clock_time, duration
from producer.cli.visible import visible
from producer.deliveries import delivery_view
from producer.receivers import KnownReceiver, Receivers

TEST_DELIVERY_TIMEOUT_S: Final = 30.0

Receiver = Annotated[str, typer.Argument(help="The receiver's name, as `rushes hooks list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

hooks = typer.Typer(help="Who is told of ended jobs: backlog, test deliveries, telling again.", no_args_is_help=True)


@hooks.command("list")
def list_receivers(*, as_json: AsJson = False) -> None:
    """Show every receiver with its backlog, and whether it is held back because it keeps failing."""
    with explained():
        session = Session()
        found = session.receivers.receivers()
        if as_json:
            emit_json([_view(receiver) for receiver in found])
        elif found:
            session.out.print(_table(found, session.receivers.now()))
        else:
            session.out.print("No receiver is configured. RUSHES_HOOKS__CALL names hooks; docs/hooks.md shows how.")


@hooks.command()
def log(
    receiver: Receiver,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Lines to show at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show how the latest deliveries to a receiver went, newest first."""
    with explained():
        session = Session()
        lines = session.receivers.log(receiver, limit=limit)
        if as_json:
            emit_json([delivery_view(receiver, line) for line in lines])
        else:
            session.out.print(line_table(lines))


@hooks.command("test")
def send_test(
    receiver: Receiver,
    *,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a worker.")] = TEST_DELIVERY_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Have a worker tell the receiver of a made-up job, id `test_…`, and show how it went."""
    with explained():
        session = Session()
        send_and_report(session, receiver, timeout_s=timeout, as_json=as_json)


@hooks.command()
def redeliver(
    receiver: Receiver,
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ended jobs.", show_default=False)] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Those whose last delivery in the log failed.")] = False,
) -> None:
    """Tell a receiver of ended jobs now, also if it was told before."""
    with explained():
        session = Session()
        redeliver_events(session, receiver, job_ids or [], failed=failed)


def send_and_report(session: Session, receiver: str, *, timeout_s: float, as_json: bool) -> None:
    """Send a test delivery, and leave with a code that says whether it arrived."""
    line = session.receivers.send_test(receiver, timeout_s=timeout_s)
    if line is None:
        leave(
            Exit.TIMED_OUT,
            f"No worker told {receiver} anything within {timeout_s:g} s.",
            "Is a worker running, with the same settings? `rushes hooks list` shows whether the receiver is held.",
        )
    if as_json:
        emit_json(delivery_view(receiver, line))
    elif line.delivered:
        session.out.print(visible(f"{receiver} heard it in {line.took_s:.3f} s: {line.message}"), markup=False)
    if not line.delivered:
        leave(Exit.FAILED, f"{receiver} could not be told: {line.message}")


def redeliver_events(session: Session, receiver: str, job_ids: list[str], *, failed: bool) -> None:
    """Tell a receiver again, and say of what."""
    if bool(job_ids) == failed:
        leave(Exit.USAGE, "Name jobs, or say --failed.")
    chosen = dict.fromkeys(_failed(session.receivers, receiver) if failed else job_ids)
    for job_id in chosen:
        events = session.receivers.redeliver(receiver, job_id)
        session.out.print(f"{job_id}: {receiver} is told {', '.join(events)} again", markup=False)
    if not chosen:
        session.out.print(f"The log of {receiver} shows no delivery that failed last.", markup=False)


def line_table(lines: list[DeliveryLine]) -> Table:
    """A receiver's log for people."""
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for heading in ("at", "job", "event", "try", "delivered", "status", "took", "message"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for line in lines:
        table.add_row(
            clock_time(line.at),
            line.job_id,
            line.event,
            str(line.tries),
            Text("yes", style="green") if line.delivered else Text("no", style="red"),
            "-" if line.status is None else str(line.status),
            f"{line.took_s:.3f} s",
            Text(visible(line.message)),
        )
    return table


def _failed(receivers: Receivers, receiver: str) -> list[str]:
    return [line.job_id for line in receivers.abandoned(receiver)]


def _view(receiver: KnownReceiver) -> dict[str, object]:
    standing = receiver.status
    fields = {name: getattr(standing, name) for name in standing.__dataclass_fields__}
    return {"name": receiver.name, "known": receiver.known, **fields}


def _table(found: list[KnownReceiver], now: float) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for heading in ("receiver", "waiting", "under way", "usually takes", "standing"):
        table.add_column(heading, overflow="fold")
    for receiver in found:
        standing = receiver.status
        took = "-" if standing.took_s is None else f"{standing.took_s:.3f} s"
        table.add_row(
            Text(visible(receiver.name)), str(standing.waiting), str(standing.under_way), took, _told(receiver, now)
        )
    return table


def _told(receiver: KnownReceiver, now: float) -> Text:
    standing = receiver.status
    if not receiver.known:
        return Text("not configured here", style="yellow")
    if standing.failing_since is None:
        return Text("well", style="green")
    failing = f"failing for {duration(now - standing.failing_since)}"
    held_s = (standing.held_until or now) - now
    return Text(f"{failing}, held for {duration(held_s)} more" if held_s > 0 else failing, style="red")
