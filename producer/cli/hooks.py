"""`rushes hooks`: the receivers of ended jobs, their backlog, test deliveries and redeliveries."""

from typing import Annotated, Final

import typer
from rich.text import Text

from jobs.delivery import DeliveryLine
from jobs.outbox import ReceiverStatus
from producer.cli.display import Lines, clock_time, duration
from producer.cli.exits import Exit, explained, leave
from producer.cli.job_ids import JobIds
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.deliveries import delivery_view
from producer.receivers import KnownReceiver, Receivers

TEST_DELIVERY_TIMEOUT_S: Final = 30.0

Receiver = Annotated[str, typer.Argument(help="The receiver's name, as `rushes hooks list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

hooks = typer.Typer(help="Receivers of ended jobs: backlog, test deliveries, redeliveries.", no_args_is_help=True)


@hooks.command("list")
def list_receivers(*, as_json: AsJson = False) -> None:
    """Show every receiver with its backlog, and whether it is paused because it keeps failing."""
    with explained():
        session = Session()
        found = session.receivers.receivers()
        if as_json:
            emit_json([_view(receiver) for receiver in found])
        elif found:
            session.out.print(_lines(found, session.receivers.now()), crop=False)
        else:
            session.out.print("No receiver is configured. Set RUSHES_HOOKS__CALL; docs/how-to/hooks.md shows how.")


@hooks.command()
def log(
    receiver: Receiver,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The largest number of lines.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the latest attempts to deliver to a receiver, newest first."""
    with explained():
        session = Session()
        lines = session.receivers.log(receiver, limit=limit)
        if as_json:
            emit_json([delivery_view(receiver, line) for line in lines])
        else:
            session.out.print(line_table(lines), crop=False)


@hooks.command("test")
def send_test(
    receiver: Receiver,
    *,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a worker.")] = TEST_DELIVERY_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Have a worker deliver a made-up job, id `test_…`, to the receiver, and show the outcome."""
    with explained():
        session = Session()
        send_and_report(session, receiver, timeout_s=timeout, as_json=as_json)


@hooks.command()
def redeliver(
    receiver: Receiver,
    job_ids: JobIds = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs whose last logged attempt failed.")] = False,
) -> None:
    """Deliver ended jobs to a receiver now, also those delivered before."""
    with explained():
        session = Session()
        redeliver_events(session, receiver, job_ids or [], failed=failed)


def send_and_report(session: Session, receiver: str, *, timeout_s: float, as_json: bool) -> None:
    """Send a test delivery, and exit with a code that says whether it succeeded."""
    line = session.receivers.send_test(receiver, timeout_s=timeout_s)
    if line is None:
        leave(
            Exit.TIMED_OUT,
            f"No worker delivered to {receiver} within {timeout_s:g} s.",
            "Is a worker running, with the same settings? `rushes hooks list` shows whether the receiver is paused.",
        )
    if as_json:
        emit_json(delivery_view(receiver, line))
    elif line.delivered:
        session.out.print(visible(f"delivered to {receiver} in {line.took_s:.3f} s: {line.message}"), markup=False)
    if not line.delivered:
        leave(Exit.FAILED, f"The delivery to {receiver} failed: {line.message}")


def redeliver_events(session: Session, receiver: str, job_ids: list[str], *, failed: bool) -> None:
    """Deliver jobs to a receiver again, and print their events."""
    if bool(job_ids) == failed:
        leave(Exit.USAGE, "Give job ids or --failed.")
    chosen = dict.fromkeys(_failed(session.receivers, receiver) if failed else job_ids)
    for job_id in chosen:
        events = session.receivers.redeliver(receiver, job_id)
        session.out.print(f"{job_id}: delivering {', '.join(events)} to {receiver} again", markup=False)
    if not chosen:
        session.out.print(f"The log of {receiver} has no job whose last attempt failed.", markup=False)


def line_table(lines: list[DeliveryLine]) -> Lines:
    """Format a receiver's log, an attempt a line."""
    rows = [
        (
            Text(clock_time(line.at)),
            Text(line.job_id),
            Text("yes", style="green") if line.delivered else Text("no", style="red"),
            Text(line.event),
            Text(str(line.tries)),
            Text("-" if line.status is None else str(line.status)),
            Text(f"{line.took_s:.3f} s"),
            Text(visible(line.message)),
        )
        for line in lines
    ]
    return Lines(("at", "job", "delivered", "event", "try", "status", "took", "message"), rows, always=3)


def _failed(receivers: Receivers, receiver: str) -> list[str]:
    return [line.job_id for line in receivers.abandoned(receiver)]


def _view(receiver: KnownReceiver) -> dict[str, object]:
    status = receiver.status
    fields = {name: getattr(status, name) for name in status.__dataclass_fields__}
    return {"name": receiver.name, "known": receiver.known, **fields}


def _lines(found: list[KnownReceiver], now: float) -> Lines:
    rows = [(Text(visible(receiver.name)), _status(receiver, now), *_figures(receiver.status)) for receiver in found]
    return Lines(("receiver", "status", "waiting", "under way", "usually takes"), rows, always=3)


def _figures(status: ReceiverStatus) -> tuple[Text, Text, Text]:
    took = "-" if status.took_s is None else f"{status.took_s:.3f} s"
    return Text(str(status.waiting)), Text(str(status.under_way)), Text(took)


def _status(receiver: KnownReceiver, now: float) -> Text:
    status = receiver.status
    if not receiver.known:
        return Text("not configured here", style="yellow")
    if status.failing_since is None:
        return Text("ok", style="green")
    failing = f"failing for {duration(now - status.failing_since)}"
    paused_s = (status.open_until or now) - now
    return Text(f"{failing}, paused for {duration(paused_s)} more" if paused_s > 0 else failing, style="red")
