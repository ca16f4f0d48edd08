"""The console of commands that print for people."""

from rich.console import Console


class Out(Console):
    """A console that raises BrokenPipeError when its reader has gone, so that the command can end quietly."""

    def on_broken_pipe(self) -> None:
        """Raise instead of exiting."""
        raise BrokenPipeError
