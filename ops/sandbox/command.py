"""The command line of the sandbox."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from ops.sandbox.book import BookError
from ops.sandbox.server import CannotListenError, run
from ops.sandbox.settings import SandboxSettings


def told(field: str) -> str:
    """The description that a setting has, for the option that overrides it."""
    return SandboxSettings.model_fields[field].description or ""


def sandbox(
    host: Annotated[str | None, typer.Option(help=told("host"))] = None,
    port: Annotated[int | None, typer.Option(help=told("port"))] = None,
    api_key: Annotated[str | None, typer.Option(help=told("api_key"))] = None,
    time_scale: Annotated[float | None, typer.Option(help=told("time_scale"))] = None,
    seed: Annotated[int | None, typer.Option(help=told("seed"))] = None,
    latency_median_s: Annotated[float | None, typer.Option(help=told("latency_median_s"))] = None,
    latency_sigma: Annotated[float | None, typer.Option(help=told("latency_sigma"))] = None,
    latency_minimum_s: Annotated[float | None, typer.Option(help=told("latency_minimum_s"))] = None,
    url_life_s: Annotated[float | None, typer.Option(help=told("url_life_s"))] = None,
    log_delay_s: Annotated[float | None, typer.Option(help=told("log_delay_s"))] = None,
    log_after: Annotated[Literal["completion", "acceptance"] | None, typer.Option(help=told("log_after"))] = None,
    balance_usd: Annotated[float | None, typer.Option(help=told("balance_usd"))] = None,
    strict_paths: Annotated[bool | None, typer.Option(help=told("strict_paths"))] = None,
    state_dir: Annotated[Path | None, typer.Option(help=told("state_dir"))] = None,
    render: Annotated[Literal["prompt", "shared"] | None, typer.Option(help=told("render"))] = None,
    render_processes: Annotated[int | None, typer.Option(help=told("render_processes"))] = None,
    clip_cache_bytes: Annotated[int | None, typer.Option(help=told("clip_cache_bytes"))] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the base URL here once it really listens.")] = None,
) -> None:
    """Run a stand-in for the paid video service, with real videos and no bill.

    Every option can be set in the environment too: RUSHES_SANDBOX__PORT, RUSHES_SANDBOX__TIME_SCALE, …
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "ready_file"}
    try:
        settings = SandboxSettings(**given)
        run(settings, lambda url: announce(url, settings), ready_file)
    except ValidationError as invalid:
        fail("; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors()))
    except (CannotListenError, BookError) as hindrance:
        fail(str(hindrance))


def announce(url: str, settings: SandboxSettings) -> None:
    """One line: where it is, what lets one in, how it ends."""
    key = settings.api_key.get_secret_value()
    typer.echo(f"Sandbox upstream at {url} (key: {key}, {settings.time_scale:g}x time). Stop it with Ctrl-C.")


def fail(sentence: str) -> None:
    """Say what is wrong and leave."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
