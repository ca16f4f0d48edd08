"""What the routes stand on, poured together once for each process."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from config.links import links_of
from config.settings import Settings
from config.store import Store, StoreError
from jobs.access import Access
from jobs.job import Job
from producer.api.event_stream import EventStream
from producer.api.links import Links
from producer.api.metrics import Metrics
from producer.api.pictures import PictureCheck
from producer.receivers import Receivers, make_receivers
from producer.service import Service
from producer.views import Beside
from producer.webhooks import Webhooks, make_webhooks


@dataclass(frozen=True)
class Parts:
    """The settings of this process, the service over them, who may use it, and what it tells as it happens."""

    settings: Settings
    service: Service
    access: Access
    pictures: PictureCheck | None
    store: Store
    event_stream: EventStream
    metrics: Metrics

    @cached_property
    def receivers(self) -> Receivers:
        """What can be done about the telling of ended jobs; made when first needed."""
        return make_receivers(self.settings)

    @cached_property
    def webhooks(self) -> Webhooks:
        """What can be done about webhook endpoints; made when first needed."""
        return make_webhooks(self.settings)

    @cached_property
    def links(self) -> Links:
        """Makes links by the deployment's own secret, which is read when the first is made."""
        return Links(self.access.link_secret())

    def beside(self, job: Job, *, at: float | None = None) -> Beside:
        """What a view of the job needs beside its row; links that cannot be signed now are left out.

        Without `at`, the time, the fleet's clock is asked where it matters.
        """
        links: dict[str, str] = {}
        if self.settings.archive.links != "none":
            with suppress(StoreError):
                links = links_of(job, self.settings, self.store)
        return self.service.beside(job, links=links, at=at)


def parts_of(request: Request) -> Parts:
    """The parts of the app that a request came to."""
    parts: Parts = request.app.state.parts
    return parts


async def _parts(request: Request) -> Parts:
    return parts_of(request)


Needs = Annotated[Parts, Depends(_parts)]
"""How a route asks for them."""
