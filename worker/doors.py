"""The doors before the upstream: what concerns everybody stops everybody, and one probe finds out when to go on."""

import random
from typing import Final

from jobs.facts import NotBought, Receipt, Sighting, Unknown, Unreachable
from jobs.job import Hold
from jobs.ledger import Gate, GateTerms, Ledger, Shut

SPREAD: Final = 0.5
"""Those who wait at a door come back spread over half the wait more, not all at once."""

_CONCERNS_ALL: Final = frozenset({Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.THROTTLED})


class Doors:
    """Asks and tells the fleet's gates. Looks ask only while this process has reason to doubt the upstream."""

    def __init__(self, ledger: Ledger, *, first_s: float, longest_s: float, after: int, probe_s: float) -> None:
        self._ledger = ledger
        self._at_once = GateTerms(first_s, longest_s, after=1)
        self._in_a_row = GateTerms(first_s, longest_s, after=after)
        self._probe_s = probe_s
        self._wary = False

    def before_submit(self) -> Shut | None:
        """None if an order may be sent, else why and how long not."""
        return self._ledger.ask_gate(Gate.SUBMIT, probe_s=self._probe_s, again_s=self._at_once.first_s)

    def before_look(self) -> Unreachable | None:
        """None if somebody may look, else what a look would be told."""
        shut = self._ask_look() if self._wary else None
        return None if shut is None else Unreachable(shut.hold, shut.message, spread(shut.wait_s))

    def _ask_look(self) -> Shut | None:
        return self._ledger.ask_gate(Gate.LOOK, probe_s=self._probe_s, again_s=self._at_once.first_s)

    def after_submit(self, receipt: Receipt) -> None:
        """Tell the fleet what a purchase says about the upstream's health."""
        match receipt:
            case NotBought(Hold.FORBIDDEN):
                pass  # a key may lack one model only
            case NotBought(hold, message, retry_after_s):
                terms = self._at_once if hold in _CONCERNS_ALL else self._in_a_row
                self._ledger.gate_refused(Gate.SUBMIT, hold, message, terms=terms, wait_s=retry_after_s)
            case Unknown(message):
                # Each order sent to a sick upstream may become a doubt that somebody has to clear up.
                self._ledger.gate_refused(Gate.SUBMIT, Hold.UNAVAILABLE, message, terms=self._in_a_row)
            case _:
                self._ledger.gate_passed(Gate.SUBMIT)

    def after_look(self, seen: Sighting) -> None:
        """Tell the fleet what a look says about the upstream's health."""
        if isinstance(seen, Unreachable):
            self._wary = True
            terms = self._at_once if seen.hold in _CONCERNS_ALL else self._in_a_row
            self._ledger.gate_refused(Gate.LOOK, seen.hold, seen.message, terms=terms, wait_s=seen.retry_after_s)
        elif self._wary:
            self._wary = False
            self._ledger.gate_passed(Gate.LOOK)


def spread(seconds: float) -> float:
    """A wait, drawn out at random by up to half."""
    return seconds * random.uniform(1, 1 + SPREAD)  # noqa: S311 (no secret)
