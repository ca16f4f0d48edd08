"""Polling: all due generations are polled together; while polls fail, one goes ahead to try."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from jobs.facts import NoResult, PollResult
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.moves.move import Move, PolicyOf
from jobs.moves.poll import after_poll, poll_timeout_s
from jobs.moves.request import if_cancelled
from jobs.queues import SLOW_POLLS
from jobs.work_items import Claim, Claimed
from worker import faults
from worker.breaker import BatchHealth, UpstreamBreakers, spread
from worker.claimed import apply_all, clock_from, contained
from worker.room import Room
from worker.upstream.poller import Poller, PollRequest

BATCH: Final = 100
"""Most due polls that one task claims; other threads and workers claim the rest."""

CONNECTIONS: Final = 1024
"""Concurrent polls per process: 10,000 a second at 100 ms round-trip time, more than one process has work for."""

Group: TypeAlias = Sequence[tuple[Job, PollResult]]
"""Jobs whose polls ended together, and which are written together."""


class Polling:
    """Polls due generations, and applies the results."""

    def __init__(
        self,
        ledger: Ledger,
        polls: "Polls",
        policy_of: PolicyOf,
        most_per_s: float | None,
        *,
        longest_s: float,
        slow_threads: int,
        keep_cancelled: bool,
    ) -> None:
        """A batch takes at most `longest_s`; slow polls use `slow_threads` and at most half of the connections."""
        self._slow_batch = max(1, min(BATCH, CONNECTIONS // (2 * slow_threads)))
        self.longest_s = longest_s
        self._ledger = ledger
        self._polls = polls
        self._policy_of = policy_of
        self._keep_cancelled = keep_cancelled
        self._most_per_s = most_per_s

    def claim(self, queue: str) -> Claim:
        """Return what a task of this queue claims: polls need no fence, as the first write wins."""
        limit = self._slow_batch if queue == SLOW_POLLS else BATCH
        return Claim(queue=queue, limit=limit, fence=False, per_s=self._most_per_s)

    def poll(self, claimed: Claimed) -> None:
        """Poll a batch, and write the results down as they come in."""
        now = clock_from(claimed.at)
        decided = [(one.job, if_cancelled(one.job, keep=self._keep_cancelled)) for one in claimed.jobs]
        if cancelled := [(job, move) for job, move in decided if move is not None]:
            apply_all(self._ledger, cancelled)
        for group in self._polls.results([job for job, move in decided if move is None]):
            faults.here("poll.before_write")
            apply_all(self._ledger, list(self._moves(group, now())))
            faults.here("poll.after_write")

    def _moves(self, group: Group, now: float) -> Iterator[tuple[Job, Move]]:
        for job, result in group:
            with contained("poll", job):
                yield job, after_poll(job, result, now=now, policy=self._policy_of(job))


class Polls:
    """Polls the jobs of a batch, and obeys the circuit breaker."""

    def __init__(self, poller: Poller, breakers: UpstreamBreakers, room: Room) -> None:
        self._poller = poller
        self._room = room
        self._breakers = breakers

    def results(self, jobs: Sequence[Job]) -> Iterator[Group]:
        """Yield the result of each poll as it comes in; while the breaker is open, its reason."""
        if not jobs:
            return
        trouble = self._breakers.before_polls()
        if trouble is not None:
            yield [(job, replace(trouble, retry_after_s=spread(trouble.retry_after_s or 0.0))) for job in jobs]
        elif self._breakers.polls_failing:
            yield from self._poll(jobs[:1], is_trial=True)
            yield from self.results(jobs[1:])
        else:
            yield from self._poll(jobs)

    def _poll(self, jobs: Sequence[Job], *, is_trial: bool = False) -> Iterator[Group]:
        health = BatchHealth(self._breakers, len(jobs), longest_timeout_s=self._poller.longest_timeout_s)
        polls = [self._request(job, is_trial=is_trial) for job in jobs]
        for group in self._poller.poll_many(polls):
            health.add([(result, polls[index].timeout_s) for index, result in group])
            self._room.note_polls([isinstance(result, NoResult) and result.timed_out for _, result in group])
            yield [(jobs[index], result) for index, result in group]

    def _request(self, job: Job, *, is_trial: bool) -> PollRequest:
        """Request a poll; a trial takes as long as it must to show whether the upstream answers."""
        longest_s = self._poller.longest_timeout_s
        timeout_s = longest_s if is_trial else poll_timeout_s(job, longest_s=longest_s)
        return PollRequest(job.generation_id or "", job.family, timeout_s)
