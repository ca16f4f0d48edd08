"""The dependencies of the routes, built once per process."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from config.links import links_of
from config.settings import Settings
from config.store import Store, StoreError
from jobs.job import Job
from producer.api.admissions import Admissions
from producer.api.event_stream import EventStream
from producer.api.links import Links
from producer.api.metrics import Metrics
from producer.api.picture_pool import PicturePool
from producer.api.tenant_pool import TenantPlaces
from producer.keys import Keys
from producer.receivers import Receivers, make_receivers
from producer.service import Service
from producer.sessions import Sessions
from producer.status import StatusView, status_of
from producer.views import Beside
from producer.webhooks import Webhooks, make_webhooks


@dataclass(frozen=True)
class Parts:
    """What the routes of this process share."""

    settings: Settings
    service: Service
    access: Keys
    sessions: Sessions
    pictures: PicturePool | None
    large_bodies: TenantPlaces
    watchers: TenantPlaces
    downloads: TenantPlaces
    turns: TenantPlaces
    store: Store
    event_stream: EventStream
    metrics: Metrics
    admissions: Admissions = field(default_factory=Admissions)

    @cached_property
    def receivers(self) -> Receivers:
        """The receivers of ended jobs and their deliveries; made when first used."""
        return make_receivers(self.settings)

    @cached_property
    def webhooks(self) -> Webhooks:
        """The webhook endpoints; made when first used."""
        return make_webhooks(self.settings)

    def status(self, *, tenant: str | None) -> StatusView:
        """Return what a person wants to know at a glance: of the whole deployment, or of one tenant."""
        return status_of(self.service, self.receivers, self.settings, tenant=tenant)

    @cached_property
    def links(self) -> Links:
        """Signed links; their secret is read when the first link is made."""
        return Links(self.access.link_secret())

    def beside(self, job: Job, *, at: float | None = None, placed: bool = False) -> Beside:
        """Collect what a view of the job shows beside its row; links that cannot be signed now are left out.

        `at` is the time in epoch seconds; without it Redis's clock is read if the view needs it. `placed`: with the
        place of a queued job.
        """
        links: dict[str, str] = {}
        if self.settings.archive.links != "none":
            with suppress(StoreError):
                links = links_of(job, self.settings, self.store)
        return self.service.beside(job, links=links, at=at, placed=placed)


def parts_of(request: Request) -> Parts:
    """Return the parts of the app that serves this request."""
    parts: Parts = request.app.state.parts
    return parts


async def _parts(request: Request) -> Parts:
    return parts_of(request)


Needs = Annotated[Parts, Depends(_parts)]
"""The parts as a route's parameter."""
