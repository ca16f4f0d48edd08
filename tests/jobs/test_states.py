"""The state machine itself: one enum, one table."""

import pytest

from jobs.reminders import QUEUE_OF, REMINDER_OF, WORKS, TaskName
from jobs.states import EDGES, FollowUp, State, Status


def test_every_state_has_its_edges() -> None:
    """A state that the table forgets would be a dead end that nobody chose."""
    assert set(EDGES) == set(State)


def test_every_state_can_be_reached_and_every_waiting_state_can_end() -> None:
    """A job is never in a state from which no path leads to an end."""
    reached = {State.QUEUED}
    for _ in State:
        reached |= {to for state in reached for to in EDGES[state]}
    assert reached == set(State)

    can_end = {state for state in State if state.is_final}
    for _ in State:
        can_end |= {state for state in State if EDGES[state] & can_end}
    assert can_end == set(State)


def test_nothing_leads_back_before_the_purchase_but_a_proof_or_a_decision() -> None:
    """Once money may be spent, only `submitting` (proved unsent) and `in_doubt` (somebody decided) buy again."""
    assert {state for state in State if State.QUEUED in EDGES[state]} == {
        State.QUEUED,
        State.SUBMITTING,
        State.IN_DOUBT,
    }
    assert {state for state in State if State.SUBMITTING in EDGES[state]} == {State.QUEUED}


@pytest.mark.parametrize("state", State)
def test_each_state_has_a_public_word(state: State) -> None:
    """The public sees fewer words than the ledger keeps."""
    assert state.status in Status
    assert state.is_final == (state.status not in {Status.QUEUED, Status.IN_PROGRESS})


def test_every_state_that_waits_for_us_has_a_reminder() -> None:
    """Only a purchase under way has no reminder: nothing may repeat it."""
    waiting = {state for state in State if not state.is_final}
    assert {*waiting, *FollowUp} - set(REMINDER_OF) == {State.SUBMITTING}
    assert set(WORKS) == {work.value for work in (*State, *FollowUp)}
    assert len(WORKS) == len(State) + len(FollowUp)  # no name means both
    assert set(QUEUE_OF) == set(TaskName)
