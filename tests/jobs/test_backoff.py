"""The wait doubles with each failure, up to its bound."""

import pytest

from jobs.backoff import backoff


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 2), (1, 4), (3, 16), (5, 60), (10**6, 60)])
def test_the_wait_doubles_up_to_its_bound(failures: int, wait_s: float) -> None:
    """However often it failed, the wait is a number, and never longer than what was chosen."""
    assert backoff(2, 60, failures) == wait_s
