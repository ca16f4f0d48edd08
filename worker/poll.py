"""Polling: all due generations are polled together; while polls fail, one goes ahead to try."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TypeAlias

from config.settings import PollSettings
from jobs.facts import PollResult
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.moves.move import Move
from jobs.moves.poll import after_poll, poll_timeout_s
from jobs.states import State
from jobs.wakes import LEASE_S, Alarm, Wakes
from worker import faults
from worker.breaker import BatchHealth, UpstreamBreakers, spread
from worker.claimed import apply_all, clock_from, contained
from worker.pace import Pace
from worker.upstream.poller import Poller, PollRequest

Group: TypeAlias = Sequence[tuple[Job, PollResult]]
"""Jobs whose polls ended together, and which are written together."""


class Polling:
    """Polls due generations, and applies the results."""

    def __init__(self, ledger: Ledger, polls: "Polls", pace: Pace, settings: PollSettings) -> None:
        self._ledger = ledger
        self._polls = polls
        self._pace = pace
        self._settings = settings

    def run(self) -> Iterator[tuple[Sequence[Alarm], bool]]:
        """Poll a batch; yield the alarms to set as results come in, and whether these are the last."""
        claimed = self._ledger.wakes.take(State.RENDERING, limit=self._settings.batch, per_s=self._settings.most_per_s)
        now, unseen = clock_from(claimed.at), len(claimed.jobs)
        if claimed.more:
            yield [claimed.more], False
        for group in self._polls.results(claimed.jobs):
            faults.here("poll.before_write")
            alarms = apply_all(self._ledger, list(self._moves(group, now())))
            faults.here("poll.after_write")
            unseen -= len(group)
            yield alarms, not unseen

    def _moves(self, group: Group, now: float) -> Iterator[tuple[Job, Move]]:
        for job, result in group:
            with contained("poll", job):
                move = after_poll(job, result, now=now, policy=self._pace.policy(job))
                if move.to is State.STORING:
                    move = replace(move, lesson=self._pace.lesson(job, now=now))
                yield job, move


class Polls:
    """Polls the jobs of a batch, obeys the circuit breaker and renews their leases."""

    def __init__(self, wakes: Wakes, poller: Poller, breakers: UpstreamBreakers) -> None:
        self._wakes = wakes
        self._poller = poller
        self._breakers = breakers

    def results(self, jobs: Sequence[Job]) -> Iterator[Group]:
        """Yield the result of each poll as it comes in; while the breaker is open, its reason."""
        if not jobs:
            return
        trouble = self._breakers.before_polls()
        if trouble is not None:
            yield [(job, replace(trouble, retry_after_s=spread(trouble.retry_after_s or 0.0))) for job in jobs]
        elif self._breakers.polls_failing:
            yield from self._poll(jobs[:1], then=jobs[1:], is_trial=True)
            yield from self.results(jobs[1:])
        else:
            yield from self._poll(jobs, then=())

    def _poll(self, jobs: Sequence[Job], *, then: Sequence[Job], is_trial: bool = False) -> Iterator[Group]:
        """Poll some jobs, and renew the leases of the next ones (`then`)."""
        longest_s = self._poller.longest_timeout_s
        unseen, health = dict(enumerate(jobs)), BatchHealth(self._breakers, len(jobs), longest_timeout_s=longest_s)
        polls = [self._request(job, is_trial=is_trial) for job in jobs]
        renewed_at = monotonic()
        for group in self._poller.poll_many(polls):
            if monotonic() - renewed_at > LEASE_S / 3:
                self._wakes.renew(State.RENDERING, [*unseen.values(), *then])
                renewed_at = monotonic()
            health.add([(result, polls[index].timeout_s) for index, result in group])
            yield [(unseen.pop(index), result) for index, result in group]

    def _request(self, job: Job, *, is_trial: bool) -> PollRequest:
        """Request a poll; a trial takes as long as it must to show whether the upstream answers."""
        longest_s = self._poller.longest_timeout_s
        timeout_s = longest_s if is_trial else poll_timeout_s(job, longest_s=longest_s)
        return PollRequest(job.generation_id or "", job.family, timeout_s)
