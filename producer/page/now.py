"""`/`: what is under way, and why what waits waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from jobs.job import Job, VideoRequest
from jobs.pauses import Pause
from jobs.states import State, Status
from producer.keys import Scope
from producer.models.catalogue import MODELS
from producer.page.lists import SINCE, Filter, listed
from producer.page.signing import home_of
from producer.page.visit import Visit
from producer.service import STATES_OF
from producer.status import StatusView, status_of
from producer.waiting import paused_until

JOBS: Final = 25
DOUBTS: Final = 5
DOUBTS_READ: Final = 200


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of the deployment, as far as the visitor may see it."""

    counts: Mapping[State, int]
    status: StatusView
    doubts: Sequence[tuple[Job, VideoRequest]]
    cursor: str
    pauses: Mapping[str, Pause]
    """By the sentence that says it, for the button that ends it."""

    @property
    def trouble(self) -> Sequence[str]:
        """What is wrong, in sentences."""
        return self.status["trouble"]

    @property
    def tiles(self) -> Sequence[tuple[Status, int, str]]:
        """Each status with its number of jobs, and that of each state which it covers, in words."""
        return [
            (status, sum(self.counts[state] for state in states), self._within(states)) for status, states in _TILES
        ]

    def _within(self, states: Sequence[State]) -> str:
        parts = [f"{self.counts[state]} {state.replace('_', ' ')}" for state in states if self.counts[state]]
        return ", ".join(parts) if len(states) > 1 else ""


_TILES: Final = tuple(STATES_OF.items())


async def show(visit: Visit) -> Response:
    """Show the situation and a page of jobs; a key that may not read is led to what it may."""
    if visit.key is not None and not visit.may(Scope.READ):
        return visit.go(home_of(visit.key))
    wanted = Filter.of(visit.request.query_params)
    situation = await run_in_threadpool(_situation, visit)
    found = await listed(visit, wanted, limit=JOBS)
    return await run_in_threadpool(
        visit.page, "now.html", now=situation, wanted=wanted, jobs=found, models=MODELS, since=SINCE
    )


def _situation(visit: Visit) -> Situation:
    parts = visit.parts
    cursor = parts.service.newest_event()  # first: what happens from here on is told
    tenant = None if visit.may(Scope.ADMIN) else visit.tenant
    status = status_of(parts.service, parts.receivers, parts.settings, tenant=tenant)
    return Situation(
        counts=parts.service.counts(tenant=visit.tenant),
        status=status,
        doubts=parts.service.in_need(limit=DOUBTS, tenant=visit.tenant, most_read=DOUBTS_READ),
        cursor=cursor,
        pauses={paused_until(pause): pause for pause in parts.service.pauses()},
    )
