"""Every move of `jobs/moves` as the ledger answers it: with the right turn, a stale one, twice, unknown, and ended."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import pytest
import redis

import jobs.moves
from jobs.delivery import Delivered, Delivery, NotDelivered
from jobs.errors import JobError, StaleTurn, UnknownJob, WrongState
from jobs.events import ENDS, EVENTS
from jobs.facts import (
    Accepted,
    Described,
    Download,
    Fetched,
    Finished,
    GenerationFailed,
    Inconclusive,
    LogRow,
    NoResult,
    NotBought,
    NotDescribed,
    NotFetched,
    Pending,
    PollResult,
    Rejected,
    Unknown,
)
from jobs.job import Charged, Hold, Job, Reason
from jobs.ledger import Ledger, new_job_id
from jobs.moves import delivery, download, follow_up, poll, purchase, reconcile, request
from jobs.moves import move as parts
from jobs.moves.delivery import RetryTerms, Timed
from jobs.moves.move import Move
from jobs.queues import delivery_queue
from jobs.states import FollowUp, State
from jobs.work_items import Item
from tests import steps
from tests.stage import Clock, outbox_of
from tests.steps import END, POLICY, STORED, VIDEO, given_up, job_in

Subject: TypeAlias = Job | Item
Answer: TypeAlias = "type[int | JobError]"

HOOK: Final = "a:b"
NOW: Final = Clock().now
RETRIES: Final = RetryTerms((5.0, 60.0))
DESCRIBING: Final = replace(POLICY, describe=True)


# -- subjects: a job in each state, a follow-up of each kind ---------------------------------------------------------


def ended_unbought(ledger: Ledger) -> Job:
    """An ended job of which no purchase is known."""
    return ledger.get(given_up(ledger).id)


def expired(ledger: Ledger) -> Item:
    """A late fetch that is due."""
    job = job_in(ledger, State.RENDERING)
    end = steps.ended(State.EXPIRED, Reason.DEADLINE_PASSED, "late", Charged.UNKNOWN, late_fetch_in_s=0)
    steps.end(ledger, job, end)
    return claimed_item(ledger, FollowUp.LATE_FETCH, job.id)


def to_describe(ledger: Ledger) -> Item:
    """A description that is due."""
    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED, describe=True)
    return claimed_item(ledger, FollowUp.DESCRIBE, job.id)


def to_deliver(ledger: Ledger) -> Item:
    """A delivery that is due."""
    job = job_in(ledger, State.STORING)
    steps.completed(ledger, job, STORED)
    return claimed_item(ledger, delivery_queue(HOOK), job.id)


def claimed_item(ledger: Ledger, queue: str, job_id: str) -> Item:
    """The follow-up of this job, as claimed."""
    return next(item for item in steps.claimed_items(ledger, queue) if item.id == job_id)


# -- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A move: its subject, how it is decided, the state and turns it leads to, and the ledger's answers.

    `doubled`: to the same move again. `ended`: to the move of one who read the job before it ended, and the follow-up
    before it was done. `unknown`: about a job that is not there.
    """

    subject: State | Callable[[Ledger], Subject]
    decide: Callable[[Any], Move | None]
    to: State | None = None
    turns: int = 1
    doubled: Answer = StaleTurn
    ended: Answer = StaleTurn
    unknown: Answer = UnknownJob

    def made(self, ledger: Ledger) -> Subject:
        """Make the subject: a job in that state, or another one."""
        return job_in(ledger, self.subject) if isinstance(self.subject, State) else self.subject(ledger)

    def move(self, subject: Subject) -> Move:
        """The move."""
        move = self.decide(subject)
        assert move is not None
        return move


def of_purchase(decide: Callable[[Job], Move | None], to: State, *, doubled: Answer = WrongState) -> Case:
    """A receipt, which the purchase's request id guards: it counts whatever the turn is."""
    return Case(subject=State.SUBMITTING, decide=decide, to=to, doubled=doubled, ended=WrongState)


def of_item(subject: Callable[[Ledger], Item], decide: Callable[[Any], Move | None]) -> Case:
    """A step of a follow-up, which moves the follow-up and not its job; one that is gone has no turn."""
    return Case(subject=subject, decide=decide, turns=0, unknown=StaleTurn)


def once(subject: State | Callable[[Ledger], Job], decide: Callable[[Job], Move | None], *, ended: Answer) -> Case:
    """A note in the row, which leaves the turn with its holder; made again it changes nothing."""
    return Case(subject=subject, decide=decide, turns=0, doubled=int, ended=ended)


def _late_poll(item: Item, result: PollResult) -> Move:
    assert item.job is not None
    move = follow_up.after_late_poll(item.job, result, now=NOW, policy=POLICY)
    assert isinstance(move, Move)
    return move


def _late_download(item: Item, outcome: Download) -> Move:
    assert item.job is not None
    return follow_up.after_late_download(item.job, VIDEO, outcome, now=NOW, policy=DESCRIBING)


def _delivery(item: Item, outcome: Delivered | NotDelivered) -> Move:
    return delivery.after_delivery(Delivery.of(item), outcome, RETRIES, timed=Timed(1.0, 0.1), spread=0.5)


def _late_receipt(job: Job) -> Move:
    move = purchase.after_late_receipt(job, Accepted("g", 1), policy=POLICY)
    assert isinstance(move, Move)
    return move


def _cancelled(job: Job) -> Job:
    return job.model_copy(update={"cancel_requested_at": NOW})


LATER: Final = NOW + 1e9
RECEIVED: Final = Accepted("g", 3.36)

CASES: Final[dict[str, Case]] = {
    # jobs/moves/purchase.py
    "before_submit: cancelled": Case(
        subject=State.QUEUED, decide=lambda j: purchase.before_submit(_cancelled(j), now=NOW), to=State.CANCELLED
    ),
    "before_submit: too late": Case(
        subject=State.QUEUED, decide=lambda j: purchase.before_submit(j, now=LATER), to=State.EXPIRED
    ),
    "without_input": Case(
        subject=State.QUEUED, decide=lambda j: purchase.without_input(j, "not found"), to=State.FAILED
    ),
    "submitting": Case(
        subject=State.QUEUED,
        decide=lambda j: purchase.submitting(j, lease_s=10, worker="w", suffix="a1"),
        to=State.SUBMITTING,
    ),
    "held": Case(
        subject=State.QUEUED, decide=lambda j: purchase.held(j, Hold.BAD_KEY, "no", wait_s=5), to=State.QUEUED
    ),
    "given_back": Case(subject=State.QUEUED, decide=lambda _: purchase.given_back(), to=State.QUEUED),
    "after_submit: bought": of_purchase(lambda j: purchase.after_submit(j, RECEIVED, policy=POLICY), State.RENDERING),
    "after_submit: proved unsent": of_purchase(  # the job then speaks of no purchase
        lambda j: purchase.after_submit(j, NotBought(Hold.THROTTLED, "429"), policy=POLICY),
        State.QUEUED,
        doubled=StaleTurn,
    ),
    "after_submit: refused": of_purchase(
        lambda j: purchase.after_submit(j, Rejected("400"), policy=POLICY), State.FAILED
    ),
    "after_submit: unknown": of_purchase(
        lambda j: purchase.after_submit(j, Unknown("lost"), policy=POLICY), State.IN_DOUBT
    ),
    "submitted": of_purchase(lambda j: purchase.submitted(j, "g", cost_usd=1, first_poll_s=9), State.RENDERING),
    "in_doubt": of_purchase(lambda _: purchase.in_doubt("no word", policy=POLICY), State.IN_DOUBT),
    "after_late_receipt: in time": Case(subject=State.QUEUED, decide=_late_receipt, to=State.RENDERING),
    "after_late_receipt: ended": once(ended_unbought, _late_receipt, ended=int),
    "adopted_late": Case(
        subject=State.QUEUED, decide=lambda j: purchase.adopted_late(j, RECEIVED, first_poll_s=9), to=State.RENDERING
    ),
    "bought_late": once(ended_unbought, lambda j: purchase.bought_late(j, RECEIVED, policy=POLICY), ended=int),
    # jobs/moves/reconcile.py
    "after_reading: found": Case(
        subject=State.IN_DOUBT,
        decide=lambda j: reconcile.after_reading(j, LogRow("r", "g", 1), now=NOW, policy=POLICY),
        to=State.RENDERING,
    ),
    "after_reading: not yet": Case(
        subject=State.IN_DOUBT,
        decide=lambda j: reconcile.after_reading(j, None, now=NOW, policy=POLICY),
        to=State.IN_DOUBT,
    ),
    "after_reading: never": Case(
        subject=State.IN_DOUBT,
        decide=lambda j: reconcile.after_reading(j, None, now=LATER, policy=POLICY),
        to=State.IN_DOUBT,
    ),
    "after_reading: buy again": Case(
        subject=State.IN_DOUBT,
        decide=lambda j: reconcile.after_reading(j, None, now=LATER, policy=replace(POLICY, resubmit_in_doubt=True)),
        to=State.QUEUED,
    ),
    "after_failed_reading": Case(
        subject=State.IN_DOUBT, decide=lambda _: reconcile.after_failed_reading(None, policy=POLICY), to=State.IN_DOUBT
    ),
    "put_off": Case(subject=State.IN_DOUBT, decide=lambda _: reconcile.put_off(60), to=State.IN_DOUBT),
    "still_in_doubt": Case(
        subject=State.IN_DOUBT, decide=lambda _: reconcile.still_in_doubt("nothing", wait_s=60), to=State.IN_DOUBT
    ),
    "adopted": Case(
        subject=State.IN_DOUBT,
        decide=lambda j: reconcile.adopted(j, "g", cost_usd=1, first_poll_s=9, by="log"),
        to=State.RENDERING,
    ),
    "resubmitted": Case(
        subject=State.IN_DOUBT, decide=lambda j: reconcile.resubmitted(j, by="me", queue_ttl_s=60), to=State.QUEUED
    ),
    "given_up_in_doubt": Case(subject=State.IN_DOUBT, decide=lambda _: reconcile.given_up_in_doubt(), to=State.FAILED),
    # jobs/moves/poll.py
    "after_poll: done": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(j, Finished(VIDEO), now=NOW, policy=POLICY),
        to=State.STORING,
    ),
    "after_poll: pending": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(j, Pending("queued"), now=NOW, policy=POLICY),
        to=State.RENDERING,
    ),
    "after_poll: no result": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(j, NoResult(Hold.UNAVAILABLE, "524"), now=NOW, policy=POLICY),
        to=State.RENDERING,
    ),
    "after_poll: inconclusive": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(
            j, Inconclusive("odd", "video 1", Finished(VIDEO), polls=3), now=NOW, policy=POLICY
        ),
        to=State.RENDERING,
    ),
    "after_poll: failed": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(j, GenerationFailed("no face"), now=NOW, policy=POLICY),
        to=State.FAILED,
    ),
    "after_poll: deadline": Case(
        subject=State.RENDERING,
        decide=lambda j: poll.after_poll(j, Pending("queued"), now=LATER, policy=POLICY),
        to=State.EXPIRED,
    ),
    "rendered": Case(subject=State.RENDERING, decide=lambda j: poll.rendered(j, VIDEO), to=State.STORING),
    "polled": Case(subject=State.RENDERING, decide=lambda j: poll.polled(j, "queued", wait_s=9), to=State.RENDERING),
    # jobs/moves/download.py
    "after_download: fetched": Case(
        subject=State.STORING,
        decide=lambda j: download.after_download(j, Fetched(STORED), now=NOW, policy=POLICY),
        to=State.COMPLETED,
    ),
    "after_download: not fetched": Case(
        subject=State.STORING,
        decide=lambda j: download.after_download(j, NotFetched("reset"), now=NOW, policy=POLICY),
        to=State.STORING,
    ),
    "after_download: never": Case(
        subject=State.STORING,
        decide=lambda j: download.after_download(j, NotFetched("reset"), now=LATER, policy=POLICY),
        to=State.FAILED,
    ),
    "completed": Case(
        subject=State.STORING,
        decide=lambda _: download.completed(STORED, None, took_s=100.0, policy=POLICY),
        to=State.COMPLETED,
    ),
    "store_failed": Case(
        subject=State.STORING,
        decide=lambda _: download.store_failed("full", wait_s=5, fresh_url=False),
        to=State.STORING,
    ),
    "store_failed: fresh URL": Case(
        subject=State.STORING,
        decide=lambda _: download.store_failed("403", wait_s=5, fresh_url=True),
        to=State.RENDERING,
    ),
    # jobs/moves/request.py, jobs/moves/move.py
    "on_cancel: queued": Case(subject=State.QUEUED, decide=request.on_cancel, to=State.CANCELLED),
    "on_cancel: submitting": once(State.SUBMITTING, request.on_cancel, ended=WrongState),
    "on_cancel: in doubt": once(State.IN_DOUBT, request.on_cancel, ended=StaleTurn),
    "on_cancel: rendering": Case(subject=State.RENDERING, decide=request.on_cancel, to=State.CANCELLED),
    "on_cancel: storing": Case(subject=State.STORING, decide=request.on_cancel, to=State.CANCELLED),
    "if_cancelled": Case(
        subject=State.RENDERING,
        decide=lambda j: request.if_cancelled(_cancelled(j), keep=True),
        to=State.CANCELLED,
    ),
    "ended": Case(subject=State.RENDERING, decide=lambda _: END, to=State.FAILED),
    # jobs/moves/follow_up.py
    "after_late_poll: pending": of_item(expired, lambda i: _late_poll(i, Pending("queued"))),
    "after_late_poll: failed": of_item(expired, lambda i: _late_poll(i, GenerationFailed("no"))),
    "after_late_download: fetched": of_item(expired, lambda i: _late_download(i, Fetched(STORED))),
    "after_late_download: not fetched": of_item(expired, lambda i: _late_download(i, NotFetched("reset"))),
    "after_describe: described": of_item(
        to_describe, lambda i: follow_up.after_describe(Described(()), tries=i.tries, took_s=1.0, policy=POLICY)
    ),
    "after_describe: again": of_item(
        to_describe, lambda i: follow_up.after_describe(NotDescribed("full"), tries=i.tries, took_s=1.0, policy=POLICY)
    ),
    "after_describe: given up": of_item(
        to_describe, lambda _: follow_up.after_describe(NotDescribed("full"), tries=99, took_s=1.0, policy=POLICY)
    ),
    # jobs/moves/delivery.py
    "after_delivery: delivered": of_item(to_deliver, lambda i: _delivery(i, Delivered())),
    "after_delivery: again": of_item(to_deliver, lambda i: _delivery(i, NotDelivered("no"))),
    "after_delivery: later": of_item(to_deliver, lambda i: _delivery(i, NotDelivered("newer", later=True))),
    "after_delivery: abandoned": of_item(to_deliver, lambda i: _delivery(i, NotDelivered("gone", never=True))),
    "released": of_item(to_deliver, lambda _: delivery.released()),
}
"""Each move by the function that decides it, and what it is about."""


@pytest.fixture
def ledger(client: "redis.Redis", clock: Clock) -> Ledger:
    """A ledger with a receiver of the events that end a job."""
    outbox_of(client, clock=clock).register({HOOK: ENDS})
    return Ledger(client, clock=clock)


def functions_that_move() -> Iterator[str]:
    """The public functions of `jobs/moves` that return a move."""
    for found in pkgutil.iter_modules(jobs.moves.__path__):
        module = importlib.import_module(f"jobs.moves.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = inspect.signature(function, eval_str=True).return_annotation
            is_move = Move in (returned, *getattr(returned, "__args__", ()))
            if function.__module__ == module.__name__ and is_move and not name.startswith("_"):
                yield name


def test_the_table_has_every_move() -> None:
    """A new move gets its line here; `to_rendering` is a part of others."""
    assert {name.partition(":")[0] for name in CASES} == {*functions_that_move()} - {parts.to_rendering.__name__}


def seen(ledger: Ledger, subject: Subject) -> tuple[object, ...]:
    """All that a refused move must leave as it is."""
    job_id = subject.id
    return ledger.get(job_id), ledger.job_log.of(job_id), ledger.unfinished(), ledger.follow_ups()


def refused(ledger: Ledger, subject: Subject, move: Move, answer: Answer) -> None:
    """Check that the ledger refuses the move with this answer, or lets it pass, and that nothing is written."""
    before = seen(ledger, subject) if answer is not UnknownJob else None
    (got,) = ledger.apply([(subject, move)])
    assert type(got) is answer
    if before is not None:
        assert seen(ledger, subject) == before


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_move_with_the_right_turn_is_written(ledger: Ledger, case: Case) -> None:
    """State, turn, index and job log move together, and its event is a known one."""
    subject = case.made(ledger)
    before = ledger.get(subject.id)
    move = case.move(subject)

    assert ledger.move(subject, move) == before.turn + case.turns

    moved = ledger.get(subject.id)
    state = case.to or before.state
    assert (moved.state, moved.turn) == (state, before.turn + case.turns)
    assert ledger.page(states=[state]) == [subject.id]
    assert ledger.unfinished() == (set() if state.is_final else {subject.id})
    last = ledger.job_log.of(subject.id)[-1]
    if move.event is not None:
        assert (last.event, last.state, last.turn) == (move.event, state, moved.turn)
        assert last.event in EVENTS


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_move_with_a_stale_turn_is_refused(ledger: Ledger, case: Case) -> None:
    """Its maker read the job, or claimed the follow-up, before somebody else moved it; a receipt is another's."""
    subject = case.made(ledger)
    move = case.move(subject)
    if isinstance(subject, Item):
        stale: Subject = replace(subject, turn=subject.turn - 1)
    else:
        stale = subject.model_copy(update={"turn": subject.turn - 1, "request_id": "another purchase"})

    refused(ledger, stale, move, StaleTurn)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_move_that_comes_twice_is_written_once(ledger: Ledger, case: Case) -> None:
    """Redis's first answer was lost, or two workers hold the same claim, one after the other's lease."""
    subject = case.made(ledger)
    move = case.move(subject)
    ledger.move(subject, move)

    refused(ledger, subject, move, case.doubled)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_move_of_an_unknown_job_is_refused(ledger: Ledger, case: Case) -> None:
    """Its row is gone; nothing is made up in its place."""
    subject = case.made(ledger)
    move, job_id = case.move(subject), new_job_id()
    if isinstance(subject, Item):
        stranger: Subject = replace(subject, id=job_id)
    else:
        stranger = subject.model_copy(update={"id": job_id})

    (got,) = ledger.apply([(stranger, move)])

    assert type(got) is case.unknown
    assert ledger.states([job_id]) == {}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_has_ended_moves_no_more(ledger: Ledger, case: Case) -> None:
    """A job ends exactly once, and so does a follow-up; only a receipt for an ended job is noted."""
    subject = case.made(ledger)
    move = case.move(subject)
    if isinstance(subject, Item):
        ledger.move(subject, Move(event=None))
    elif not subject.is_final:
        steps.end(ledger, subject, END)
    else:
        ledger.move(subject, move)

    refused(ledger, subject, move, case.ended)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.to is not None])
def test_an_ended_job_that_is_read_afresh_moves_no_more(ledger: Ledger, name: str) -> None:
    """The right turn alone is no permission."""
    case = CASES[name]
    subject = case.made(ledger)
    move = case.move(subject)
    assert isinstance(subject, Job)
    steps.end(ledger, subject, END)

    refused(ledger, ledger.get(subject.id), move, WrongState)
