"""`rushes db` and `rushes export`: the schema of the database of results, and its rows as files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.states import Status
from producer.cli.exits import explained, say
from producer.counted import counted

db = typer.Typer(help="The database of results: its schema.", no_args_is_help=True)


@db.command("upgrade")
def upgrade_schema() -> None:
    """Create or migrate the table; safe to repeat, and while workers run."""
    from ops.exports import opened_database, upgrade  # noqa: PLC0415 (SQLAlchemy would slow every other command)

    with explained(), opened_database() as engine:
        before, after = upgrade(engine)
        typer.echo(f"The schema was at {before or 'nothing'} and is at {after}.")


@db.command("check")
def check_schema() -> None:
    """Check that the schema is this version's; exit 1 if not."""
    from ops.exports import check, opened_database  # noqa: PLC0415 (SQLAlchemy would slow every other command)

    with explained(), opened_database() as engine:
        check(engine)
        typer.echo("The schema is up to date.")


def export(
    *,
    form: Annotated[Literal["csv", "jsonl"], typer.Option("--format", "-f", help="csv or jsonl.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Jobs that ended at this UTC time or later.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Jobs that ended before this UTC time.")] = None,
    status: Annotated[list[Status] | None, typer.Option(help="Only these; repeat for more.")] = None,
) -> None:
    """Write the database of results as CSV or JSON lines, in the order in which the jobs ended."""
    from ops.exports import Choice, write_rows  # noqa: PLC0415 (SQLAlchemy would slow every other command)

    with explained():
        count = write_rows(form, output, Choice(_utc(since), _utc(before), status or ()))
        if output:
            say(f"{counted(count, 'row', 'rows')} in {output}")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None
