"""The state machine itself: one enum, one table."""

import pytest

from jobs.queues import JOB_QUEUES, QUEUES, ROUTES, SLOW_POLLS, TaskName, delivery_queue, receiver_of, task_of
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


def test_every_state_that_waits_is_a_queue_that_a_task_works_off() -> None:
    """What waits in a queue that nobody works off would wait for ever."""
    assert set(JOB_QUEUES) == {state for state in State if not state.is_final} | {SLOW_POLLS}
    assert set(QUEUES) == {*JOB_QUEUES, *FollowUp}
    assert len(QUEUES) == len(JOB_QUEUES) + len(FollowUp)  # no name means both
    assert {task_of(queue) for queue in [*QUEUES, delivery_queue("a:b")]} == set(TaskName) == set(ROUTES)


def test_only_a_queued_job_is_bought() -> None:
    """A purchase whose lease ended is put in doubt by a task that buys nothing."""
    assert [queue for queue in QUEUES if task_of(queue) is TaskName.SUBMIT] == [State.QUEUED]
    assert task_of(State.SUBMITTING) is TaskName.DOUBT


def test_a_receivers_queue_names_it() -> None:
    """Its name may hold colons, as a hook's import path does."""
    assert receiver_of(delivery_queue("shop.hooks:notify")) == "shop.hooks:notify"
    assert [receiver_of(queue) for queue in QUEUES] == [None] * len(QUEUES)
