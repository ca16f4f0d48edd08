"""How one wake looks: at all that it took; at one ahead of the others, if there is reason for doubt."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TypeAlias

from jobs.facts import Sighting
from jobs.job import Job
from jobs.states import State
from jobs.wakes import LEASE_S, Wakes
from worker.doors import Doors, Hearing, spread
from worker.upstream.looks import Looker, Subject

Group: TypeAlias = Sequence[tuple[Job, Sighting]]
"""Jobs whose looks ended together, so that they are written down together."""


class Looking:
    """Makes the looks that a wake has taken."""

    def __init__(self, wakes: Wakes, looker: Looker, doors: Doors) -> None:
        self._wakes = wakes
        self._looker = looker
        self._doors = doors

    def sightings(self, jobs: Sequence[Job]) -> Iterator[Group]:
        """What is seen of each job, as it comes in; behind a shut door, what the door says."""
        if not jobs:
            return
        held = self._doors.before_looks()
        if held is not None:
            yield [(job, replace(held, retry_after_s=spread(held.retry_after_s or 0.0))) for job in jobs]
        elif self._doors.wary:
            yield from self._looked_at(jobs[:1], then=jobs[1:])
            yield from self.sightings(jobs[1:])
        else:
            yield from self._looked_at(jobs, then=())

    def _looked_at(self, jobs: Sequence[Job], *, then: Sequence[Job]) -> Iterator[Group]:
        """Look at some, and keep the lease of those whose turn is `then`."""
        unseen, hearing = dict(enumerate(jobs)), Hearing(self._doors, len(jobs))
        subjects = [Subject(job.generation_id or "", job.family) for job in jobs]
        held_at = monotonic()
        for group in self._looker.look_at(subjects, pause_s=LEASE_S / 3):
            if monotonic() - held_at > LEASE_S / 3:
                self._wakes.hold(State.RENDERING, [*unseen.values(), *then])
                held_at = monotonic()
            seen = [(unseen.pop(index), sighting) for index, sighting in group]
            if seen:
                hearing.hear([sighting for _, sighting in seen])
                yield seen
