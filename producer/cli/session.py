"""What every command needs: the settings, the services over them, and the consoles."""

import codecs
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from config.links import links_of
from config.settings import Settings, load
from config.store import Store, open_store
from jobs.job import Job, VideoRequest
from producer.cli.exits import using_archive
from producer.cli.visible import json_safe
from producer.service import Service, make_service
from producer.views import job_view

if TYPE_CHECKING:
    from rich.console import Console

    from producer.receivers import Receivers
    from producer.webhooks import Webhooks

PIPE_WIDTH: Final = 240
"""The width of tables in a pipe, which has none."""


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
    def receivers(self) -> "Receivers":
        """The receivers of ended jobs and their deliveries."""
        from producer.receivers import make_receivers  # noqa: PLC0415 (few commands need them)

        return make_receivers(self.settings)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """The webhook endpoints."""
        from producer.webhooks import make_webhooks  # noqa: PLC0415 (few commands need them)

        return make_webhooks(self.settings)

    @cached_property
    def store(self) -> Store:
        """The archive."""
        return open_store(self.settings)

    @cached_property
    def out(self) -> "Console":
        """Standard output, for people."""
        from producer.cli.console import Out  # noqa: PLC0415 (rich, which JSON does not need)

        return Out(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)

    @cached_property
    def screen(self) -> "Console":
        """The whole terminal, for what is kept open: long lines are wrapped, as nothing can be copied past its edge."""
        from producer.cli.console import Out  # noqa: PLC0415 (as above)

        return Out(highlight=False)

    @cached_property
    def progress(self) -> "Console":
        """Standard error, for progress, so that a pipe gets only the result."""
        from rich.console import Console  # noqa: PLC0415 (as above)

        return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    def view(self, job: Job, request: VideoRequest, *, placed: bool = False) -> dict[str, Any]:
        """Return the job as JSON, with this host's paths; `placed`: with its place in the queue."""
        with using_archive():
            links = links_of(job, self.settings, self.store) if self.settings.archive.links != "none" else {}
        beside = self.service.beside(job, archive=self.settings.archive_root, links=links, placed=placed)
        return job_view(job, request, beside)


def emit_json(value: Any) -> None:
    """Print a JSON value on one line of standard output; in ASCII unless that is UTF-8."""
    is_unicode = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    sys.stdout.write(json_safe(json.dumps(value, ensure_ascii=not is_unicode)) + "\n")
    sys.stdout.flush()
