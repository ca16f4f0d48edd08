"""What holds purchases back: pauses, the circuit breaker, limits. Each job's reason is derived from these few facts."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from jobs.admission import ACCOUNTS, TENANTS, AccountLoad, Limit, of_tenant
from jobs.breakers import Breaker, OpenBreaker
from jobs.errors import LedgerUnavailable
from jobs.job import Job
from jobs.ledger import Ledger
from jobs.pauses import Pause

FRESH_S: Final = 2.0
"""A view knows of a pause, or of a limit, this much later at most."""


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds purchases back now. `breaker`: that of purchases, if it is open or half-open.

    `limits`: those that were set, by scope; `settings`: those of the settings, which hold where none was set.
    """

    pauses: Mapping[str | None, Pause] = field(default_factory=dict)
    breaker: OpenBreaker | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
    settings: Mapping[str, Limit] = field(default_factory=dict)
    load: AccountLoad = field(default_factory=AccountLoad)

    @property
    def account(self) -> Limit:
        """The account's limits as they hold now."""
        return _first(self.limits.get(ACCOUNTS), self.settings.get(ACCOUNTS))

    def of_tenant(self, tenant: str) -> Limit:
        """Return a tenant's limits as they hold now."""
        return _first(self.limits.get(of_tenant(tenant)), self.limits.get(TENANTS), self.settings.get(TENANTS))

    @property
    def every_tenant(self) -> Limit:
        """The limits of a tenant that has none of its own."""
        return _first(self.limits.get(TENANTS), self.settings.get(TENANTS))

    @property
    def most_in_flight(self) -> int | None:
        """How many generations may run at once: the limit, or fewer, as the account learnt; None: no limit."""
        load = self.load  # what is not awaited runs beside what was learnt
        learnt = None if load.learnt is None else load.learnt + load.in_flight - load.awaited
        known = [most for most in (self.account.in_flight, learnt) if isinstance(most, int)]
        return min(known, default=None)

    @property
    def is_full(self) -> bool:
        """Whether as many generations run as may."""
        limit = self.account.in_flight
        return self.load.is_at_the_learnt or (isinstance(limit, int) and self.load.in_flight >= limit)

    def pause_of(self, job: Job) -> Pause | None:
        """Return the pause that holds this job."""
        named = (None, f"tenant:{job.tenant or ''}", f"model:{job.model}")
        return next((self.pauses[what] for what in named if what in self.pauses), None)


NOTHING_HELD: Final = Holds()


def _first(*limits: Limit | None) -> Limit:
    """Return the first value that is said, for each limit by itself."""
    said = [limit for limit in limits if limit is not None]
    return Limit(
        in_flight=next((limit.in_flight for limit in said if limit.in_flight is not None), None),
        per_min=next((limit.per_min for limit in said if limit.per_min is not None), None),
        weight=next((limit.weight for limit in said if limit.weight is not None), None),
    )


def read_holds(ledger: Ledger, usual: Mapping[str, Limit]) -> Holds:
    """Read them from Redis; until a worker has made its settings' limits known, the `usual` ones are shown.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """
    limits, settings = ledger.admission.limits()
    breaker = ledger.breakers.currently_open().get(Breaker.SUBMIT)
    return Holds(ledger.pauses.current(), breaker, limits, settings or usual, ledger.admission.load())


class KnownHolds:
    """The holds, as read within the last seconds: a list would read them for each of its jobs."""

    def __init__(self, ledger: Ledger, usual: Mapping[str, Limit], *, clock: Callable[[], float] = monotonic) -> None:
        self._ledger = ledger
        self._usual = usual
        self._clock = clock
        self._read_at = -math.inf
        self._found = Holds()
        self._in_flight = dict[str, int]()

    @property
    def are_fresh(self) -> bool:
        """Whether they need no read."""
        return self._clock() - self._read_at < FRESH_S

    def now(self) -> Holds:
        """Return the holds; older ones if Redis cannot be used."""
        if not self.are_fresh:
            with suppress(LedgerUnavailable):  # an accepted job is answered, whatever happens to Redis
                self._found = read_holds(self._ledger, self._usual)
            self._in_flight, self._read_at = {}, self._clock()
        return self._found

    def in_flight_of(self, tenant: str) -> int:
        """Return how many generations of a tenant run, if it has a limit; else 0."""
        if not self._has_limit(self.now(), tenant):
            return 0
        if tenant not in self._in_flight:
            self._in_flight[tenant] = 0  # if Redis cannot be used: the next second asks again
            with suppress(LedgerUnavailable):
                self._in_flight[tenant] = self._ledger.admission.in_flight_of([tenant])[tenant]
        return self._in_flight[tenant]

    def are_at_hand(self, tenant: str) -> bool:
        """Whether `now` and `in_flight_of` a tenant need no read."""
        return self.are_fresh and (tenant in self._in_flight or not self._has_limit(self._found, tenant))

    @staticmethod
    def _has_limit(holds: Holds, tenant: str) -> bool:
        return isinstance(holds.of_tenant(tenant).in_flight, int)
