"""`rushes config`: each setting, its value, and where that comes from."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel, HttpUrl, SecretStr
from rich.text import Text

from config.address import Sentinels, parse
from config.settings import PREFIX, Settings, origins
from producer.cli.exits import explained
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible

_HIDDEN: Final = "(hidden)"
_USERINFO: Final = re.compile(r"(?<=//)[^/\s]*@")


def config(
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not left at its default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one setting a line.")] = False,
) -> None:
    """Show each setting, its value and where that comes from; secrets are hidden."""
    with explained():
        session, places = Session(), origins()
        for name, value in _values(session.settings):
            place = places[name]
            if changed and place == "default":
                continue
            if as_json:
                emit_json({"name": name, "value": value, "from": place})
            else:
                line = Text.assemble(
                    f"{name}={visible('' if value is None else _text(value))}", "  ", (f"# {place}", "dim")
                )
                session.out.print(line)


def _values(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name in Settings.model_fields:
        found = getattr(settings, name)
        if isinstance(found, BaseModel):
            for inner in type(found).model_fields:
                yield f"{PREFIX}{name}__{inner}".upper(), _shown(f"{name}.{inner}", getattr(found, inner))
        else:
            yield f"{PREFIX}{name}".upper(), _shown(name, found)


def _shown(name: str, value: Any) -> Any:
    """Return a value as JSON, without what is secret in it."""
    match value:
        case SecretStr() if name == "redis.url":
            return _server(value.get_secret_value())
        case SecretStr():
            return _HIDDEN
        case None | bool() | int() | float():
            return value
        case tuple() | list() | frozenset():
            return [_shown(name, each) for each in value]
        case HttpUrl() | str():
            return _USERINFO.sub("…@", str(value))
        case _:
            return str(value)


def _server(url: str) -> str:
    """Say which Redis a URL names, without user, password and options."""
    server = parse(url)
    if isinstance(server, Sentinels):
        hosts = ",".join(f"{host}:{port}" for host, port in server.hosts)
        return f"sentinel://{hosts}/{server.db}?master={server.master}"
    return f"redis{'s' if server.tls else ''}://{server.host}:{server.port}/{server.db}"


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ",".join(map(_text, value))
        case _:
            return str(value)
