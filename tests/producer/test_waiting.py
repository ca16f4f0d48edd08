"""Why a job waits, in a sentence that says what happens next."""

from typing import Any, Final

import pytest

from jobs.admission import ACCOUNTS, TENANTS, AccountLoad, Limit, Place
from jobs.breakers import OpenBreaker
from jobs.job import Hold
from jobs.pauses import Pause
from jobs.states import State
from producer.holds import Holds
from producer.waiting import WAITING, WaitingEvents, Why, standing, waiting, why_queued
from tests.jobs.test_moves import NOW, a_job

SENTENCES: Final[list[tuple[State, dict[str, Any], list[str]]]] = [
    (State.QUEUED, {"hold": Hold.THROTTLED, "message": "429 slow down."}, ["Held (throttled): 429 slow down. ", "8 s"]),
    (State.QUEUED, {}, ["may be bought in 8 s"]),
    (State.SUBMITTING, {}, ["It is being bought"]),
    (State.IN_DOUBT, {"message": "reply lost"}, ["reply lost", "read again in 8 s", "not bought again"]),
    (State.IN_DOUBT, {"attention_at": NOW}, ["decide", "rushes adopt", "rushes resolve"]),
    (State.STORING, {"downloads": 1, "message": "the archive cannot be written"}, ["paid for", "in 8 s"]),
    (State.RENDERING, {"downloads": 3, "message": "broke off"}, ["paid for", "broke off", "asked for in 8 s"]),
]


@pytest.mark.parametrize(("state", "fields", "words"), SENTENCES)
def test_a_job_that_waits_says_why_and_what_happens_next(
    state: State, fields: dict[str, Any], words: list[str]
) -> None:
    """Nobody should have to read the job log to know whether to act."""
    sentence = waiting(a_job(state, due_at=NOW + 8, **fields), now=NOW)
    assert sentence is not None
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("due_at", "now", "word"), [(NOW - 5, NOW, "at once"), (None, NOW, "soon"), (NOW, None, "soon")]
)
def test_a_time_that_is_past_or_not_known_is_no_number(due_at: float | None, now: float | None, word: str) -> None:
    """A countdown below zero helps nobody."""
    sentence = waiting(a_job(State.STORING, due_at=due_at, downloads=1), now=now)
    assert sentence is not None
    assert f"tried again {word}." in sentence


@pytest.mark.parametrize("state", [State.STORING, State.RENDERING, State.COMPLETED, State.FAILED])
def test_a_job_that_simply_goes_on_says_nothing(state: State) -> None:
    """Silence is the normal case."""
    assert waiting(a_job(state, due_at=NOW + 8), now=NOW) is None


BREAKER: Final = OpenBreaker(30, Hold.OUT_OF_CREDITS, "the account has no credits left")
QUEUED: Final[list[tuple[Holds, list[str]]]] = [
    (
        Holds(pauses={None: Pause("ann", "the budget is used up", NOW)}, breaker=BREAKER),
        ["paused by ann: the budget is used up", "`rushes queue resume`"],
    ),
    (
        Holds(pauses={"tenant:shop": Pause("ann", "", NOW, "tenant:shop")}),
        ["of tenant shop", "`rushes queue resume --tenant shop`"],
    ),
    (Holds(breaker=BREAKER), ["no credits left", "in 30 s", "Top up the upstream account"]),
    (Holds(limits={ACCOUNTS: Limit(in_flight=5)}, load=AccountLoad(5)), ["5 generations run", "rushes limits"]),
    (
        Holds(settings={ACCOUNTS: Limit(in_flight=20)}, load=AccountLoad(9, learnt=7, awaited=9)),
        ["9 generations run", "as the upstream let run"],
    ),
    (Holds(settings={TENANTS: Limit(in_flight=3)}), ["3 generations of its tenant run"]),
    (Holds(settings={ACCOUNTS: Limit(per_min=20)}), ["Purchases begin at 20 a minute", "its turn"]),
    (Holds(limits={TENANTS: Limit(per_min=5)}), ["Its tenant's purchases begin at 5 a minute", "rushes limits"]),
]


@pytest.mark.parametrize(("holds", "words"), QUEUED)
def test_why_a_queued_job_waits_is_derived_from_what_holds_all(holds: Holds, words: list[str]) -> None:
    """No row says it, so that ten thousand need not be written when it changes."""
    sentence = waiting(a_job(State.QUEUED, due_at=NOW, tenant="shop"), now=NOW, holds=holds, in_flight=3)
    assert sentence is not None
    for word in words:
        assert word in sentence


def test_a_job_whose_turn_has_not_come_has_a_place_and_no_reason() -> None:
    """Others are before it."""
    assert waiting(a_job(State.QUEUED, due_at=NOW), now=NOW) is None
    assert "number 3 of its tenant's queue, and about number 7 of all" in standing(Place(3, 7))


def test_a_change_of_what_a_job_waits_for_is_an_event_once() -> None:
    """Numbers and times in the sentence change all the time; the reason counts."""
    told, job = WaitingEvents(), a_job(State.QUEUED, due_at=None)
    paused = Holds(pauses={None: Pause("ann", "the budget is used up", NOW)})

    def changed(holds: Holds) -> tuple[str, str] | None:
        entry = told.changed(job, why_queued(job, now=NOW, holds=holds), at=NOW, after="7-0")
        return (entry.data["why"], entry.data["waiting"]) if entry else None

    assert changed(Holds()) is None  # that it waits for its turn is no news
    why, sentence = changed(paused) or ("", "")
    assert (why, "budget" in sentence) == (Why.PAUSED, True)
    assert changed(paused) is None
    assert changed(Holds(breaker=BREAKER)) is not None
    assert changed(Holds()) == (Why.READY, "Nothing holds it back: it is bought when its turn comes.")
    assert changed(Holds()) is None


def test_an_event_of_waiting_continues_where_the_last_true_event_was() -> None:
    """A client resumes a stream by the last id that it saw."""
    job = a_job(State.QUEUED, due_at=NOW + 8)
    entry = WaitingEvents().changed(job, why_queued(job, now=NOW), at=NOW, after="7-0")
    assert entry is not None
    assert (entry.id, entry.event, entry.state, entry.data["why"]) == ("7-0", WAITING, "queued", "not_before")


def test_a_job_that_is_bought_waits_for_nothing() -> None:
    """What it waited for before is forgotten: after a doubt it may be queued again."""
    told, queued = WaitingEvents(), a_job(State.QUEUED, due_at=NOW + 8)
    assert told.changed(queued, why_queued(queued, now=NOW), at=NOW) is not None
    assert told.changed(a_job(State.RENDERING), None, at=NOW) is None
    assert told.changed(queued, why_queued(queued, now=NOW), at=NOW) is not None
