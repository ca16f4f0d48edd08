"""`rushes open`: opens the page of this deployment, or of one job, in the browser."""

import os
import sys
import webbrowser
from typing import Annotated
from urllib.parse import quote

import typer

from config.settings import Settings
from producer.cli.exits import explained
from producer.cli.job_ids import complete
from producer.cli.session import Session


def open_page(
    job_id: Annotated[
        str | None, typer.Argument(help="A job's id.", show_default=False, autocompletion=complete)
    ] = None,
) -> None:
    """Open the page, or a job's page, in the browser; its address is printed, and all there is without a browser."""
    with explained():
        session = Session()
        if job_id is not None:
            session.service.get(job_id)
        address = page_address(session.settings, job_id)
        typer.echo(address)
        if has_browser():
            webbrowser.open(address)


def page_address(settings: Settings, job_id: str | None = None) -> str:
    """Return the address of the page, or of a job's page."""
    api = settings.api
    host = "127.0.0.1" if api.host in {"0.0.0.0", "::"} else api.host  # noqa: S104 (an address that listens on all)
    host = f"[{host}]" if ":" in host else host
    base = str(api.public_url).rstrip("/") if api.public_url else f"http://{host}:{api.port}"
    return f"{base}/jobs/{quote(job_id, safe='')}" if job_id else f"{base}/"


def has_browser() -> bool:
    """Whether a browser has a window to open; one in the terminal would take it over."""
    windowed = sys.platform in {"darwin", "win32"} or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return windowed or bool(os.environ.get("BROWSER"))
