"""What every command needs: settings, the service over them, and where output goes."""

import codecs
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from rich.console import Console

from config.links import links_of
from config.settings import Settings, load
from config.store import Store, open_store
from jobs.job import Job, VideoRequest
from producer.cli.exits import using_archive
from producer.cli.visible import json_safe
from producer.receivers import Receivers, make_receivers
from producer.service import Service, make_service
from producer.views import job_view
from producer.webhooks import Webhooks, make_webhooks

PIPE_WIDTH: Final = 240
"""A pipe has no edge to wrap at; a table needs some width all the same."""


class Out(Console):
    """A console that lets the command end quietly when its reader has gone, instead of leaving with an error."""

    def on_broken_pipe(self) -> None:
        """Leave the decision to the command that prints."""
        raise BrokenPipeError


@dataclass
class Session:
    """One run of a command; connects when first asked."""

    @cached_property
    def settings(self) -> Settings:
        """The settings as they are here and now."""
        return load()

    @cached_property
    def service(self) -> Service:
        """The service over them."""
        return make_service(self.settings)

    @cached_property
    def receivers(self) -> Receivers:
        """What can be done about the telling of ended jobs."""
        return make_receivers(self.settings)

    @cached_property
    def webhooks(self) -> Webhooks:
        """What can be done about webhook endpoints."""
        return make_webhooks(self.settings)

    @cached_property
    def store(self) -> Store:
        """Where the videos are."""
        return open_store(self.settings)

    @cached_property
    def out(self) -> Console:
        """Standard output for people."""
        return Out(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)

    @cached_property
    def progress(self) -> Console:
        """Where live progress is drawn: never into a pipe that expects the result."""
        return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    def view(self, job: Job, request: VideoRequest) -> dict[str, Any]:
        """The job as JSON, with this host's paths."""
        with using_archive():
            links = links_of(job, self.settings, self.store) if self.settings.archive.links != "none" else {}
        return job_view(job, request, self.service.beside(job, archive=self.settings.archive_root, links=links))


def emit_json(value: Any) -> None:
    """Write one JSON value on one line of standard output; in ASCII where that knows no Unicode."""
    knows_unicode = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    sys.stdout.write(json_safe(json.dumps(value, ensure_ascii=not knows_unicode)) + "\n")
    sys.stdout.flush()
