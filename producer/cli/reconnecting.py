"""A live picture that outlives an outage."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from jobs.errors import LedgerUnavailable
from producer.cli.session import Session
from producer.cli.visible import visible

REFRESH_S: Final = 1.0
"""How often a live picture is read again."""


class Reconnecting:
    """A picture that is read again and again; after an outage from wherever the stack is then."""

    def __init__(self, session: Session, read: Callable[[Session], RenderableType]) -> None:
        self._session = session
        self._read = read
        self._picture = read(session)

    def __rich__(self) -> RenderableType:
        """Draw the last reading."""
        return self._picture

    def refresh_until_interrupted(self, every_s: float) -> None:
        """Read every `every_s` seconds until Ctrl-C."""
        while True:
            time.sleep(every_s)
            self.refresh()

    def refresh(self) -> None:
        """Read; during an outage say so, and look for a stack that was started again, maybe on other ports."""
        try:
            self._picture = self._read(self._session)
        except LedgerUnavailable as error:
            self._picture = Text(visible(f"Redis is unavailable: {error}. It is looked for again."), style="red")
            self._session = Session()
