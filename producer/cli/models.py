"""`rushes models`: which models Rushes knows, and what each takes."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from producer.cli.exits import Exit, explained, leave
from producer.cli.session import Session, emit_json
from producer.cli.visible import visible
from producer.models.views import ModelView, model_view, model_views
from producer.models.wording import may_be


def models(
    model: Annotated[str | None, typer.Argument(help="Show this model's parameters.", show_default=False)] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; of one model its JSON schema.")] = False,
) -> None:
    """List the models that Rushes knows, or show what one of them takes."""
    with explained():
        if model is None:
            _list(as_json=as_json)
        elif view := model_view(model):
            _show(view, as_json=as_json)
        else:
            leave(
                Exit.USAGE,
                f"Rushes does not know the model {visible(model)}; `rushes models` lists those it knows.",
                "A model of another vendor can be used all the same: the upstream judges its parameters.",
            )


def _list(*, as_json: bool) -> None:
    if as_json:
        for view in model_views():
            emit_json(view)
        return
    table = Table(Column("model", overflow="fold"), "requires", "what it is", box=None, header_style="dim")
    for view in model_views():
        schema = view["parameters"]
        table.add_row(*map(Text, (view["id"], ", ".join(schema["required"]), schema["description"])))
    Session().out.print(table)


def _show(view: ModelView, *, as_json: bool) -> None:
    schema = view["parameters"]
    if as_json:
        emit_json(schema)
        return
    table = Table(Column("parameter", overflow="fold"), "may be", "default", "what it is", box=None, header_style="dim")
    for name, parameter in sorted(schema["properties"].items(), key=lambda item: item[0] not in schema["required"]):
        default = "(required)" if name in schema["required"] else _default(parameter)
        table.add_row(*map(Text, (name, may_be(parameter), default, parameter["description"])))
    Session().out.print(table)


def _default(parameter: Mapping[str, Any]) -> str:
    if "default" not in parameter:
        return "-"
    value = parameter["default"]
    return value if isinstance(value, str) else json.dumps(value)
