"""The event stream holds what all job logs hold, and a follower of it sees when it has missed some."""

import redis

from jobs.job_log import START, following
from jobs.ledger import Ledger
from jobs.scripts import Retention
from jobs.states import State
from tests.stage import Clock
from tests.steps import job_in


def test_the_event_stream_holds_what_all_job_logs_hold(ledger: Ledger) -> None:
    """An entry has the same id in both, so a reader of one can go on in the other."""
    jobs = [job_in(ledger, State.RENDERING) for _ in range(2)]

    batch = ledger.job_log.after(START, block_s=0.01)

    for job in jobs:
        job_log = ledger.job_log.of(job.id)
        assert [entry for job_id, entry in batch.entries if job_id == job.id] == job_log
        assert list(following(job_log, job_log[0].id)) == job_log[1:]
    assert batch.cursor == ledger.job_log.newest()
    assert not ledger.job_log.after(batch.cursor, block_s=0.01).entries


def test_a_follower_that_was_away_for_too_long_sees_the_gap(client: "redis.Redis", clock: Clock) -> None:
    """The event stream is capped; the job logs are not, and the follower reads those."""
    ledger = Ledger(client, clock=clock, retention=Retention(stream_entries=1))
    job_in(ledger, State.RENDERING)
    cursor = ledger.job_log.newest()
    assert not ledger.job_log.after(cursor, block_s=0.01).gap

    for _ in range(100):  # the event stream forgets by the hundred
        job_in(ledger, State.RENDERING)

    assert ledger.job_log.after(cursor, block_s=0.01).gap
