"""Shows how far a long command is: on a terminal a bar with rate and time left, in a pipe a line now and then."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_LINE_EVERY_S: Final = 5.0


class Rate(ProgressColumn):
    """How many are done a second, or a minute."""

    def render(self, task: Task) -> Text:
        """Format the rate of the last moments."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{speed:.0f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")


class Meter:
    """Counts what is done of each stage of a command."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._name, self._total = "", 0
        self._said, self._said_at = 0, 0.0

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bar.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Leave the last picture where it is."""
        self._bar.stop()

    def begin(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._task = self._bar.add_task(name, total=total, note="")
        self._name, self._total, self._said = name, total, 0

    def reach(self, done: int, note: str = "") -> None:
        """Say how much of the stage is done."""
        self._bar.update(self._task, completed=done, note=note)
        is_time = done == self._total or time.monotonic() - self._said_at >= _LINE_EVERY_S
        if not self._console.is_terminal and done != self._said and is_time:
            self._said, self._said_at = done, time.monotonic()
            self._console.print(f"{self._name}: {done} of {self._total}{f' ({note})' if note else ''}")
