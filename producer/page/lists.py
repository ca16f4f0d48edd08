"""Lists of jobs for the page: filtered by a plain GET form, a bounded page at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool

from jobs.artifacts import Artifact
from jobs.job import Job, VideoRequest
from jobs.states import Status
from producer.api.problems import Problem
from producer.api.videos import JOB_ID
from producer.keys import Scope
from producer.page.visit import SignIn, Visit, admit
from producer.service import READ_AT_ONCE, Page, Selection
from producer.views import job_view

MOST_READ: Final = 500
"""A page reads at most this many jobs, however few fit; a link goes on from there."""

SINCE: Final[Mapping[str, tuple[str, float]]] = {
    "1h": ("the last hour", 3600),
    "1d": ("the last day", 86_400),
    "7d": ("the last week", 7 * 86_400),
}
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """What the form asks for; an empty field fits all. `label` is `name=value`."""

    q: str = ""
    status: str = ""
    model: str = ""
    tenant: str = ""
    label: str = ""
    since: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filter":
        """Read the query; what is no filter of ours is ignored, as a link's other parts are."""
        return cls(**{name: query.get(name, "").strip()[:_LONGEST] for name in cls.__dataclass_fields__})

    def selection(self, *, tenant: str | None, now: float) -> Selection:
        """Return the service's selection, of a tenant's jobs if the visitor has one."""
        name, _, value = self.label.partition("=")
        return Selection(
            statuses=[Status(self.status)] if self.status in set(Status) else [],
            model=self.model or None,
            metadata={name.strip(): value.strip()} if name.strip() else {},
            created_from=now - SINCE[self.since][1] if self.since in SINCE else None,
            tenant=tenant if tenant is not None else self.tenant or None,
            text=self.q,
        )

    def query(self, **others: str | None) -> str:
        """Return the query of a link to the same list with other values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__} | others
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def is_set(self) -> bool:
        """Whether any field is."""
        return self != Filter()


@dataclass(frozen=True, slots=True)
class Row:
    """A job as a list shows it: the API's view of it, and what no view has."""

    job: Job
    view: Mapping[str, Any]
    elapsed_s: float | None
    """Seconds since the generation began, if it has an ETA."""

    @property
    def has_poster(self) -> bool:
        """Whether a poster stands beside its video."""
        return Artifact.POSTER in self.view["artifacts"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of rows. `after`: there may be more behind that id; `is_cut`: many were read and few fitted."""

    rows: Sequence[Row]
    after: str | None
    is_cut: bool
    now: float


async def listed(visit: Visit, wanted: Filter, *, limit: int) -> Listed:
    """Read a page; each 100 jobs beyond the first are charged as one request, and where the quota ends, it ends."""
    now = await run_in_threadpool(visit.parts.service.now)
    selection = wanted.selection(tenant=visit.tenant, now=now)
    asked = visit.request.query_params.get("after")
    after = asked if asked and JOB_ID.fullmatch(asked) else None
    jobs: list[tuple[Job, VideoRequest]] = []
    is_cut = False
    for _ in range(0, MOST_READ, READ_AT_ONCE):
        page = await run_in_threadpool(_page, visit, selection, limit - len(jobs), after)
        jobs, after, is_cut = [*jobs, *page.jobs], page.after, page.is_cut
        if not is_cut or not await _may_read_on(visit):
            break
        await asyncio.sleep(0)
    rows = await run_in_threadpool(lambda: [row_of(visit, job, request, now=now) for job, request in jobs])
    return Listed(rows, after, is_cut, now)


def row_of(visit: Visit, job: Job, request: VideoRequest, *, now: float) -> Row:
    """Return a job's row."""
    view = job_view(job, request, visit.parts.beside(job, at=now))
    elapsed_s = max(now - job.began_at, 0.0) if view["eta"] and job.began_at is not None else None
    return Row(job, view, elapsed_s)


def _page(visit: Visit, selection: Selection, limit: int, after: str | None) -> Page:
    return visit.parts.service.page(selection, limit=limit, after=after, most_read=READ_AT_ONCE)


async def _may_read_on(visit: Visit) -> bool:
    try:
        await admit(visit.request, visit.parts, Scope.READ)
    except (Problem, SignIn):
        return False
    return True
