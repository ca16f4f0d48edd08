"""The doors before the upstream: what concerns everybody stops everybody, and one probe finds out when to go on."""

import random
from collections.abc import Sequence
from typing import Final

from jobs.facts import NotBought, Receipt, Sighting, Unknown, Unreachable
from jobs.gates import Gate, Gates, GateTerms, Shut
from jobs.job import Hold

SPREAD: Final = 0.5
"""Those who wait at a door come back spread over half the wait more, not all at once."""

_CONCERNS_ALL: Final = frozenset({Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.THROTTLED})


class Doors:
    """Asks and tells the fleet's gates. Looks ask only while this process has reason to doubt the upstream."""

    def __init__(self, gates: Gates, *, first_s: float, longest_s: float, after: int, probe_s: float) -> None:
        self._gates = gates
        self._at_once = GateTerms(first_s, longest_s, after=1)
        self._in_a_row = GateTerms(first_s, longest_s, after=after)
        self._probe_s = probe_s
        self._wary = False

    @property
    def wary(self) -> bool:
        """Whether the last looks of this process give reason to send one ahead of the others."""
        return self._wary

    def before_submit(self) -> Shut | None:
        """None if an order may be sent, else why and how long not."""
        return self._ask(Gate.SUBMIT)

    def before_looks(self) -> Unreachable | None:
        """None if somebody may look, else what a look would be told."""
        shut = self._ask(Gate.LOOK) if self._wary else None
        return None if shut is None else Unreachable(shut.hold, shut.message, shut.wait_s)

    def after_submit(self, receipt: Receipt) -> None:
        """Tell the fleet what a purchase says about the upstream's health."""
        match receipt:
            case NotBought(Hold.FORBIDDEN):
                pass  # a key may lack one model only
            case NotBought(hold, message, retry_after_s):
                terms = self._at_once if hold in _CONCERNS_ALL else self._in_a_row
                self._gates.refused(Gate.SUBMIT, hold, message, terms=terms, wait_s=retry_after_s)
            case Unknown(message):
                # Each order sent to a sick upstream may become a doubt that somebody has to clear up.
                self._gates.refused(Gate.SUBMIT, Hold.UNAVAILABLE, message, terms=self._in_a_row)
            case _:
                self._gates.passed(Gate.SUBMIT)

    def after_looks(self, sightings: Sequence[Sighting]) -> None:
        """Tell the fleet what looks that were made together say about the upstream's health."""
        troubles = [seen for seen in sightings if isinstance(seen, Unreachable)]
        for_all = [trouble for trouble in troubles if trouble.hold in _CONCERNS_ALL]
        if for_all:
            self._shut(for_all[-1], self._at_once, times=1)
        elif len(troubles) == len(sightings):
            self._shut(troubles[-1], self._in_a_row, times=len(troubles))
        elif self._wary:
            self._wary = False
            self._gates.passed(Gate.LOOK)

    def _shut(self, trouble: Unreachable, terms: GateTerms, *, times: int) -> None:
        self._wary = True
        self._gates.refused(
            Gate.LOOK, trouble.hold, trouble.message, terms=terms, wait_s=trouble.retry_after_s, times=times
        )

    def _ask(self, gate: Gate) -> Shut | None:
        return self._gates.ask(gate, probe_s=self._probe_s, again_s=self._at_once.first_s)


def spread(seconds: float) -> float:
    """A wait, drawn out at random by up to half."""
    return seconds * random.uniform(1, 1 + SPREAD)  # noqa: S311 (no secret)
