"""How one wake looks: at all that it took; at one ahead of the others, if there is reason for doubt."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final, TypeAlias

from jobs.facts import Sighting
from jobs.job import Job
from jobs.looks import Looks
from worker.doors import Doors, spread
from worker.upstream.looks import Looker, Subject

LEASE_S: Final = 10.0
"""How long looks that were taken are left alone by others; renewed while they are under way."""

Group: TypeAlias = Sequence[tuple[Job, Sighting]]
"""Jobs whose looks ended together, so that they are written down together."""


class Looking:
    """Makes the looks that a wake has taken."""

    def __init__(self, looks: Looks, looker: Looker, doors: Doors) -> None:
        self._looks = looks
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
            yield from self._looked_at(jobs[:1])
            yield from self.sightings(jobs[1:])
        else:
            yield from self._looked_at(jobs)

    def _looked_at(self, jobs: Sequence[Job]) -> Iterator[Group]:
        unseen = dict(enumerate(jobs))
        subjects = [Subject(job.generation_id or "", job.family) for job in jobs]
        held_at = monotonic()
        for group in self._looker.look_at(subjects, pause_s=LEASE_S / 3):
            if monotonic() - held_at > LEASE_S / 3:
                self._looks.hold(unseen.values(), lease_s=LEASE_S)
                held_at = monotonic()
            seen = [(unseen.pop(index), sighting) for index, sighting in group]
            if seen:
                self._doors.after_looks([sighting for _, sighting in seen])
                yield seen
