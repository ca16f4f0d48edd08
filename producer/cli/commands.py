"""The producer's part of the `rushes` command; ops adds the rest."""

import typer

from producer.cli.archive import archive
from producer.cli.batches import batch
from producer.cli.doubts import adopt, resolve
from producer.cli.hooks import hooks
from producer.cli.job_commands import cancel, download, events, get, list_jobs, wait, watch
from producer.cli.keys import keys
from producer.cli.models import models
from producer.cli.submit import submit
from producer.cli.webhooks import webhooks

app = typer.Typer(
    name="rushes",
    help="Turns prompts into stored videos. Exit codes: docs/cli.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(submit)
app.command()(get)
app.command("list")(list_jobs)
app.command()(watch)
app.command()(wait)
app.command()(cancel)
app.command()(events)
app.command()(download)
app.command()(batch)
app.command()(models)
app.command()(adopt)
app.command()(resolve)
app.add_typer(keys)
app.add_typer(hooks, name="hooks")
app.add_typer(webhooks, name="webhooks")
app.add_typer(archive, name="archive")
