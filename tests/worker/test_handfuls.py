"""What is quick is done at once and by the handful; what is slow, or not known, is shared."""

import pytest

from jobs.states import FollowUp, State
from worker.handfuls import MOST_AT_ONCE, Handfuls


def test_work_that_was_never_done_is_claimed_one_at_a_time_and_left_to_messages() -> None:
    """Nobody knows yet whether it is slow."""
    handfuls = Handfuls()

    assert (handfuls.of(State.STORING), handfuls.is_quick(State.STORING)) == (1, False)


@pytest.mark.parametrize(("each_s", "many"), [(0.0, MOST_AT_ONCE), (0.01, MOST_AT_ONCE), (0.1, 2), (0.2, 1), (30.0, 1)])
def test_as_many_are_claimed_as_were_done_in_a_quarter_of_a_second(each_s: float, many: int) -> None:
    """Each kind of work has its own measure."""
    handfuls = Handfuls()
    handfuls.took(State.STORING, each_s)

    assert (handfuls.of(State.STORING), handfuls.is_quick(State.STORING)) == (many, many > 1)
    assert handfuls.of(FollowUp.LATE_FETCH) == 1


def test_a_slow_one_is_remembered_through_a_few_quick_ones() -> None:
    """A refused connection among slow downloads is quick as well."""
    handfuls = Handfuls()
    handfuls.took(State.STORING, 1.0)
    handfuls.took(State.STORING, 0.001)
    assert handfuls.of(State.STORING) == 1

    for _ in range(5):
        handfuls.took(State.STORING, 0.001)
    assert handfuls.of(State.STORING) == MOST_AT_ONCE
