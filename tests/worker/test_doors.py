"""The doors before the upstream: what polls that were made together say about its health."""

from typing import TYPE_CHECKING, Final

import pytest

from jobs.facts import NotBought, Pending, PollResult, Unreachable
from jobs.gates import Gate
from jobs.job import Hold
from jobs.ledger import Ledger
from worker.doors import Doors, Hearing

if TYPE_CHECKING:
    import redis

ANSWERED: Final = Pending("generating")
SILENT: Final = Unreachable(Hold.UNREACHABLE, "no answer")
THROTTLED: Final = Unreachable(Hold.THROTTLED, "slow down", 3.0)


@pytest.fixture
def ledger(client: "redis.Redis") -> Ledger:
    """An empty one."""
    return Ledger(client)


@pytest.fixture
def doors(ledger: Ledger) -> Doors:
    """Doors that shut after three refusals in a row."""
    return Doors(ledger.gates, first_s=5, longest_s=60, after=3, probe_s=10)


@pytest.mark.parametrize(
    ("heard", "shut", "in_trouble"),
    [
        ([[SILENT] * 3], True, True),
        ([[SILENT] * 2], False, True),
        ([[ANSWERED], [SILENT] * 30], False, False),
        ([[SILENT] * 10, [ANSWERED] * 20], False, False),
        ([[SILENT] * 10, [SILENT] * 20], True, True),
        ([[SILENT] * 10, [ANSWERED, *[SILENT] * 19]], False, False),
    ],
)
def test_an_upstream_that_answers_one_poll_is_not_down(
    ledger: Ledger, doors: Doors, heard: list[list[PollResult]], shut: bool, in_trouble: bool
) -> None:
    """A balancer with a dead machine refuses part of them at once, one that is stuck is silent until the time-out."""
    hearing = Hearing(doors, sum(map(len, heard)))
    for group in heard:
        hearing.hear(group)

    assert bool(ledger.gates.shut()) is shut
    assert doors.in_trouble is in_trouble


def test_a_door_is_shut_once_most_polls_failed_and_opens_with_the_first_answer(ledger: Ledger, doors: Doors) -> None:
    """What hangs meanwhile may take half a minute."""
    hearing = Hearing(doors, 100)
    hearing.hear([SILENT] * 49)
    assert not ledger.gates.shut()
    hearing.hear([SILENT])
    assert ledger.gates.shut()[Gate.POLL].hold is Hold.UNREACHABLE

    hearing.hear([ANSWERED])
    assert not ledger.gates.shut()


def test_what_concerns_everybody_shuts_the_door_whatever_else_was_answered(ledger: Ledger, doors: Doors) -> None:
    """Too many requests: the answers that came with it, or were on their way, do not make it untrue."""
    hearing = Hearing(doors, 10)
    hearing.hear([ANSWERED, THROTTLED, ANSWERED])
    hearing.hear([ANSWERED] * 7)

    assert ledger.gates.shut()[Gate.POLL].hold is Hold.THROTTLED
    assert doors.in_trouble


@pytest.mark.parametrize(
    "hold", [Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.MISCONFIGURED, Hold.THROTTLED]
)
def test_what_concerns_every_order_shuts_the_door_at_once(ledger: Ledger, doors: Doors, hold: Hold) -> None:
    """Each further order would only be told the same."""
    doors.after_submit(NotBought(hold, "no"))
    assert ledger.gates.shut()[Gate.SUBMIT].hold is hold
