"""`python -m ops.sandbox`."""

import typer

from ops.sandbox.command import sandbox

if __name__ == "__main__":
    typer.run(sandbox)
