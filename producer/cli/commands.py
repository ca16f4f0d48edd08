"""The `rushes` command: where each of its commands is. Only the one that runs is imported; ops adds its own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS: Final[Mapping[str, str]] = {
    "submit": "producer.cli.submit:submit",
    "get": "producer.cli.job_commands:get",
    "list": "producer.cli.job_commands:list_jobs",
    "status": "producer.cli.status:status",
    "watch": "producer.cli.dashboard:watch",
    "wait": "producer.cli.job_commands:wait",
    "cancel": "producer.cli.cancel:cancel",
    "retry": "producer.cli.job_changes:retry",
    "erase": "producer.cli.job_changes:erase",
    "events": "producer.cli.job_commands:events",
    "download": "producer.cli.download:download",
    "open": "producer.cli.open_page:open_page",
    "batch": "producer.cli.batches:batch",
    "models": "producer.cli.models:models",
    "adopt": "producer.cli.doubts:adopt",
    "resolve": "producer.cli.doubts:resolve",
    "queue": "producer.cli.queue:queue",
    "limits": "producer.cli.limits:limits",
    "keys": "producer.cli.keys:keys",
    "hooks": "producer.cli.hooks:hooks",
    "webhooks": "producer.cli.webhooks:webhooks",
    "archive": "producer.cli.archive:archive",
    "config": "producer.cli.settings:config",
}
"""The producer's commands and groups of commands, as module:name."""

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "submit": ('submit "a paper boat in the rain" --duration 8', 'submit --wait -o boat.mp4 "a paper boat"'),
    "get": ("get JOB", "get JOB --json"),
    "list": ("list --status failed --since 2h", "list --metadata campaign=spring --json"),
    "status": ("status", "status --watch"),
    "watch": ("watch --limit 30",),
    "wait": ("wait JOB --timeout 600",),
    "cancel": ("cancel JOB", "cancel --status queued --tenant shop --dry-run", "cancel --metadata batch=night"),
    "retry": ("retry JOB",),
    "erase": ("erase JOB",),
    "events": ("events JOB", "events JOB --follow"),
    "download": ("download JOB -o boat.mp4", "download --metadata campaign=spring --since 3d -o videos/"),
    "open": ("open", "open JOB"),
    "batch": ("batch prompts.csv -o videos/", "batch prompts.jsonl --no-wait"),
    "models": ("models", "models google/veo3"),
    "adopt": ("adopt JOB GENERATION",),
    "resolve": ("resolve JOB --give-up",),
    "queue": ('queue pause --reason "the budget is used up"', "queue resume"),
    "limits": ("limits list", "limits set --in-flight 50 --per-min 30"),
    "keys": ("keys issue --tenant shop", "keys list"),
    "hooks": ("hooks list", "hooks test shop:video_is_ready"),
    "webhooks": ("webhooks add https://shop.example/rushes", "webhooks list"),
    "archive": ("archive prune --older-than 30d --dry-run",),
    "config": ("config --changed", "config --json"),
}
"""What a person types; shown below a command's options."""

_PASSES_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


def command_line(
    places: Mapping[str, str], *, examples: Mapping[str, Sequence[str]], passing_on: Collection[str] = ()
) -> typer.Typer:
    """Make a command line of the commands at these places; those of `passing_on` take any option."""

    class Group(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.commands = _Commands(places, examples, passing_on)  # type: ignore[assignment]  # nobody adds to it

    return typer.Typer(
        name="rushes",
        cls=Group,
        callback=lambda: None,  # makes it a group, as it has no commands of its own
        help="Turns prompts into stored videos. Exit codes: docs/reference/cli.md.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Commands(Mapping[str, Any]):
    """The commands by name; each is imported when it is looked up, because all together take two seconds of CPU."""

    def __init__(
        self, places: Mapping[str, str], examples: Mapping[str, Sequence[str]], passing_on: Collection[str]
    ) -> None:
        self._places, self._examples, self._passing_on = places, examples, passing_on
        self._made = cache(self._make)

    def __getitem__(self, name: str) -> Any:
        return self._made(self._places[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _make(self, place: str, name: str) -> Any:
        module, _, attribute = place.partition(":")
        found = getattr(import_module(module), attribute)
        alone = typer.Typer(rich_markup_mode=None, callback=lambda: None)
        lines = ["\b", "Examples:", *(f"  rushes {example}" for example in self._examples[name])]
        epilog = "\n".join(lines)  # after \b click keeps the lines as they are
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=name, epilog=epilog)
        else:
            settings = _PASSES_ON if name in self._passing_on else None
            alone.command(name, context_settings=settings, epilog=epilog)(found)
        return get_group(alone).commands[name]
