"""`rushes webhooks`: webhook endpoints, their secrets and their deliveries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.text import Text

from config.webhook_endpoints import WEBHOOK_URL, Endpoint
from jobs.errors import UnknownEndpoint
from producer.cli.display import Lines, clock_time
from producer.cli.exits import Exit, explained, leave
from producer.cli.hooks import TEST_DELIVERY_TIMEOUT_S, line_table, redeliver_events, send_and_report
from producer.cli.job_ids import JobIds
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.deliveries import delivery_view, endpoint_view

HOUR_S: Final = 3600.0

EndpointId = Annotated[str, typer.Argument(help="The endpoint's id, wh_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

webhooks = typer.Typer(help="Webhook endpoints: signed HTTP requests for ended jobs.", no_args_is_help=True)


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to send the requests.")],
    *,
    event: Annotated[list[str] | None, typer.Option(help="Only this event, job.submitted …; repeat for more.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's jobs.")] = None,
    description: Annotated[str, typer.Option(help="A note for people.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add an endpoint; it receives every job that ends from now on, or other events of jobs."""
    with explained():
        session = Session()
        added = session.webhooks.add(url, events=event or (), tenant=tenant, description=description)
        _show(session, added, as_json=as_json)


@webhooks.command("list")
def list_endpoints(*, as_json: AsJson = False) -> None:
    """Show every endpoint with its backlog; secrets are not shown."""
    with explained():
        session = Session()
        endpoints, waiting = session.webhooks.all(), session.receivers.waiting()
        if as_json:
            emit_json([endpoint_view(endpoint, waiting=waiting.get(endpoint.id, 0)) for endpoint in endpoints])
        elif endpoints:
            session.out.print(_lines(endpoints, waiting), crop=False)
        else:
            session.out.print("No endpoint. `rushes webhooks add https://…` adds one.")


@webhooks.command()
def secret(
    name: Annotated[str, typer.Argument(help=f"An endpoint's id, or {WEBHOOK_URL}: for requests' own webhook_url.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the secret that verifies an endpoint's requests; after a rotation also the old one, while it is valid."""
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
    keep_old: Annotated[float, typer.Option(min=0, help="Hours for which the old secret stays valid.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret; requests are signed with both while the old one is valid."""
    with explained(), _known():
        session = Session()
        _show(session, session.webhooks.rotate(endpoint_id, keep_old_s=keep_old * HOUR_S), as_json=as_json)


@webhooks.command()
def remove(endpoint_id: EndpointId) -> None:
    """Remove an endpoint with its outbox."""
    with explained(), _known():
        session = Session()
        session.webhooks.remove(endpoint_id)
        session.out.print(f"{endpoint_id} is removed.", markup=False)


@webhooks.command()
def disable(endpoint_id: EndpointId) -> None:
    """Pause an endpoint's deliveries; those in its outbox wait for as long as their jobs are stored."""
    with explained(), _known():
        session = Session()
        session.webhooks.disable(endpoint_id)
        session.out.print(f"{endpoint_id} is disabled until `rushes webhooks enable {endpoint_id}`.", markup=False)


@webhooks.command()
def enable(endpoint_id: EndpointId) -> None:
    """Resume a disabled endpoint's deliveries."""
    with explained(), _known():
        session = Session()
        missed_since = session.webhooks.get(endpoint_id).missed_since
        session.webhooks.enable(endpoint_id)
        session.out.print(f"{endpoint_id} is enabled.", markup=False)
        if missed_since:
            session.out.print(f"Jobs that ended meanwhile: GET /v1/events?after={missed_since}", markup=False)


@webhooks.command("test")
def send_test(
    endpoint_id: EndpointId,
    *,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a worker.")] = TEST_DELIVERY_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    """Have a worker send the endpoint the event `job.test` of a made-up job, and show the reply."""
    with explained(), _known():
        session = Session()
        session.webhooks.get(endpoint_id)
        send_and_report(session, endpoint_id, timeout_s=timeout, as_json=as_json)


@webhooks.command()
def deliveries(
    endpoint_id: EndpointId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The largest number of lines.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the latest attempts, newest first; --json adds excerpts of request and reply."""
    with explained():
        session = Session()
        lines = session.receivers.log(endpoint_id, limit=limit)
        if as_json:
            emit_json([delivery_view(endpoint_id, line) for line in lines])
        else:
            session.out.print(line_table(lines), crop=False)


@webhooks.command()
def redeliver(
    endpoint_id: EndpointId,
    job_ids: JobIds = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs whose last logged attempt failed.")] = False,
) -> None:
    """Deliver ended jobs to an endpoint now, also those delivered before, with the same `webhook-id`."""
    with explained(), _known():
        session = Session()
        session.webhooks.get(endpoint_id)
        redeliver_events(session, endpoint_id, job_ids or [], failed=failed)


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except UnknownEndpoint as error:
        leave(Exit.UNKNOWN_JOB, f"There is no endpoint {error}. `rushes webhooks list` shows all endpoints.")


def _show(session: Session, endpoint: Endpoint, *, as_json: bool) -> None:
    """Show an endpoint with its secret: the caller holds the key that it derives from."""
    secrets = session.webhooks.secrets(endpoint.id)
    if as_json:
        waiting = session.receivers.waiting().get(endpoint.id, 0)
        emit_json({**endpoint_view(endpoint, waiting=waiting), "secret": secrets.current})
        return
    session.out.print(f"{endpoint.id}  {visible(endpoint.url)}", markup=False)
    session.out.print(f"secret: {secrets.current}", markup=False)


def _lines(endpoints: list[Endpoint], waiting: dict[str, int]) -> Lines:
    headings = ("endpoint", "status", "url", "waiting", "events", "tenant", "since", "description")
    return Lines(headings, [_cells(endpoint, waiting.get(endpoint.id, 0)) for endpoint in endpoints], always=4)


def _cells(endpoint: Endpoint, waiting: int) -> tuple[Text, ...]:
    why = endpoint.disabled_why
    return (
        Text(endpoint.id),
        Text(f"disabled: {visible(why)}", style="red") if why else Text("enabled", style="green"),
        Text(visible(endpoint.url)),
        Text(str(waiting)),
        Text(", ".join(endpoint.events) or "every end"),
        Text(visible(endpoint.tenant or "all")),
        Text(clock_time(endpoint.created_at)),
        Text(visible(endpoint.description)),
    )
