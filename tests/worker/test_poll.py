"""One task's polls: the jobs that it claimed stay its own, however long a poll takes."""

from typing import TYPE_CHECKING

import pytest

from jobs.facts import NoResult, Pending
from jobs.job import Hold, Job, Terms
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger, new_job_id
from jobs.moves.poll import after_poll
from jobs.states import State
from tests import steps
from tests.stage import a_request
from tests.worker.servers import Server, after, answer, hang
from tests.worker.test_client import poller_at
from worker import poll
from worker.breaker import UpstreamBreakers
from worker.poll import Polls

if TYPE_CHECKING:
    import redis


def bought(ledger: Ledger) -> str:
    """A job whose generation renders and may be polled."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    job = steps.submitting(ledger, ledger.get(job_id), lease_s=60)
    steps.submitted(ledger, job, f"g-{job_id}", cost_usd=1, first_poll_s=0)
    return job_id


def test_a_slow_upstream_is_answered_on_the_second_try(client: "redis.Redis", server: Server) -> None:
    """It takes three seconds: the job's row says that the next poll may take four, and forgets it once answered."""
    server.on(after(3, answer(b'{"status":"generating"}')))
    ledger = Ledger(client)
    job_id = bought(ledger)
    breakers = UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)

    def polled_once(polls: Polls) -> Job:
        claimed = ledger.wakes.take(State.RENDERING, limit=10)
        [[(job, seen)]] = polls.results(claimed.jobs)
        ledger.move(job, after_poll(job, seen, now=ledger.now(), policy=steps.POLICY))
        return ledger.get(job_id)

    with poller_at(server.url) as poller:
        timed_out, answered = (polled_once(Polls(ledger.wakes, poller, breakers)) for _ in range(2))

    assert (timed_out.poll_timeouts, timed_out.pending_at) == (1, None)
    assert (answered.poll_timeouts, answered.polls) == (0, 2)
    assert answered.pending_at is not None
    assert not breakers.polls_failing


def test_in_doubt_one_poll_takes_as_long_as_it_must(client: "redis.Redis", server: Server) -> None:
    """A short time-out of a slow upstream would leave the doubt, and the breaker open, for ever."""
    server.on(after(3, answer(b'{"status":"queued"}')))
    ledger = Ledger(client)
    bought(ledger)
    breakers = UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)
    breakers.polls_failed(NoResult(Hold.UNREACHABLE, "no answer"), times=1)

    with poller_at(server.url) as poller:
        [[(_, seen)]] = Polls(ledger.wakes, poller, breakers).results(ledger.wakes.take(State.RENDERING, limit=1).jobs)

    assert seen == Pending("queued")
    assert not breakers.polls_failing


def test_jobs_that_wait_behind_a_poll_that_hangs_are_not_claimed_by_others(
    client: "redis.Redis", server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In doubt one poll goes ahead, perhaps for longer than a lease, so the leases of the others are renewed."""
    monkeypatch.setattr(poll, "LEASE_S", 0.6)
    server.on(hang)
    ledger = Ledger(client)
    ids = {bought(ledger) for _ in range(3)}
    breakers = UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)
    breakers.polls_failed(NoResult(Hold.UNREACHABLE, "no answer"), times=1)
    claimed = ledger.wakes.take(State.RENDERING, limit=10, lease_s=0.6).jobs
    assert {job.id for job in claimed} == ids

    def due_at(job: Job) -> float:
        return float(client.zscore(f"{PREFIX}due:{State.RENDERING}", job.id) or 0)

    with poller_at(server.url, total_timeout_s=1.5) as poller:
        results = Polls(ledger.wakes, poller, breakers).results(claimed)
        [(first, seen)] = next(results)
        server.on(answer(b'{"status":"queued"}'))
        others = dict(pair for group in results for pair in group)

    assert isinstance(seen, NoResult)
    assert set(others.values()) == {Pending("queued")}
    assert {job.id for job in others} | {first.id} == ids
    assert all(due_at(job) > ledger.now() for job in others)
