"""The command line of the sandbox."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from ops.sandbox.generation_file import GenerationFileError
from ops.sandbox.server import CannotListenError, run
from ops.sandbox.settings import SandboxSettings


def described(field: str) -> str:
    """Return the description of a setting, for the option of the same name."""
    return SandboxSettings.model_fields[field].description or ""


def sandbox(
    host: Annotated[str | None, typer.Option(help=described("host"))] = None,
    port: Annotated[int | None, typer.Option(help=described("port"))] = None,
    api_key: Annotated[str | None, typer.Option(help=described("api_key"))] = None,
    time_scale: Annotated[float | None, typer.Option(help=described("time_scale"))] = None,
    seed: Annotated[int | None, typer.Option(help=described("seed"))] = None,
    latency_median_s: Annotated[float | None, typer.Option(help=described("latency_median_s"))] = None,
    latency_sigma: Annotated[float | None, typer.Option(help=described("latency_sigma"))] = None,
    latency_minimum_s: Annotated[float | None, typer.Option(help=described("latency_minimum_s"))] = None,
    url_life_s: Annotated[float | None, typer.Option(help=described("url_life_s"))] = None,
    log_delay_s: Annotated[float | None, typer.Option(help=described("log_delay_s"))] = None,
    log_after: Annotated[Literal["completion", "acceptance"] | None, typer.Option(help=described("log_after"))] = None,
    balance_usd: Annotated[float | None, typer.Option(help=described("balance_usd"))] = None,
    strict_paths: Annotated[bool | None, typer.Option(help=described("strict_paths"))] = None,
    state_dir: Annotated[Path | None, typer.Option(help=described("state_dir"))] = None,
    render: Annotated[Literal["prompt", "shared"] | None, typer.Option(help=described("render"))] = None,
    render_processes: Annotated[int | None, typer.Option(help=described("render_processes"))] = None,
    clip_cache_bytes: Annotated[int | None, typer.Option(help=described("clip_cache_bytes"))] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the base URL to this file once it listens.")] = None,
) -> None:
    """Run a stand-in for the paid video service that renders real videos and charges nothing.

    Every option can be set in the environment too: RUSHES_SANDBOX__PORT, RUSHES_SANDBOX__TIME_SCALE, …
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "ready_file"}
    try:
        settings = SandboxSettings(**given)
        run(settings, lambda url: announce(url, settings), ready_file)
    except ValidationError as invalid:
        fail("; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors()))
    except (CannotListenError, GenerationFileError) as error:
        fail(str(error))


def announce(url: str, settings: SandboxSettings) -> None:
    """Print one line: the address, the key, how to stop it."""
    key = settings.api_key.get_secret_value()
    typer.echo(f"Sandbox upstream at {url} (key: {key}, {settings.time_scale:g}x time). Stop it with Ctrl-C.")


def fail(sentence: str) -> None:
    """Print an error and exit with code 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
