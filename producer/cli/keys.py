"""`rushes keys`: the operator issues, lists and revokes the API keys of tenants."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from jobs.errors import UnknownKey
from producer.cli.display import Lines
from producer.cli.exits import Exit, explained, leave
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.keys import Key, Scope, make_access
from producer.views import key_view

keys = typer.Typer(
    name="keys", help="API keys of tenants: issue, list, revoke.", no_args_is_help=True, rich_markup_mode=None
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
DAY_S: Final = 86_400


@keys.command()
def issue(
    *,
    tenant: Annotated[str, typer.Option(help="The key sees and makes this tenant's jobs.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="submit, read, admin or metrics (repeat for more).")] = None,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    expires_in_days: Annotated[float | None, typer.Option(min=0, help="Days until it expires; default: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a key and print it this once. Without --scope it may submit and read."""
    with explained():
        if not TENANT.fullmatch(tenant):
            leave(Exit.USAGE, "A tenant's name is up to 63 of a-z, 0-9, - and _, and starts with a letter or digit.")
        session = Session()
        life_s = None if expires_in_days is None else expires_in_days * DAY_S
        scopes = scope or [Scope.SUBMIT, Scope.READ]
        issued = make_access(session.settings).issue(tenant, scopes, name=name, life_s=life_s)
        if as_json:
            emit_json({**key_view(issued.key), "token": issued.token})
            return
        typer.echo(issued.token)
        session.progress.print(f"Keep it: it is not shown again. `rushes keys revoke {issued.key.id}` revokes it.")
        if session.settings.api.auth == "off":
            session.progress.print(
                "The API ignores it while RUSHES_API__AUTH is off: set that to keys.", style="yellow"
            )


@keys.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List every stored key; with --json one a line."""
    with explained():
        session = Session()
        found, now = make_access(session.settings).listed(), session.service.now()
        if as_json:
            for key in found:
                emit_json(key_view(key))
            return
        rows = [tuple(map(Text, _cells(key, now))) for key in found]
        session.out.print(Lines(("id", "tenant", "state", "scopes", "expires", "name"), rows, always=3), crop=False)


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id.")], *, as_json: AsJson = False) -> None:
    """Revoke a key at once."""
    with explained():
        session = Session()
        try:
            key = make_access(session.settings).revoke(key_id)
        except UnknownKey:
            leave(Exit.UNKNOWN_JOB, f"There is no key {key_id}. `rushes keys list` shows all keys.")
        if as_json:
            emit_json(key_view(key))
        else:
            session.out.print(f"{key.id} of {key.tenant} is revoked.", markup=False)


def _cells(key: Key, now: float) -> tuple[str, ...]:
    expires = "-" if key.expires_at is None else f"{datetime.fromtimestamp(key.expires_at, UTC):%Y-%m-%d %H:%M}"
    ended = "revoked" if key.revoked_at is not None else "expired"
    state = "good" if key.is_good(now) else ended
    return key.id, key.tenant, state, " ".join(sorted(key.scopes)), expires, visible(key.name)
