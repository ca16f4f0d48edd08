"""`rushes archive`: manages the stored videos."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from config.connection import connect, retention
from config.settings import Settings
from jobs.ledger import Ledger
from jobs.states import Status
from producer.cli.display import clock_time, size
from producer.cli.exits import Exit, explained, leave, using_archive
from producer.cli.session import Session, emit_json
from producer.counted import counted
from producer.retention import Pruner, Removal, Rules

archive = typer.Typer(help="Manage the stored videos.", no_args_is_help=True, rich_markup_mode=None)

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS_BYTES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@archive.callback()
def _archive() -> None:
    """Keep `prune` a subcommand, although it is the only one."""


@archive.command()
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the videos.")] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Remove videos of jobs accepted before: 30d, 12h. Replaces the settings.")
    ] = None,
    keep_bytes: Annotated[
        str | None, typer.Option(help="Remove until the archive has this size: 200G. Replaces the settings.")
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option(help="Only videos of jobs with this status (repeat for more).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one job a line.")] = False,
) -> None:
    """Remove videos, with their artifacts, by age or by the archive's size. Without a rule nothing is removed."""
    with explained(), using_archive():
        session = Session()
        rules = _rules(session.settings, older_than, keep_bytes, frozenset(status or ()))
        if not rules.are_any:
            leave(
                Exit.USAGE,
                "There is no rule: give --older-than or --keep-bytes, or set RUSHES_ARCHIVE__KEEP_COMPLETED_S, "
                "__KEEP_FETCHED_LATE_S or __KEEP_BYTES.",
            )
        with connect(session.settings.redis, name="prune") as client:
            pruner = Pruner(session.store, Ledger(client, retention=retention(session.settings)))
            plan = pruner.plan(rules)
            for removal in plan:
                if not dry_run:
                    pruner.remove(removal)
                _report(session, removal, dry_run=dry_run, as_json=as_json)
        if not as_json:
            _sum_up(session, plan, dry_run=dry_run)


def _rules(settings: Settings, older_than: str | None, keep_bytes: str | None, statuses: frozenset[Status]) -> Rules:
    chosen = settings.archive
    if older_than is None and keep_bytes is None:
        return Rules(chosen.keep_completed_s, chosen.keep_fetched_late_s, chosen.keep_bytes, statuses)
    age_s = None if older_than is None else _read(older_than, "--older-than", _UNITS_S)
    most = None if keep_bytes is None else int(_read(keep_bytes, "--keep-bytes", _UNITS_BYTES))
    return Rules(age_s, age_s, most, statuses)


def _read(text: str, option: str, units: dict[str, int]) -> float:
    """Parse a number with its unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]?)", text)
    if found is None or found[2] not in units:
        leave(Exit.USAGE, f"{option} takes a number with one of {', '.join(filter(None, units))}; got {text!r}.")
    return float(found[1]) * units[found[2]]


def _report(session: Session, removal: Removal, *, dry_run: bool, as_json: bool) -> None:
    job = removal.job
    if as_json:
        emit_json(
            {
                "id": job.job_id,
                "status": job.status,
                "why": removal.why,
                "size_bytes": job.size_bytes,
                "paths": job.paths,
                "removed": not dry_run,
            }
        )
        return
    verb = "would remove" if dry_run else "removed"
    accepted = clock_time(job.accepted_at)
    line = f"{verb}  {job.job_id}  accepted {accepted}  {size(job.size_bytes)}  by {removal.why}"
    session.out.print(line, markup=False)


def _sum_up(session: Session, plan: Sequence[Removal], *, dry_run: bool) -> None:
    total = size(sum(removal.job.size_bytes for removal in plan))
    verb = "would remove" if dry_run else "removed"
    videos = counted(len(plan), "video", "videos")
    session.out.print(f"{verb} {videos}, {total}" if plan else "There is nothing to remove.")
