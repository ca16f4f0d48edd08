"""The upstream's circuit breakers: a failure that concerns every job stops all requests until a trial succeeds."""

import math
import random
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from jobs.breakers import Breaker, Breakers, BreakerTerms, OpenBreaker
from jobs.facts import NoResult, NotBought, PollResult, Receipt, Unknown
from jobs.job import Hold

SPREAD: Final = 0.5
"""Polls that wait for an open breaker come back spread over up to half the wait more, not all at once."""

_CONCERNS_ALL: Final = frozenset(
    {Hold.BAD_KEY, Hold.OUT_OF_CREDITS, Hold.UNVERIFIED, Hold.MISCONFIGURED, Hold.THROTTLED}
)

AFTER: Final = 3
"""After this many failures in a row, in the whole fleet, requests stop until a trial request succeeds."""


class UpstreamBreakers:
    """One process's use of the fleet's breakers. A claim of queued jobs obeys that of purchases itself."""

    def __init__(
        self,
        shared: Breakers,
        *,
        first_s: float,
        longest_s: float,
        trial_s: float,
        after: int = AFTER,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._shared = shared
        self._at_once = BreakerTerms(first_s, longest_s, after=1)
        self._in_a_row = BreakerTerms(first_s, longest_s, after=after)
        self._trial_s = trial_s
        self._clock = clock
        self._failing = dict.fromkeys(Breaker, False)
        self._submits_from = -math.inf
        self.polls_answered = 0
        """How many groups of this process's polls held an answer."""

    @property
    def polls_failing(self) -> bool:
        """Whether this process's last polls failed: it then reads the fleet's breaker and sends one poll first."""
        return self._failing[Breaker.POLL]

    def claimed(self, *, is_trial: bool) -> None:
        """Note what a claim of queued jobs said: whether the breaker is half-open, else it is closed."""
        self._failing[Breaker.SUBMIT] = self._failing[Breaker.SUBMIT] or is_trial
        self._submits_from = -math.inf

    @property
    def may_submit(self) -> bool:
        """Whether the breaker is closed as far as this process knows; what it has claimed must wait otherwise."""
        return self._clock() >= self._submits_from

    def before_polls(self) -> NoResult | None:
        """Return None if polls may be sent, else the result that stands for them."""
        breaker = self._ask(Breaker.POLL) if self._failing[Breaker.POLL] else None
        return None if breaker is None else NoResult(breaker.hold, breaker.message, breaker.wait_s)

    def after_submit(self, receipt: Receipt, *, sent_at: float | None = None) -> None:
        """Report to the fleet what a purchase, sent at this time by its clock, says about the upstream's health."""
        match receipt:
            case NotBought(Hold.FORBIDDEN):
                pass  # a key may lack one model only
            case NotBought(hold, message, retry_after_s):
                terms = self._at_once if hold in _CONCERNS_ALL else self._in_a_row
                throttled_at = sent_at if hold is Hold.THROTTLED else None
                self._refused(Breaker.SUBMIT, hold, message, terms, wait_s=retry_after_s, sent_at=throttled_at)
            case Unknown(message):
                # Each request to a sick upstream may become a purchase in doubt.
                self._refused(Breaker.SUBMIT, Hold.UNAVAILABLE, message, self._in_a_row)
            case _:
                self._passed(Breaker.SUBMIT)

    def polls_refused(self, trouble: NoResult) -> None:
        """Report a poll's failure that concerns every job."""
        self._refused(Breaker.POLL, trouble.hold, trouble.message, self._at_once, wait_s=trouble.retry_after_s)

    def polls_failed(self, trouble: NoResult, *, times: int) -> None:
        """Report `times` polls, made together, without a result; `trouble` is the last one's reason."""
        terms, wait_s = self._in_a_row, trouble.retry_after_s
        self._refused(Breaker.POLL, trouble.hold, trouble.message, terms, wait_s=wait_s, times=times)

    def polls_passed(self) -> None:
        """Report an answered poll."""
        self.polls_answered += 1
        self._passed(Breaker.POLL)

    def _refused(
        self,
        breaker: Breaker,
        hold: Hold,
        message: str,
        terms: BreakerTerms,
        *,
        wait_s: float | None = None,
        times: int = 1,
        sent_at: float | None = None,
    ) -> None:
        self._failing[breaker] = True
        open_s = self._shared.refused(breaker, hold, message, terms=terms, wait_s=wait_s, times=times, sent_at=sent_at)
        if breaker is Breaker.SUBMIT and open_s:
            self._submits_from = self._clock() + open_s

    def _passed(self, breaker: Breaker) -> None:
        """Close the breaker for all, if this process has seen a failure."""
        if self._failing[breaker]:
            self._failing[breaker] = False
            self._shared.passed(breaker)

    def _ask(self, breaker: Breaker) -> OpenBreaker | None:
        return self._shared.ask(breaker, trial_s=self._trial_s, again_s=self._at_once.first_s)


class BatchHealth:
    """The upstream's health by a batch of polls, reported to the breaker as soon as it is clear.

    One answered poll, also of another batch meanwhile, means that the upstream lives: one of its machines may be stuck.
    A time-out shorter than `longest_timeout_s` says only that the upstream is slow.
    """

    def __init__(self, breakers: UpstreamBreakers, polls: int, *, longest_timeout_s: float) -> None:
        self._breakers = breakers
        self._polls = polls
        self._longest_timeout_s = longest_timeout_s
        self._answered_before = breakers.polls_answered
        self._failed = list[NoResult]()
        self._reported = False
        self._concerns_all = False

    def add(self, results: Sequence[tuple[PollResult, float]]) -> None:
        """Count the results of ended polls, each with the seconds that its poll was given."""
        counted = [result for result, timeout_s in results if not self._is_only_slow(result, timeout_s)]
        self._polls -= len(results) - len(counted)
        troubles = [result for result in counted if isinstance(result, NoResult)]
        for_all = [trouble for trouble in troubles if trouble.hold in _CONCERNS_ALL]
        self._failed += troubles
        if for_all:
            self._breakers.polls_refused(for_all[-1])
            self._concerns_all = self._reported = True
        elif len(troubles) < len(counted):
            self._reported = True
            if not self._concerns_all:
                self._breakers.polls_passed()
        elif not self._reported and self._is_down:
            self._breakers.polls_failed(self._failed[-1], times=len(self._failed))
            self._reported = True

    def _is_only_slow(self, result: PollResult, timeout_s: float) -> bool:
        return isinstance(result, NoResult) and result.timed_out and timeout_s < self._longest_timeout_s

    @property
    def _is_down(self) -> bool:
        """Whether at least half have failed, and nobody was answered since the batch began."""
        is_answered = self._breakers.polls_answered > self._answered_before
        return bool(self._failed) and 2 * len(self._failed) >= self._polls and not is_answered


def spread(seconds: float) -> float:
    """Lengthen a wait at random by up to half."""
    return seconds * random.uniform(1, 1 + SPREAD)  # noqa: S311 (no secret)
