"""How one wake polls: all that it took together; or one ahead of the others, if there is reason for doubt."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TypeAlias

from jobs.facts import PollResult
from jobs.job import Job
from jobs.states import State
from jobs.wakes import LEASE_S, Wakes
from worker.breaker import BatchHealth, UpstreamBreakers, spread
from worker.upstream.poller import Poller, Subject

Group: TypeAlias = Sequence[tuple[Job, PollResult]]
"""Jobs whose polls ended together, so that they are written down together."""


class Polling:
    """Polls the jobs that a wake has taken."""

    def __init__(self, wakes: Wakes, poller: Poller, breakers: UpstreamBreakers) -> None:
        self._wakes = wakes
        self._poller = poller
        self._breakers = breakers

    def results(self, jobs: Sequence[Job]) -> Iterator[Group]:
        """What is seen of each job, as it comes in; while the breaker is open, why it is."""
        if not jobs:
            return
        held = self._breakers.before_polls()
        if held is not None:
            yield [(job, replace(held, retry_after_s=spread(held.retry_after_s or 0.0))) for job in jobs]
        elif self._breakers.polls_failing:
            yield from self._poll(jobs[:1], then=jobs[1:])
            yield from self.results(jobs[1:])
        else:
            yield from self._poll(jobs, then=())

    def _poll(self, jobs: Sequence[Job], *, then: Sequence[Job]) -> Iterator[Group]:
        """Poll some, and keep the leases of those that are polled after them (`then`)."""
        unseen, health = dict(enumerate(jobs)), BatchHealth(self._breakers, len(jobs))
        subjects = [Subject(job.generation_id or "", job.family) for job in jobs]
        held_at = monotonic()
        for group in self._poller.poll_many(subjects, pause_s=LEASE_S / 3):
            if monotonic() - held_at > LEASE_S / 3:
                self._wakes.hold(State.RENDERING, [*unseen.values(), *then])
                held_at = monotonic()
            seen = [(unseen.pop(index), result) for index, result in group]
            if seen:
                health.add([result for _, result in seen])
                yield seen
