"""The doors before the upstream: what concerns everybody stops everybody, and one probe finds out when to go on."""

import random
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from jobs.facts import NotBought, PollResult, Receipt, Unknown, Unreachable
from jobs.gates import Gate, Gates, GateTerms, Shut
from jobs.job import Hold

SPREAD: Final = 0.5
"""Those who wait at a door come back spread over half the wait more, not all at once."""

TRUST_S: Final = 1.0
"""Seconds that an open door is believed to stay open: a process learns of others' trouble this late."""

_CONCERNS_ALL: Final = frozenset(
    {Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.MISCONFIGURED, Hold.THROTTLED}
)


class Doors:
    """Asks and tells the fleet's gates; while all goes well in this process, it asks for orders once a second only."""

    def __init__(
        self,
        gates: Gates,
        *,
        first_s: float,
        longest_s: float,
        after: int,
        probe_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._gates = gates
        self._at_once = GateTerms(first_s, longest_s, after=1)
        self._in_a_row = GateTerms(first_s, longest_s, after=after)
        self._probe_s = probe_s
        self._clock = clock
        self._in_trouble = dict.fromkeys(Gate, False)
        self._trusted_until = clock()

    @property
    def in_trouble(self) -> bool:
        """Whether the last polls of this process give reason to send one ahead of the others."""
        return self._in_trouble[Gate.POLL]

    def before_submit(self) -> Shut | None:
        """None if an order may be sent, else why and how long not."""
        if not self._in_trouble[Gate.SUBMIT] and self._clock() < self._trusted_until:
            return None
        shut = self._ask(Gate.SUBMIT)
        self._in_trouble[Gate.SUBMIT] = self._in_trouble[Gate.SUBMIT] or shut is not None
        self._trusted_until = self._clock() + TRUST_S
        return shut

    def before_polls(self) -> Unreachable | None:
        """None if somebody may poll, else what a poll would be told."""
        shut = self._ask(Gate.POLL) if self._in_trouble[Gate.POLL] else None
        return None if shut is None else Unreachable(shut.hold, shut.message, shut.wait_s)

    def after_submit(self, receipt: Receipt) -> None:
        """Tell the fleet what a purchase says about the upstream's health."""
        match receipt:
            case NotBought(Hold.FORBIDDEN):
                pass  # a key may lack one model only
            case NotBought(hold, message, retry_after_s):
                terms = self._at_once if hold in _CONCERNS_ALL else self._in_a_row
                self._refused(Gate.SUBMIT, hold, message, terms, wait_s=retry_after_s)
            case Unknown(message):
                # Each order sent to a sick upstream may become a doubt that somebody has to clear up.
                self._refused(Gate.SUBMIT, Hold.UNAVAILABLE, message, self._in_a_row)
            case _:
                self._passed(Gate.SUBMIT)

    def polls_refused(self, trouble: Unreachable) -> None:
        """A poll met what concerns everybody."""
        self._refused(Gate.POLL, trouble.hold, trouble.message, self._at_once, wait_s=trouble.retry_after_s)

    def polls_failed(self, trouble: Unreachable, *, times: int) -> None:
        """`times` polls that were made together brought no news; `trouble` is the reason of the last one."""
        terms, wait_s = self._in_a_row, trouble.retry_after_s
        self._refused(Gate.POLL, trouble.hold, trouble.message, terms, wait_s=wait_s, times=times)

    def polls_passed(self) -> None:
        """A poll was answered."""
        self._passed(Gate.POLL)

    def _refused(
        self, gate: Gate, hold: Hold, message: str, terms: GateTerms, *, wait_s: float | None = None, times: int = 1
    ) -> None:
        self._in_trouble[gate] = True
        self._gates.refused(gate, hold, message, terms=terms, wait_s=wait_s, times=times)

    def _passed(self, gate: Gate) -> None:
        """Trust again, and open the door for all; nobody needs to be told what nobody doubted."""
        if self._in_trouble[gate]:
            self._in_trouble[gate] = False
            self._gates.passed(gate)

    def _ask(self, gate: Gate) -> Shut | None:
        return self._gates.ask(gate, probe_s=self._probe_s, again_s=self._at_once.first_s)


class Hearing:
    """What polls that were made together say about the upstream's health, told to the doors as soon as it is plain.

    If one is answered, the upstream lives, however many others are not: one of its machines may be stuck or gone.
    """

    def __init__(self, doors: Doors, polls: int) -> None:
        self._doors = doors
        self._polls = polls
        self._in_vain = 0
        self._told = False
        self._concerns_all = False

    def hear(self, results: Sequence[PollResult]) -> None:
        """Some of the polls have ended."""
        troubles = [seen for seen in results if isinstance(seen, Unreachable)]
        for_all = [trouble for trouble in troubles if trouble.hold in _CONCERNS_ALL]
        self._in_vain += len(troubles)
        if for_all:
            self._doors.polls_refused(for_all[-1])
            self._concerns_all = self._told = True
        elif len(troubles) < len(results):
            self._told = True
            if not self._concerns_all:
                self._doors.polls_passed()
        elif not self._told and 2 * self._in_vain >= self._polls:
            self._doors.polls_failed(troubles[-1], times=self._in_vain)
            self._told = True


def spread(seconds: float) -> float:
    """A wait, drawn out at random by up to half."""
    return seconds * random.uniform(1, 1 + SPREAD)  # noqa: S311 (no secret)
