"""`rushes limits`: how much is bought at once, and by whom."""

from typing import Annotated, Final

import typer
from rich.text import Text

from jobs.admission import ACCOUNTS, NO_LIMIT, TENANTS, Limit, of_tenant
from producer.cli.exits import explained
from producer.cli.session import Session, emit_json
from producer.counted import counted
from producer.limits import limits_view, parsed_limit

limits = typer.Typer(
    name="limits", help="Show and set how much is bought at once.", no_args_is_help=True, rich_markup_mode=None
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant; else the account.")]
Everyone = Annotated[bool, typer.Option("--every-tenant", help="Each tenant that has no limit of its own.")]

_NAMES: Final = {ACCOUNTS: "the account", TENANTS: "each tenant"}


@limits.command("list")
def list_limits(*, as_json: AsJson = False) -> None:
    """Show every limit, and what of it is in use."""
    with explained():
        _show(Session(), as_json=as_json)


@limits.command("set")
def set_limit(
    *,
    tenant: Tenant = None,
    every_tenant: Everyone = False,
    in_flight: Annotated[str | None, typer.Option(help="Generations that run upstream at once, or none.")] = None,
    per_min: Annotated[str | None, typer.Option(help="Purchases in any minute, or none.")] = None,
    weight: Annotated[
        str | None, typer.Option(help="A tenant's part of the purchases beside others; usually 1.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set limits for the whole fleet, at once; what is not named stays."""
    with explained():
        try:
            scope = _scope(tenant, every_tenant=every_tenant)
            limit = parsed_limit(scope, in_flight=in_flight, per_min=per_min, weight=weight)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        session = Session()
        session.service.set_limit(scope, limit)
        _show(session, as_json=as_json)


@limits.command("unset")
def unset_limit(*, tenant: Tenant = None, every_tenant: Everyone = False, as_json: AsJson = False) -> None:
    """Forget what was set: the settings hold again. The account also forgets what its 429s taught."""
    with explained():
        session = Session()
        session.service.unset_limit(_scope(tenant, every_tenant=every_tenant))
        _show(session, as_json=as_json)


def _scope(tenant: str | None, *, every_tenant: bool) -> str:
    if tenant is not None and every_tenant:
        raise typer.BadParameter("name one tenant, or --every-tenant")
    return of_tenant(tenant) if tenant is not None else TENANTS if every_tenant else ACCOUNTS


def _show(session: Session, *, as_json: bool) -> None:
    holds = session.service.holds()
    if as_json:
        emit_json(limits_view(holds))
        return
    most, load = holds.most_in_flight, holds.load
    most_of = f", at most {most}" if most is not None else ""
    taught = f" The upstream's 429s taught it {load.learnt} at once." if load.learnt is not None else ""
    session.out.print(f"{counted(load.in_flight, 'generation runs', 'generations run')} upstream{most_of}.{taught}")
    for line in limits_view(holds)["data"]:
        name = _NAMES.get(line["scope"], line["scope"].replace(":", " ", 1))
        session.out.print(Text(f"{name}: {_words(Limit(**{k: line[k] for k in ('in_flight', 'per_min', 'weight')}))}"))


def _words(limit: Limit) -> str:
    flight = "any number" if limit.in_flight in {None, NO_LIMIT} else f"at most {limit.in_flight}"
    rate = "at any rate" if limit.per_min in {None, NO_LIMIT} else f"at most {limit.per_min:g} a minute"
    weight = f", weight {limit.weight:g}" if limit.weight is not None else ""
    return f"{flight} in flight, bought {rate}{weight}"
