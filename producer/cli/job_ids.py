"""A job's id as an argument, with its completion in shells."""

from typing import Annotated, Final

import typer

from producer.cli.visible import visible

_MOST: Final = 30
_TIMEOUT_S: Final = 1.0


def complete(incomplete: str) -> list[tuple[str, str]]:
    """List the newest jobs whose ids begin so, each with its state and prompt; nothing if that takes long, or fails."""
    try:
        return _beginning(incomplete)
    except Exception:  # noqa: BLE001 (an error would be printed into the command line that somebody types)
        return []


def _beginning(start: str) -> list[tuple[str, str]]:
    from config.connection import connect  # noqa: PLC0415 (a shell that completes; commands import it later)
    from config.settings import load  # noqa: PLC0415 (as above)
    from jobs.ledger import Ledger  # noqa: PLC0415 (as above)

    quick = {"socket_timeout_s": _TIMEOUT_S}
    with connect(load().redis.model_copy(update=quick), name="completion") as client:
        ledger = Ledger(client)
        ids = [job_id for job_id in ledger.page(limit=_MOST, after=f"{start}~") if job_id.startswith(start)]
        return [
            (job.id, visible(f"{job.state} {' '.join((request.prompt or '').split())[:60]}"))
            for job, request in ledger.listed(ids)
        ]


JobId = Annotated[str, typer.Argument(help="The job's id.", autocompletion=complete)]
JobIds = Annotated[list[str] | None, typer.Argument(help="The jobs' ids.", show_default=False, autocompletion=complete)]
