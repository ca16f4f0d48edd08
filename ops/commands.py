"""The `rushes` command: the producer's commands, and those that run processes."""

from ops.database import db, export
from ops.doctor import doctor
from ops.parts import PASSES_ON, api, flower, worker
from ops.sandbox.command import sandbox
from ops.stack.demo import demo
from ops.stack.up import up
from producer.cli.commands import app

__all__ = ["app"]

app.command()(demo)
app.command()(up)
app.command(context_settings=PASSES_ON)(worker)
app.command()(api)
app.command(context_settings=PASSES_ON)(flower)
app.command()(doctor)
app.command()(sandbox)
app.command()(export)
app.add_typer(db, name="db")
