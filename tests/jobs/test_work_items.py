"""Work items: a task claims what is due, each item on a lease, and one wake-up per queue serves a crowd."""

import math
from dataclasses import replace
from typing import Final

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import JobError, StaleTurn, UnknownJob
from jobs.events import ENDS, Event
from jobs.facts import Described
from jobs.job import Charged, Job, Reason, Terms, Video
from jobs.ledger import Ledger, new_job_id
from jobs.moves.follow_up import after_describe
from jobs.moves.poll import polled
from jobs.queues import SLOW_POLLS, delivery_queue
from jobs.scripts import LOST_AFTER_S, SLOT_S, WakeUp
from jobs.states import FollowUp, State
from jobs.work_items import LEASE_S, Claim, Leased
from tests import steps
from tests.stage import Clock, a_request, outbox_of
from tests.steps import POLICY, Poll, job_in

CANCELLED: Final = steps.ended(State.CANCELLED, Reason.CANCELLED, "changed my mind", Charged.YES)
HOOK: Final = "a:b"


def accepted(ledger: Ledger, *, many: int = 1) -> list[str]:
    """Jobs that wait to be bought."""
    return [job_in(ledger, State.QUEUED).id for _ in range(many)]


def bought(ledger: Ledger, *, first_poll_s: float = 30, many: int = 1) -> list[Job]:
    """Jobs whose generations render, to be polled for the first time in `first_poll_s`."""
    return [job_in(ledger, State.RENDERING, first_poll_s=first_poll_s) for _ in range(many)]


def completed(ledger: Ledger) -> Job:
    """A job that has ended and is to be described."""
    return job_in(ledger, State.COMPLETED, describe=True)


def claimed(ledger: Ledger, *, limit: int = 100, woke: bool = True) -> set[str]:
    """The ids of the jobs that a task that wakes now has to poll."""
    return {job.id for job in steps.claimed(ledger, State.RENDERING, limit=limit, woke=woke)}


def polls_sent(sent: list[WakeUp]) -> list[float]:
    """In how many seconds each wake-up for polls that was sent since the last call must ring."""
    found = [wake_up.seconds for wake_up in sent if wake_up.queue == State.RENDERING]
    sent.clear()
    return found


def claim_of(ledger: Ledger, queue: str, job_id: str) -> Leased:
    """Claim what is due in a queue for a step that must not be done twice."""
    turns = [job.turn for job in steps.claimed(ledger, queue, fence=True)] if queue in set(State) else None
    (turn,) = [item.turn for item in steps.claimed_items(ledger, queue)] if turns is None else turns
    return Leased(queue, job_id, turn)


# -- claims and leases ----------------------------------------------------------------------------------------------


def test_a_task_that_wakes_claims_all_that_is_due_and_nothing_else(ledger: Ledger, clock: Clock) -> None:
    """One message serves a crowd; what is not due yet is left to its own wake-up."""
    soon = bought(ledger, first_poll_s=30, many=3)
    bought(ledger, first_poll_s=60)
    assert claimed(ledger) == set()

    clock.advance(30)
    assert claimed(ledger) == {job.id for job in soon}


def test_a_claimed_job_is_left_alone_until_its_lease_ends(ledger: Ledger, clock: Clock) -> None:
    """Two workers never poll the same job at the same time; one that died is replaced. The promise stays as it was."""
    (job,) = bought(ledger)
    clock.advance(30)
    assert claimed(ledger) == {job.id}
    assert ledger.get(job.id).due_at == job.due_at
    clock.advance(LEASE_S - 1)
    assert claimed(ledger) == set()

    clock.advance(1)
    assert claimed(ledger) == {job.id}


def test_a_renewed_lease_lasts_for_as_long_as_the_step_takes(ledger: Ledger, clock: Clock) -> None:
    """A slow upstream must not make a second worker poll the same job."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    for _ in range(5):
        clock.advance(LEASE_S - 1)
        ledger.items.renew([Leased(State.RENDERING, job.id, job.turn)])
        assert claimed(ledger) == set()

    clock.advance(LEASE_S)
    assert claimed(ledger) == {job.id}


@pytest.mark.parametrize("queue", [State.QUEUED, FollowUp.DESCRIBE, delivery_queue(HOOK)])
def test_only_the_holder_of_the_turn_renews(client: "redis.Redis", ledger: Ledger, clock: Clock, queue: str) -> None:
    """A worker that froze past its lease must not keep the item from others after the next one has died as well."""
    outbox_of(client, clock=clock).register({HOOK: ENDS})
    job_id = completed(ledger).id if queue != State.QUEUED else accepted(ledger)[0]

    frozen = claim_of(ledger, queue, job_id)
    clock.advance(LEASE_S)
    later = claim_of(ledger, queue, job_id)
    assert frozen.turn < later.turn

    clock.advance(LEASE_S - 1)
    ledger.items.renew([frozen])
    clock.advance(1)
    again = claim_of(ledger, queue, job_id)
    clock.advance(LEASE_S - 1)
    ledger.items.renew([again])
    clock.advance(1)
    with pytest.raises(ValueError, match="not enough values"):
        claim_of(ledger, queue, job_id)


def test_renewing_what_has_ended_does_not_bring_it_back(ledger: Ledger, clock: Clock) -> None:
    """The queues hold the unfinished and no others."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    steps.end(ledger, job, CANCELLED)

    for turn in (job.turn, job.turn + 1):
        ledger.items.renew([Leased(State.RENDERING, job.id, turn), Leased(FollowUp.DESCRIBE, job.id, turn)])

    assert ledger.unfinished() == set()
    assert ledger.follow_ups() == 0


def test_renewing_does_not_make_a_moved_job_due_later(ledger: Ledger, clock: Clock) -> None:
    """The poll is written, but the thread that renews does not know it yet."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    steps.polled(ledger, [Poll(job, "queued", 5)])

    ledger.items.renew([Leased(State.RENDERING, job.id, job.turn)])

    clock.advance(5)
    assert claimed(ledger) == {job.id}


def test_of_two_fenced_claims_only_the_later_moves_the_job(ledger: Ledger, clock: Clock) -> None:
    """Its worker froze past its lease, before it wrote the intent to buy."""
    accepted(ledger)
    (frozen,) = steps.claimed(ledger, State.QUEUED, fence=True)
    clock.advance(LEASE_S)
    (job,) = steps.claimed(ledger, State.QUEUED, fence=True)

    with pytest.raises(StaleTurn):
        steps.submitting(ledger, frozen)
    assert steps.submitting(ledger, job).state is State.SUBMITTING


def test_of_two_claims_of_a_follow_up_only_the_later_moves_it(ledger: Ledger, clock: Clock) -> None:
    """Two workers that describe the same video must not both write what they made."""
    job = completed(ledger)
    (frozen,) = steps.claimed_items(ledger, FollowUp.DESCRIBE)
    clock.advance(LEASE_S)
    (item,) = steps.claimed_items(ledger, FollowUp.DESCRIBE)

    with pytest.raises(StaleTurn):
        steps.described(ledger, frozen, [], None)
    steps.described(ledger, item, [], None)
    assert ledger.get(job.id).turn == job.turn, "a follow-up leaves the job's turn alone"
    assert ledger.follow_ups() == 0


def test_two_claims_of_a_poll_are_one_turn_and_the_first_write_wins(ledger: Ledger, clock: Clock) -> None:
    """A poll costs nothing, so a slow one that comes back is as good as the one that replaced it."""
    (job,) = bought(ledger)
    clock.advance(30)
    (slow,) = steps.claimed(ledger, State.RENDERING)
    clock.advance(LEASE_S)
    (quick,) = steps.claimed(ledger, State.RENDERING)
    assert slow.turn == quick.turn == job.turn

    answers = ledger.apply([(slow, polled(slow, "queued", wait_s=5)), (quick, polled(quick, "queued", wait_s=5))])

    assert [type(answer) for answer in answers] == [int, StaleTurn]
    assert ledger.get(job.id).polls == 1


def test_a_new_follow_up_has_higher_turns_than_one_before_it(ledger: Ledger, clock: Clock) -> None:
    """A worker that froze in the first one must not end the second of the same name."""
    job = completed(ledger)
    (frozen,) = steps.claimed_items(ledger, FollowUp.DESCRIBE)
    steps.described(ledger, frozen, [], None)
    clock.advance(1)
    ledger.move(job, replace(CANCELLED, to=None, event=None, set={}, clear=(), follow_ups={FollowUp.DESCRIBE: 0}))

    with pytest.raises(StaleTurn):
        steps.described(ledger, frozen, [], None)
    assert ledger.follow_ups() == 1


def test_a_claim_can_write_that_the_step_begins(ledger: Ledger) -> None:
    """One round trip claims the downloads and says so in each job log."""
    (job,) = bought(ledger)
    steps.rendered(ledger, job, Video("https://cdn.example/clip.mp4"))

    begun = steps.storing(ledger, job)

    last = ledger.job_log.of(job.id)[-1]
    assert (last.event, last.turn, last.state) == ("job.storing", begun.turn, State.STORING)
    assert begun.turn == ledger.get(job.id).turn == job.turn + 2


def test_a_job_that_is_given_back_is_the_next_again_and_says_nothing(ledger: Ledger) -> None:
    """Its worker met an open circuit breaker: the log of ten thousand jobs would repeat what one event says."""
    first, second = sorted(accepted(ledger, many=2))
    claim = Claim(queue=State.QUEUED)
    (claimed,) = ledger.items.claim(claim).jobs
    before = ledger.job_log.of(first)

    steps.given_back(ledger, claimed.job)

    assert ledger.job_log.of(first) == before
    assert [ledger.items.claim(claim).jobs[0].job.id for _ in range(2)] == [first, second]


def test_a_row_that_this_version_cannot_read_holds_up_no_other(client: "redis.Redis", clock: Clock) -> None:
    """A newer worker wrote a word that is not known here: the rest of the batch goes on, and an event reports it."""
    emitted: list[Event] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append])
    strange, plain = bought(ledger, many=2)
    client.hset(f"rushes:job:{strange.id}", "hold", "moonstruck")
    clock.advance(30)

    assert claimed(ledger) == {plain.id}
    assert [event.job_id for event in emitted if event.name == "row.unreadable"] == [strange.id]


def test_what_has_no_row_any_more_leaves_its_queue(ledger: Ledger, client: "redis.Redis") -> None:
    """Somebody deleted it by hand, or it has expired; nobody stumbles over it for ever."""
    (job_id,) = accepted(ledger)
    client.delete(f"rushes:job:{job_id}", f"rushes:request:{job_id}", f"rushes:log:{job_id}")
    described = completed(ledger)
    client.delete(f"rushes:item:describe:{described.id}")

    assert steps.claimed(ledger, State.QUEUED) == []
    assert steps.claimed_items(ledger, FollowUp.DESCRIBE) == []
    assert ledger.unfinished() == set()
    assert ledger.follow_ups() == 0
    assert not client.exists(f"rushes:followups:{described.id}")


def test_a_follow_up_whose_job_is_forgotten_says_so(ledger: Ledger, client: "redis.Redis") -> None:
    """The step is dropped then; it can't be told from one whose row a newer version wrote otherwise."""
    job = completed(ledger)
    client.delete(f"rushes:job:{job.id}", f"rushes:request:{job.id}")

    (item,) = steps.claimed_items(ledger, FollowUp.DESCRIBE)

    assert (item.job, item.request, item.is_unreadable) == (None, None, False)
    ledger.move(item, after_describe(Described(()), tries=0, took_s=1.0, policy=POLICY))
    assert not client.exists(f"rushes:job:{job.id}", f"rushes:item:describe:{job.id}")


def test_a_job_whose_poll_timed_out_waits_in_a_queue_of_its_own(ledger: Ledger, clock: Clock) -> None:
    """Its next poll may be as slow, and must not stand in the batch of the quick ones."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    ledger.move(job, replace(polled(job, "no answer", wait_s=5), queue=SLOW_POLLS))

    clock.advance(5)
    assert claimed(ledger) == set()
    (slow,) = steps.claimed(ledger, SLOW_POLLS)
    assert ledger.unfinished() == {job.id}
    ledger.move(slow, polled(slow, "queued", wait_s=5))

    clock.advance(5)
    assert steps.claimed(ledger, SLOW_POLLS) == []
    assert claimed(ledger) == {job.id}


@pytest.mark.parametrize("to", [State.STORING, State.CANCELLED])
def test_what_leaves_the_queue_of_slow_polls_leaves_nothing_there(ledger: Ledger, clock: Clock, to: State) -> None:
    """The job stands in the queue of its new state, or in none."""
    (job,) = bought(ledger)
    ledger.move(job, replace(polled(job, "no answer", wait_s=0), queue=SLOW_POLLS))
    (slow,) = steps.claimed(ledger, SLOW_POLLS)
    if to is State.STORING:
        steps.rendered(ledger, slow, Video("https://cdn.example/clip.mp4"))
    else:
        steps.end(ledger, slow, CANCELLED)
    clock.advance(LEASE_S)

    assert steps.claimed(ledger, SLOW_POLLS) == []
    assert [found.id for found in steps.claimed(ledger, State.STORING)] == ([job.id] if to is State.STORING else [])
    assert ledger.get(job.id).queue is None


# -- wake-ups -------------------------------------------------------------------------------------------------------


def test_one_wake_up_serves_all_that_is_due_now(ledger: Ledger, sent: list[WakeUp]) -> None:
    """Ten thousand jobs are not ten thousand messages."""
    first, *_ = accepted(ledger, many=3)
    ledger.accept_many([(a_request(), Terms(job_id=new_job_id())) for _ in range(3)])

    assert sent == [WakeUp(State.QUEUED, first, 0)]


def test_a_future_wake_up_is_rounded_up_to_the_grid(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """In a crowd, messages grow with time and not with jobs: one serves all that is due by the time it rings."""
    jobs = bought(ledger, many=5)
    clock.advance(30)
    claimed(ledger)
    polls_sent(sent)

    steps.polled(ledger, [Poll(job, "queued", 10.01 + place * SLOT_S / 10) for place, job in enumerate(jobs)])

    assert polls_sent(sent) == [10 + SLOT_S]
    clock.advance(10 + SLOT_S)
    assert claimed(ledger) == {job.id for job in jobs}
    assert polls_sent(sent) == []


def test_first_polls_of_a_crowd_share_a_wake_up(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """A thousand jobs bought in the same moment are polled together from their first poll on."""
    clock.advance(0.1)
    bought(ledger, first_poll_s=30, many=5)

    (seconds,) = polls_sent(sent)
    assert seconds == pytest.approx(30 + SLOT_S - 0.1, abs=0.002)


def test_at_most_one_wake_up_is_outstanding_unless_an_earlier_one_is_needed(
    ledger: Ledger, clock: Clock, sent: list[WakeUp]
) -> None:
    """What is due later waits for the claim that the first wake-up makes; what is due sooner cannot."""
    bought(ledger, first_poll_s=20)
    assert polls_sent(sent) == [20]
    bought(ledger, first_poll_s=60)
    bought(ledger, first_poll_s=20)
    assert polls_sent(sent) == []

    bought(ledger, first_poll_s=5)
    assert polls_sent(sent) == [5]
    clock.advance(5)
    claimed(ledger)
    assert polls_sent(sent) == [15]


def test_a_wake_up_that_rings_early_is_sent_again(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """A host's clock may be ahead of the sender's; an early straggler changes nothing."""
    (job,) = bought(ledger, first_poll_s=30)
    (wake_up,) = [one for one in sent if one.queue == State.RENDERING]
    sent.clear()
    clock.advance(29)
    claim = Claim(queue=State.RENDERING, fence=False)

    assert not ledger.items.claim(claim, rang="1800000001.000").jobs
    assert sent == []
    assert not ledger.items.claim(claim, rang=wake_up.rings).jobs
    assert sent == [WakeUp(State.RENDERING, job.id, 1)]


def test_a_claim_arms_the_next_due_time(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """What is due later than the outstanding wake-up sends none, so the claim arms the next one."""
    bought(ledger, first_poll_s=30)
    (later,) = bought(ledger, first_poll_s=40)
    polls_sent(sent)
    clock.advance(30)

    claimed(ledger)

    assert sent == [WakeUp(State.RENDERING, later.id, 10)]


def test_a_lease_is_the_next_due_time_of_what_is_claimed(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Nobody is woken for it: the next claim of the queue finds it, or the rescuer."""
    bought(ledger)
    polls_sent(sent)
    clock.advance(30)
    claimed(ledger)
    assert polls_sent(sent) == []

    claimed(ledger)  # another task of the queue sees the lease and sends a wake-up for its end

    assert polls_sent(sent) == [LEASE_S]


def test_more_than_one_claim_takes_wakes_others_now(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Other threads and machines share what is left; a task that goes on does not call again."""
    jobs = bought(ledger, many=4)
    clock.advance(30)
    polls_sent(sent)

    first = ledger.items.claim(Claim(queue=State.RENDERING, limit=2, fence=False))
    assert (len(first.jobs), first.left) == (2, True)
    assert [(wake_up.seconds, wake_up.job_id in {job.id for job in jobs}) for wake_up in sent] == [(0, True)]

    second = ledger.items.claim(Claim(queue=State.RENDERING, limit=1, fence=False), woke=False)
    assert (len(second.jobs), second.left) == (1, True)
    assert len(sent) == 1

    last = ledger.items.claim(Claim(queue=State.RENDERING, limit=1, fence=False))
    assert (len(last.jobs), last.left) == (1, False)


def test_a_straggler_starts_no_second_chain(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """A doubled or late message claims what is due, and leaves the outstanding wake-up to ring."""
    (job,) = bought(ledger)
    clock.advance(30)
    claimed(ledger)
    steps.polled(ledger, [Poll(job, "queued", 10)])
    polls_sent(sent)

    for _ in range(3):
        clock.advance(2)
        claimed(ledger)
        claimed(ledger, woke=False)
    assert polls_sent(sent) == []

    clock.advance(4)
    assert claimed(ledger) == {job.id}


def test_a_wake_up_may_ring_a_little_too_soon(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Celery's timer and Redis's clock differ by milliseconds; a second round for that would double the messages."""
    (job,) = bought(ledger)
    polls_sent(sent)
    clock.advance(29.985)

    assert claimed(ledger) == {job.id}
    steps.polled(ledger, [Poll(job, "queued", 10)])
    assert polls_sent(sent) == [pytest.approx(10.015, abs=0.002)]


def test_a_wake_up_that_is_two_seconds_overdue_is_lost(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """Until then it may be on its way; from then on whatever is armed is sent again."""
    bought(ledger)
    polls_sent(sent)
    clock.advance(30 + LOST_AFTER_S - 0.5)
    bought(ledger, first_poll_s=0)
    assert polls_sent(sent) == []

    clock.advance(0.5)
    bought(ledger, first_poll_s=0)
    assert polls_sent(sent) == [0]


def test_the_rescuer_wakes_up_what_is_due_and_has_no_wake_up(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The broker lost the message: one message for the queue, once, until that one counts as lost as well."""
    jobs = bought(ledger, many=2)
    clock.advance(30)
    polls_sent(sent)
    assert ledger.items.rescue() == []
    clock.advance(LOST_AFTER_S)

    (rescued,) = ledger.items.rescue()

    assert (rescued.queue, rescued.seconds) == (State.RENDERING, 0)
    assert sent == [rescued]
    assert ledger.items.rescue() == []
    clock.advance(LOST_AFTER_S)
    assert [wake_up.queue for wake_up in ledger.items.rescue()] == [State.RENDERING]
    assert claimed(ledger) == {job.id for job in jobs}


@pytest.mark.parametrize("queue", [State.RENDERING, FollowUp.DESCRIBE, State.SUBMITTING])
def test_the_rescuer_finds_what_a_dead_worker_held(ledger: Ledger, clock: Clock, queue: str) -> None:
    """Every lease that ends makes its item due; a rescue needs no other sign of death."""
    if queue == FollowUp.DESCRIBE:
        completed(ledger)
        steps.claimed_items(ledger, queue)
    elif queue == State.RENDERING:
        bought(ledger, first_poll_s=0)
        claimed(ledger)
    else:
        steps.submitting(ledger, ledger.get(accepted(ledger)[0]))
    ledger.items.rescue()
    clock.advance(LEASE_S - 0.1)
    assert queue not in {wake_up.queue for wake_up in ledger.items.rescue()}

    clock.advance(0.1)

    assert queue in {wake_up.queue for wake_up in ledger.items.rescue()}


def test_a_rescue_looks_only_at_its_queues(ledger: Ledger, clock: Clock) -> None:
    """A worker wakes up only receivers that it knows."""
    accepted(ledger)
    clock.advance(LOST_AFTER_S)

    assert ledger.items.rescue([State.RENDERING]) == []
    assert [wake_up.queue for wake_up in ledger.items.rescue()] == [State.QUEUED]


def test_a_wake_up_that_finds_no_room_rings_again(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The task sends it itself; meanwhile it is outstanding like any other."""
    bought(ledger)
    clock.advance(30)
    polls_sent(sent)

    assert ledger.items.postpone(State.RENDERING, wait_s=0.25)

    bought(ledger, first_poll_s=1)
    assert polls_sent(sent) == []
    clock.advance(0.25)
    assert len(claimed(ledger)) == 1
    assert polls_sent(sent) == [0.75]


def test_a_spare_wake_up_that_finds_no_room_is_dropped(ledger: Ledger, clock: Clock) -> None:
    """Another will ring anyway: of many that find no room one is enough."""
    bought(ledger)
    assert not ledger.items.postpone(State.RENDERING, wait_s=0.25)
    clock.advance(30)

    first, *others = (ledger.items.postpone(State.RENDERING, wait_s=0.25) for _ in range(3))

    assert first == WakeUp(State.RENDERING, "-", 0.25)
    assert others == [None, None]


def test_the_fleet_claims_no_more_than_it_may_in_a_second(ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
    """The upstream's limit is for all workers together; what had to wait is polled a moment later."""
    bought(ledger, many=5)
    clock.advance(30)
    polls_sent(sent)
    claim = Claim(queue=State.RENDERING, limit=100, fence=False, per_s=2)

    assert len(ledger.items.claim(claim).jobs) == 2
    assert polls_sent(sent) == [0.5]
    assert not ledger.items.claim(claim).jobs
    assert polls_sent(sent) == []

    clock.advance(0.5)
    assert len(ledger.items.claim(claim).jobs) == 1
    clock.advance(60)
    assert len(ledger.items.claim(claim).jobs) == 2, "at most a second's worth is saved up"


# -- polls, written together ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("how", "answer"), [("stale", StaleTurn), ("doubled", StaleTurn), ("unknown", UnknownJob), ("over", StaleTurn)]
)
def test_a_poll_that_came_too_late_leaves_no_trace(
    ledger: Ledger, clock: Clock, sent: list[WakeUp], how: str, answer: type[JobError]
) -> None:
    """Somebody else moved the job, or it is gone: the others of the batch are written all the same."""
    job, other = bought(ledger, many=2)
    clock.advance(30)
    claimed(ledger)
    late = Poll(job, "queued", 10)
    match how:
        case "stale":
            steps.polled(ledger, [Poll(job, "generating", 70)])
        case "doubled":
            steps.polled(ledger, [late])
        case "unknown":
            late = Poll(job.model_copy(update={"id": new_job_id()}), "queued", 10)
        case _:
            steps.end(ledger, job, CANCELLED)
    before = (ledger.get(job.id), ledger.job_log.of(job.id))
    sent.clear()

    answers = steps.polled(ledger, [late, Poll(other, "queued", 5)])

    assert [type(one) for one in answers] == [answer, int]
    assert (ledger.get(job.id), ledger.job_log.of(job.id)) == before
    assert ledger.get(other.id).polls == 1
    assert sent == [WakeUp(State.RENDERING, other.id, 5)]


# -- whatever happens to messages -----------------------------------------------------------------------------------

RESCUE_EVERY_S: Final = 5.0
WAIT_S: Final = 7.0
"""Seconds between two polls of a job."""


class Broker:
    """Delivers wake-ups in time to a worker that polls, and has a rescuer beside it; a test loses or doubles some."""

    def __init__(self, ledger: Ledger, clock: Clock, sent: list[WakeUp]) -> None:
        self.ledger = ledger
        self.clock = clock
        self.sent = sent
        self.pending: list[float] = []
        self.rescue_at = clock.now

    def collect(self) -> None:
        """Take over what was sent."""
        self.pending += [self.clock.now + seconds for seconds in polls_sent(self.sent)]

    def run(self, seconds: float) -> None:
        """Let time pass; after each step nothing may be overdue by more than a rescue takes."""
        until = self.clock.now + seconds
        while (at := min([*self.pending, self.rescue_at])) <= until:
            self.clock.now = max(at, self.clock.now)
            if at == self.rescue_at:
                self.rescue_at += RESCUE_EVERY_S
                self.ledger.items.rescue()
            else:
                self.pending.remove(at)
                self.poll()
            self.collect()
            assert self.overdue_s() <= RESCUE_EVERY_S + LOST_AFTER_S
        self.clock.now = until

    def poll(self) -> None:
        """A task claims two jobs and polls them."""
        jobs = steps.claimed(self.ledger, State.RENDERING, limit=2)
        steps.polled(self.ledger, [Poll(job, "queued", WAIT_S) for job in jobs])

    def overdue_s(self) -> float:
        """For how long the first job of the queue has been due."""
        due = [job.due_at or math.inf for job, _ in self.ledger.get_many(self.ledger.page())]
        return max((self.clock.now - at for at in due), default=0.0)


EVENTS: Final = st.one_of(
    st.tuples(st.just("new"), st.sampled_from([0.0, 0.1, 3.0, 20.0])),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1.0, 2.1, 8.0])),
    st.tuples(st.sampled_from(["lose", "double"]), st.just(0.0)),
)


@pytest.mark.timeout(180)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, max_size=25))
def test_lost_and_doubled_messages_delay_little_and_leave_one_chain(
    client: "redis.Redis", ledger: Ledger, clock: Clock, sent: list[WakeUp], events: list[tuple[str, float]]
) -> None:
    """Nothing is overdue by more than two seconds and the rescuer's period, and in the end one wake-up goes round."""
    client.flushall()
    sent.clear()
    broker = Broker(ledger, clock, sent)
    for what, number in [("new", 1.0), *events]:
        match what:
            case "new":
                bought(ledger, first_poll_s=number)
                broker.collect()
            case "pass":
                broker.run(number)
            case "lose":
                broker.pending = broker.pending[1:]
            case _:
                broker.pending += broker.pending[-1:]

    broker.run(60)

    assert len(broker.pending) == 1
