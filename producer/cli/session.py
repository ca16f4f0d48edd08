"""What every command needs: the settings, the services over them, and the consoles."""

import codecs
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.text import Text

from config.links import links_of
from config.settings import Settings, load
from config.store import Store, open_store
from jobs.errors import LedgerUnavailable
from jobs.job import Job, VideoRequest
from producer.cli.exits import using_archive
from producer.cli.visible import json_safe, visible
from producer.receivers import Receivers, make_receivers
from producer.service import Service, make_service
from producer.views import job_view
from producer.webhooks import Webhooks, make_webhooks

PIPE_WIDTH: Final = 240
"""The width of tables in a pipe, which has none."""

REFRESH_S: Final = 1.0
"""How often a live picture is read again."""


class Out(Console):
    """A console that raises BrokenPipeError when its reader has gone, so that the command can end quietly."""

    def on_broken_pipe(self) -> None:
        """Raise instead of exiting."""
        raise BrokenPipeError


@dataclass
class Session:
    """One run of a command; it connects on first use."""

    @cached_property
    def settings(self) -> Settings:
        """The settings of this host."""
        return load()

    @cached_property
    def service(self) -> Service:
        """The producer's service."""
        return make_service(self.settings)

    @cached_property
    def receivers(self) -> Receivers:
        """The receivers of ended jobs and their deliveries."""
        return make_receivers(self.settings)

    @cached_property
    def webhooks(self) -> Webhooks:
        """The webhook endpoints."""
        return make_webhooks(self.settings)

    @cached_property
    def store(self) -> Store:
        """The archive."""
        return open_store(self.settings)

    @cached_property
    def out(self) -> Console:
        """Standard output, for people."""
        return Out(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)

    @cached_property
    def screen(self) -> Console:
        """The whole terminal, for what is kept open: long lines are wrapped, as nothing can be copied past its edge."""
        return Out(highlight=False)

    @cached_property
    def progress(self) -> Console:
        """Standard error, for progress, so that a pipe gets only the result."""
        return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    def view(self, job: Job, request: VideoRequest, *, placed: bool = False) -> dict[str, Any]:
        """Return the job as JSON, with this host's paths; `placed`: with its place in the queue."""
        with using_archive():
            links = links_of(job, self.settings, self.store) if self.settings.archive.links != "none" else {}
        beside = self.service.beside(job, archive=self.settings.archive_root, links=links, placed=placed)
        return job_view(job, request, beside)


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


def emit_json(value: Any) -> None:
    """Print a JSON value on one line of standard output; in ASCII unless that is UTF-8."""
    is_unicode = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    sys.stdout.write(json_safe(json.dumps(value, ensure_ascii=not is_unicode)) + "\n")
    sys.stdout.flush()
