"""What one item's trouble does to the others of its batch: nothing."""

import pytest

from jobs.errors import JobError, LedgerUnavailable, StaleTurn, UnreadableRow
from tests.jobs.test_moves import a_job
from worker.claimed import contained


def fail(error: Exception) -> None:
    """Raise the error as deep code does."""
    raise error


@pytest.mark.parametrize(
    "error",
    [
        StaleTurn("moved"),
        UnreadableRow("a newer one's"),
        ValueError("odd"),
        OverflowError(),
        RecursionError(),
        KeyError(1),
    ],
)
def test_whatever_one_item_raises_the_others_are_worked_on(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger's data in one job must not keep the videos of others; the log has the traceback."""
    with contained("store", a_job()):
        fail(error)
    assert ("Traceback" in caplog.text) is not isinstance(error, JobError)


def test_a_ledger_out_of_reach_ends_the_batch() -> None:
    """Nothing more can be written for any of them."""
    with pytest.raises(LedgerUnavailable), contained("store", a_job()):
        raise LedgerUnavailable("away")
