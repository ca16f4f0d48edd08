"""Shared work: a task that wakes claims all due jobs, each on a lease, and one alarm serves a slot of time."""

from typing import Final

import pytest
import redis

from jobs.errors import StaleTurn, UnknownJob, WrongState
from jobs.events import Event
from jobs.job import Charged, Job, Reason, Terms
from jobs.job_log import START, following
from jobs.ledger import Acceptance, Ledger, new_job_id
from jobs.scripts import Retention
from jobs.states import State
from jobs.wakes import Alarm
from tests import steps
from tests.stage import Clock, a_request
from tests.steps import Poll

LEASE_S: Final = 10.0
SLOT_S: Final = 0.25
CALLED_OFF: Final = steps.ended(State.CANCELLED, Reason.CANCELLED, "changed my mind", Charged.YES)


def bought(ledger: Ledger, *, first_poll_s: float = 30, many: int = 1) -> list[Job]:
    """Jobs whose generations render, to be polled for the first time in `first_poll_s`."""
    ids = [new_job_id() for _ in range(many)]
    for job_id in ids:
        ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
        job = steps.submitting(ledger, ledger.get(job_id), lease_s=60)
        steps.submitted(ledger, job, f"g-{job_id}", cost_usd=1, first_poll_s=first_poll_s)
    return [ledger.get(job_id) for job_id in ids]


def claimed(ledger: Ledger, limit: int = 100) -> set[str]:
    """The ids of the jobs that a task that wakes now has to poll."""
    return {job.id for job in ledger.wakes.take(State.RENDERING, limit=limit, lease_s=LEASE_S).jobs}


def test_a_task_that_wakes_claims_all_that_is_due_and_nothing_else(ledger: Ledger, clock: Clock) -> None:
    """One message serves a crowd; what is not due yet is left to its own alarm."""
    soon = bought(ledger, first_poll_s=30, many=3)
    bought(ledger, first_poll_s=60)
    assert claimed(ledger) == set()

    clock.advance(30)
    assert claimed(ledger) == {job.id for job in soon}


def test_a_claimed_job_is_left_alone_until_its_lease_ends(ledger: Ledger, clock: Clock) -> None:
    """Two workers never poll the same job at the same time; one that died is replaced."""
    (job,) = bought(ledger)
    clock.advance(30)
    assert claimed(ledger) == {job.id}
    assert claimed(ledger) == set()

    clock.advance(LEASE_S)
    assert claimed(ledger) == {job.id}


def test_a_poll_under_way_is_held_for_as_long_as_it_takes(ledger: Ledger, clock: Clock) -> None:
    """A slow upstream must not make a second worker poll the same job."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    clock.advance(LEASE_S - 1)
    ledger.wakes.renew(State.RENDERING, [job], lease_s=LEASE_S)

    clock.advance(LEASE_S - 1)
    assert claimed(ledger) == set()


def test_holding_a_job_that_has_ended_does_not_bring_it_back(ledger: Ledger, clock: Clock) -> None:
    """The index holds the unfinished and no others."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    steps.end(ledger, job, CALLED_OFF)
    ledger.wakes.renew(State.RENDERING, [job], lease_s=LEASE_S)
    assert ledger.claims.unfinished() == set()


def test_what_waits_on_for_the_same_reason_is_due_later_and_says_nothing_more(ledger: Ledger, clock: Clock) -> None:
    """A thousand jobs behind an open breaker would otherwise repeat the same event every few seconds."""
    job_id = new_job_id()
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    (job,) = ledger.wakes.take(State.QUEUED, limit=1).jobs
    before = ledger.job_log.of(job_id)

    (alarm,) = steps.still_held(ledger, job, 30)

    assert 30 <= alarm.seconds <= 30 + SLOT_S
    assert (ledger.get(job_id).turn, ledger.job_log.of(job_id)) == (job.turn, before)
    assert not ledger.wakes.take(State.QUEUED, limit=1).jobs
    clock.advance(alarm.seconds)
    assert ledger.wakes.take(State.QUEUED, limit=1).jobs
    with pytest.raises(StaleTurn):
        steps.still_held(ledger, job.model_copy(update={"turn": 7}), 30)
    with pytest.raises(WrongState):
        steps.still_held(ledger, job.model_copy(update={"state": State.RENDERING}), 30)
    with pytest.raises(UnknownJob):
        steps.still_held(ledger, job.model_copy(update={"id": new_job_id()}), 30)


def test_a_row_that_this_version_cannot_read_holds_up_no_other(client: "redis.Redis", clock: Clock) -> None:
    """A newer worker wrote a word that is not known here: the rest of the batch goes on, and an event reports it."""
    emitted: list[Event] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append])
    strange, plain = bought(ledger, many=2)
    client.hset(f"rushes:job:{strange.id}", "hold", "moonstruck")
    clock.advance(30)

    assert claimed(ledger) == {plain.id}
    assert [(event.name, event.job_id) for event in emitted if event.name == "row.unreadable"] == [
        ("row.unreadable", strange.id)
    ]


def test_a_full_batch_asks_for_help(ledger: Ledger, clock: Clock) -> None:
    """More is due than one task claims: another message at once lets other threads and machines share it."""
    jobs = bought(ledger, many=3)
    clock.advance(30)

    first = ledger.wakes.take(State.RENDERING, limit=2, lease_s=LEASE_S)

    assert (len(first.jobs), first.left) == (2, True)
    (left,) = {job.id for job in jobs} - {job.id for job in first.jobs}
    assert first.more == Alarm(State.RENDERING, left, jobs[0].turn, 0)
    second = ledger.wakes.take(State.RENDERING, limit=2, lease_s=LEASE_S)
    assert ([job.id for job in second.jobs], second.left, second.more) == ([left], False, None)


def test_polls_are_written_together_and_each_moves_its_job_one_turn(ledger: Ledger, clock: Clock) -> None:
    """One round trip moves job log, turn, counter and due time as if each poll had been written alone."""
    jobs = bought(ledger, many=2)
    clock.advance(30)
    claimed(ledger)

    steps.polled(ledger, [Poll(job, "generating", 10) for job in jobs])

    for job in jobs:
        moved = ledger.get(job.id)
        assert (moved.state, moved.turn, moved.polls) == (State.RENDERING, job.turn + 1, 1)
        assert moved.due_at == clock.now + 10
        last = ledger.job_log.of(job.id)[-1]
        assert (last.event, last.turn, last.data) == ("job.polled", moved.turn, {"result": "generating", "wait_s": 10})


def test_what_an_inconclusive_poll_showed_is_kept_until_another_kind_of_reply(ledger: Ledger) -> None:
    """Whether it is the same the next time decides about the job; a plain reply in between begins anew."""
    (job,) = bought(ledger)
    steps.polled(ledger, [Poll(job, "published, with a video", 10, evidence="video 1", evidence_polls=2)])
    held = ledger.get(job.id)
    assert (held.evidence, held.evidence_polls) == ("video 1", 2)

    steps.polled(ledger, [Poll(held, "generating", 10, pending=True)])
    assert (ledger.get(job.id).evidence, ledger.get(job.id).evidence_polls) == (None, 0)


@pytest.mark.parametrize("how", ["stale", "doubled", "unknown", "over"])
def test_a_poll_that_came_too_late_leaves_no_trace(ledger: Ledger, clock: Clock, how: str) -> None:
    """Somebody else moved the job, or it is gone: the others of the batch are written all the same."""
    job, other = bought(ledger, many=2)
    clock.advance(30)
    claimed(ledger)
    late = Poll(job, "queued", 10)
    match how:
        case "stale":
            steps.polled(ledger, [Poll(job, "generating", 7)])
        case "doubled":
            steps.polled(ledger, [late])
        case "unknown":
            late = Poll(job.model_copy(update={"id": new_job_id()}), "queued", 10)
        case _:
            steps.end(ledger, job, CALLED_OFF)
    before = (ledger.get(job.id), ledger.job_log.of(job.id))

    alarms = steps.polled(ledger, [late, Poll(other, "queued", 20)])

    assert (ledger.get(job.id), ledger.job_log.of(job.id)) == before
    assert ledger.get(other.id).polls == 1
    assert [alarm.job_id for alarm in alarms] == [other.id]


def test_one_alarm_serves_all_whose_polls_fall_due_in_its_slot(ledger: Ledger, clock: Clock) -> None:
    """In a crowd, messages grow with time slots and not with jobs; the alarm rings at the slot's end."""
    jobs = bought(ledger, many=5)
    clock.advance(30)
    claimed(ledger)

    alarms = steps.polled(ledger, [Poll(job, "queued", 10 + index * SLOT_S / 10) for index, job in enumerate(jobs)])

    assert 1 <= len(alarms) <= 2
    for alarm in alarms:
        assert 10 <= alarm.seconds <= 10 + 2 * SLOT_S
    clock.advance(max(alarm.seconds for alarm in alarms))
    assert claimed(ledger) == {job.id for job in jobs}


def test_an_alarm_that_has_rung_is_set_anew(ledger: Ledger, clock: Clock) -> None:
    """A job that is alone has its own chain of alarms: each poll sets the next."""
    (job,) = bought(ledger)
    for _ in range(3):
        clock.advance(30)
        (job,) = ledger.wakes.take(State.RENDERING, limit=10, lease_s=LEASE_S).jobs
        (alarm,) = steps.polled(ledger, [Poll(job, "queued", 29)])
        assert alarm.job_id == job.id


def test_a_first_poll_in_a_slot_that_has_an_alarm_needs_none(ledger: Ledger) -> None:
    """A thousand jobs bought in the same moment are polled together from their first poll on."""
    ids = [new_job_id() for _ in range(2)]
    moves = []
    for job_id in ids:
        ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
        job = steps.submitting(ledger, ledger.get(job_id), lease_s=60)
        moves.append(steps.submitted(ledger, job, "g", cost_usd=1, first_poll_s=30))

    assert [[alarm.job_id for alarm in moved.alarms] for moved in moves] == [[ids[0]], []]


def test_polls_that_nobody_claims_are_found_and_their_alarms_set_anew(ledger: Ledger, clock: Clock) -> None:
    """The worker that held the alarms died with them: one reminder wakes for all, and later polls get alarms again."""
    first, second = bought(ledger, many=2)
    clock.advance(30)
    claimed(ledger)
    steps.polled(ledger, [Poll(first, "queued", 10), Poll(second, "queued", 20)])
    clock.advance(10 + 5)

    assert ledger.wakes.overdue(State.RENDERING, grace_s=6) is None
    alarm = ledger.wakes.overdue(State.RENDERING, grace_s=5)

    assert alarm is not None
    assert (alarm.job_id, alarm.turn) == (first.id, ledger.get(first.id).turn)
    (job,) = ledger.wakes.take(State.RENDERING, limit=10, lease_s=LEASE_S).jobs
    assert steps.polled(ledger, [Poll(job, "queued", 5)])  # the slot of the second's poll: its alarm was lost as well


def test_one_message_calls_for_all_that_is_due_now(ledger: Ledger) -> None:
    """Ten thousand jobs are not ten thousand messages; a task that has woken calls anew for what comes later."""
    ids = [new_job_id() for _ in range(4)]
    rings = [ledger.accept(a_request(), Terms(job_id=job_id)).alarm for job_id in ids[:2]]
    assert rings == [Alarm(State.QUEUED, ids[0], 1, 0), None]

    woken = ledger.wakes.take(State.QUEUED, limit=1)
    assert woken.more == Alarm(State.QUEUED, ids[1], 1, 0)  # others are called to help
    going_on = ledger.wakes.take(State.QUEUED, limit=0, woke=False)
    assert (going_on.left, going_on.more) == (True, None)  # a task that goes on does not call again

    assert ledger.wakes.take(State.QUEUED, limit=5).more is None
    answers = ledger.accept_many([(a_request(), Terms(job_id=job_id)) for job_id in ids[2:]])
    assert [answer.alarm for answer in answers if isinstance(answer, Acceptance)] == [
        Alarm(State.QUEUED, ids[2], 1, 0),
        None,
    ]


def test_the_fleet_polls_no_oftener_than_it_may(ledger: Ledger, clock: Clock) -> None:
    """The upstream's limit is for all workers together; what had to wait is polled a moment later."""
    bought(ledger, many=5)
    clock.advance(30)

    first = ledger.wakes.take(State.RENDERING, limit=100, lease_s=LEASE_S, per_s=2)
    assert len(first.jobs) == 2
    assert first.more is not None
    assert first.more.seconds == 0.5
    assert not ledger.wakes.take(State.RENDERING, limit=100, lease_s=LEASE_S, per_s=2).jobs

    clock.advance(0.5)
    assert len(ledger.wakes.take(State.RENDERING, limit=100, lease_s=LEASE_S, per_s=2).jobs) == 1


def test_the_event_stream_holds_what_all_job_logs_hold(ledger: Ledger) -> None:
    """An entry has the same id in both, so a reader of one can go on in the other."""
    jobs = bought(ledger, many=2)

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
    bought(ledger)
    cursor = ledger.job_log.newest()
    assert not ledger.job_log.after(cursor, block_s=0.01).gap

    bought(ledger, many=100)  # the event stream forgets by the hundred

    assert ledger.job_log.after(cursor, block_s=0.01).gap
