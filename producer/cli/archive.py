"""`rushes archive`: what becomes of the videos that are kept."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from config.connection import connect, retention
from config.settings import Settings
from jobs.ledger import Ledger
from jobs.states import Status
from producer.cli.exits import Exit, explained, leave, using_archive
from producer.cli.session import Session, emit_json
from producer.cli.telling import clock_time, size
from producer.retention import Doomed, Pruner, Rules

archive = typer.Typer(help="What becomes of the videos that are kept.", no_args_is_help=True, rich_markup_mode=None)

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS_BYTES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@archive.callback()
def _archive() -> None:
    """Keep `prune` a subcommand, although it is the only one."""


@archive.command()
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and touch nothing.")] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Videos ordered longer ago, such as 30d or 12h; in place of the settings.")
    ] = None,
    keep_bytes: Annotated[
        str | None, typer.Option(help="The archive's size in all, such as 200G; in place of the setting.")
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option(help="Only videos of jobs that ended so (repeat for more).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a job a line.")] = False,
) -> None:
    """Remove the videos whose time is over, with what stands beside them. Without any rule, nothing goes."""
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
            for one in plan:
                if not dry_run:
                    pruner.remove(one)
                _tell(session, one, dry_run=dry_run, as_json=as_json)
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
    """A number with its unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]?)", text)
    if found is None or found[2] not in units:
        leave(Exit.USAGE, f"{option} takes a number with one of {', '.join(filter(None, units))}; got {text!r}.")
    return float(found[1]) * units[found[2]]


def _tell(session: Session, one: Doomed, *, dry_run: bool, as_json: bool) -> None:
    kept = one.kept
    if as_json:
        emit_json(
            {
                "id": kept.job_id,
                "status": kept.status,
                "why": one.why,
                "size_bytes": kept.size_bytes,
                "paths": kept.paths,
                "removed": not dry_run,
            }
        )
        return
    verb = "would go" if dry_run else "removed"
    told = f"{verb}  {kept.job_id}  ordered {clock_time(kept.accepted_at)}  {size(kept.size_bytes)}  by {one.why}"
    session.out.print(told, markup=False)


def _sum_up(session: Session, plan: Sequence[Doomed], *, dry_run: bool) -> None:
    total = size(sum(one.kept.size_bytes for one in plan))
    verb = "would go" if dry_run else "removed"
    videos = "1 video" if len(plan) == 1 else f"{len(plan)} videos"
    session.out.print(f"{videos}, {total} {verb}" if plan else "Nothing is to go.")
