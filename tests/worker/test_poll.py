"""One batch's polls: slow ones have time-outs of their own, and while polls fail one goes ahead to try."""

import redis

from jobs.facts import NoResult, Pending
from jobs.job import Hold, Job
from jobs.keyspace import PREFIX
from jobs.ledger import Ledger
from jobs.moves.poll import after_poll
from jobs.queues import SLOW_POLLS
from jobs.states import State
from tests import steps
from tests.worker.servers import Server, after, answer, hang
from tests.worker.test_client import poller_at
from worker.breaker import UpstreamBreakers
from worker.poll import Polls
from worker.room import Room


def bought(ledger: Ledger) -> str:
    """A job whose generation renders and may be polled."""
    return steps.job_in(ledger, State.RENDERING).id


def breakers_of(ledger: Ledger) -> UpstreamBreakers:
    """The circuit breakers of the upstream."""
    return UpstreamBreakers(ledger.breakers, first_s=5, longest_s=60, after=3, trial_s=10)


def test_a_slow_upstream_is_answered_on_the_second_try(client: "redis.Redis", server: Server) -> None:
    """It takes three seconds: the job waits among the slow ones, and its next poll may take four."""
    server.on(after(3, answer(b'{"status":"generating"}')))
    ledger = Ledger(client)
    job_id, breakers = bought(ledger), breakers_of(ledger)

    def polled_once(polls: Polls, queue: str) -> Job:
        [[(job, seen)]] = polls.results(steps.claimed(ledger, queue))
        ledger.move(job, after_poll(job, seen, now=ledger.now(), policy=steps.POLICY))
        return ledger.get(job_id)

    with poller_at(server.url) as poller:
        polls = Polls(poller, breakers, Room(4))
        timed_out, answered = (polled_once(polls, queue) for queue in (State.RENDERING, SLOW_POLLS))

    assert (timed_out.poll_timeouts, timed_out.pending_at) == (1, None)
    assert (answered.poll_timeouts, answered.polls) == (0, 2)
    assert answered.pending_at is not None
    assert not breakers.polls_failing
    assert client.zscore(f"{PREFIX}due:{SLOW_POLLS}", job_id) is None
    assert client.zscore(f"{PREFIX}due:{State.RENDERING}", job_id) is not None


def test_in_doubt_one_poll_takes_as_long_as_it_must(client: "redis.Redis", server: Server) -> None:
    """A short time-out of a slow upstream would leave the doubt, and the breaker open, for ever."""
    server.on(after(3, answer(b'{"status":"queued"}')))
    ledger = Ledger(client)
    bought(ledger)
    breakers = breakers_of(ledger)
    breakers.polls_failed(NoResult(Hold.UNREACHABLE, "no answer"), times=1)

    with poller_at(server.url) as poller:
        [[(_, seen)]] = Polls(poller, breakers, Room(4)).results(steps.claimed(ledger, State.RENDERING))

    assert seen == Pending("queued")
    assert not breakers.polls_failing


def test_in_doubt_one_poll_goes_ahead(client: "redis.Redis", server: Server) -> None:
    """It may hang, but only it; once it has ended the others are polled, and are still this worker's own."""
    server.on(hang)
    ledger = Ledger(client)
    ids, breakers = {bought(ledger) for _ in range(3)}, breakers_of(ledger)
    breakers.polls_failed(NoResult(Hold.UNREACHABLE, "no answer"), times=1)
    claimed = steps.claimed(ledger, State.RENDERING)
    assert {job.id for job in claimed} == ids

    with poller_at(server.url, total_timeout_s=1.5) as poller:
        results = Polls(poller, breakers, Room(4)).results(claimed)
        [(first, seen)] = next(results)
        assert server.connections == 1
        server.on(answer(b'{"status":"queued"}'))
        others = dict(pair for group in results for pair in group)

    assert isinstance(seen, NoResult)
    assert set(others.values()) == {Pending("queued")}
    assert {job.id for job in others} | {first.id} == ids
