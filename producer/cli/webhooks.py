"""`rushes webhooks`: who is told by signed HTTP requests; their secrets, their deliveries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from jobs.errors import UnknownEndpoint
from jobs.webhooks import ORDERED, Endpoint
from producer.cli.exits import Exit, explained, leave
from producer.cli.hooks import TEST_DELIVERY_TIMEOUT_S, line_table, redeliver_events, send_and_report
from producer.cli.session import Session, emit_json
from producer.cli.telling import clock_time
from producer.cli.visible import visible
from producer.deliveries import delivery_view, endpoint_view

HOUR_S: Final = 3600.0

EndpointId = Annotated[str, typer.Argument(help="The endpoint's id, wh_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

webhooks = typer.Typer(help="Who is told of ended jobs by signed HTTP requests.", no_args_is_help=True)


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to send the requests.")],
    *,
    event: Annotated[list[str] | None, typer.Option(help="Only this end, job.completed …; repeat for more.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant's jobs.")] = None,
    description: Annotated[str, typer.Option(help="A note for people.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add an endpoint; it is told of every job that ends from now on."""
    with explained():
        session = Session()
        added = session.webhooks.add(url, events=event or (), tenant=tenant, description=description)
        _tell(session, added, as_json=as_json)


@webhooks.command("list")
def list_endpoints(*, as_json: AsJson = False) -> None:
    """Show every endpoint with its backlog; secrets are not shown."""
    with explained():
        session = Session()
        endpoints, waiting = session.webhooks.all(), session.receivers.waiting()
        if as_json:
            emit_json([endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in endpoints])
        elif endpoints:
            session.out.print(_table(endpoints, waiting))
        else:
            session.out.print("No endpoint. `rushes webhooks add https://…` adds one.")


@webhooks.command()
def secret(
    name: Annotated[str, typer.Argument(help=f"An endpoint's id; {ORDERED}: of addresses that orders bring along.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the secret that verifies an endpoint's requests; after a rotation also the one before, while it is valid."""
    with explained(), _known():
        session = Session()
        secrets = session.webhooks.secrets(name)
        if as_json:
            emit_json(asdict(secrets))
        else:
            session.out.print("\n".join([secrets.current, *secrets.others]), markup=False)


@webhooks.command()
def rotate(
    endpoint_id: EndpointId,
    *,
    keep_old: Annotated[float, typer.Option(min=0, help="Hours in which the old secret stays valid too.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret; requests are signed with both while the old one is valid."""
    with explained(), _known():
        session = Session()
        _tell(session, session.webhooks.rotate(endpoint_id, keep_old_s=keep_old * HOUR_S), as_json=as_json)


@webhooks.command()
def remove(endpoint_id: EndpointId) -> None:
    """Remove an endpoint, with what it was still to be told."""
    with explained(), _known():
        session = Session()
        session.webhooks.remove(endpoint_id)
        session.out.print(f"{endpoint_id} is gone.", markup=False)


@webhooks.command()
def disable(endpoint_id: EndpointId) -> None:
    """Tell an endpoint nothing for now; what it was still to be told waits for as long as jobs are kept."""
    with explained(), _known():
        session = Session()
        session.webhooks.disable(endpoint_id)
        session.out.print(f"{endpoint_id} is told nothing until `rushes webhooks enable {endpoint_id}`.", markup=False)


@webhooks.command()
def enable(endpoint_id: EndpointId) -> None:
    """Tell an endpoint again that was disabled."""
    with explained(), _known():
        session = Session()
        missed_since = session.webhooks.get(endpoint_id).missed_since
        session.webhooks.enable(endpoint_id)
        session.out.print(f"{endpoint_id} is told again.", markup=False)
        if missed_since:
            session.out.print(f"What ended meanwhile: GET /v1/events?after={missed_since}", markup=False)


@webhooks.command("test")
def send_test(
    endpoint_id: EndpointId,
    *,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a worker.")] = TEST_DELIVERY_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Have a worker send the endpoint a made-up job, event `job.test`, and show the answer."""
    with explained(), _known():
        session = Session()
        session.webhooks.get(endpoint_id)
        send_and_report(session, endpoint_id, timeout_s=timeout, as_json=as_json)


@webhooks.command()
def deliveries(
    endpoint_id: EndpointId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Lines to show at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show how the latest deliveries went, newest first; --json with excerpts of request and answer."""
    with explained():
        session = Session()
        lines = session.receivers.log(endpoint_id, limit=limit)
        if as_json:
            emit_json([delivery_view(endpoint_id, line) for line in lines])
        else:
            session.out.print(line_table(lines))


@webhooks.command()
def redeliver(
    endpoint_id: EndpointId,
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ended jobs.", show_default=False)] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Those whose last delivery in the log failed.")] = False,
) -> None:
    """Tell an endpoint of ended jobs now, also if it was told before; the `webhook-id` is the same."""
    with explained(), _known():
        session = Session()
        session.webhooks.get(endpoint_id)
        redeliver_events(session, endpoint_id, job_ids or [], failed=failed)


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except UnknownEndpoint as error:
        leave(Exit.UNKNOWN_JOB, f"There is no endpoint {error}. `rushes webhooks list` shows those there are.")


def _tell(session: Session, endpoint: Endpoint, *, as_json: bool) -> None:
    """Show an endpoint with its secret: the caller holds the key that it derives from."""
    secrets = session.webhooks.secrets(endpoint.id)
    if as_json:
        waiting = session.receivers.waiting().get(endpoint.id, 0)
        emit_json({**endpoint_view(endpoint, waiting=waiting), "secret": secrets.current})
        return
    session.out.print(f"{endpoint.id}  {visible(endpoint.url)}", markup=False)
    session.out.print(f"secret: {secrets.current}", markup=False)


def _table(endpoints: list[Endpoint], waiting: dict[str, int]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for heading in ("endpoint", "url", "told of", "tenant", "waiting", "since", "standing", "description"):
        table.add_column(heading, overflow="fold")
    for endpoint in endpoints:
        why = endpoint.disabled_why
        table.add_row(
            endpoint.id,
            Text(visible(endpoint.url)),
            ", ".join(endpoint.events) or "every end",
            visible(endpoint.tenant or "all"),
            str(waiting.get(endpoint.id, 0)),
            clock_time(endpoint.created_at),
            Text(f"disabled: {visible(why)}", style="red") if why else Text("enabled", style="green"),
            Text(visible(endpoint.description)),
        )
    return table
