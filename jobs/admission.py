"""Admission: limits on purchases, turns of tenants, and a queued job's place. `jobs/lua/admission.lua` decides.

Limits of an upstream account and of its tenants: generations in flight (all that run upstream, also those of jobs that
have been cancelled or have expired) and purchases a minute. They hold for the whole fleet at once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from jobs.job import ACCOUNT, Job
from jobs.keyspace import PREFIX
from jobs.scripts import Scripts, asks_redis, wake_ups_of

ACCOUNTS: Final = "account"
"""The scope of a limit of the account itself."""

TENANTS: Final = "tenants"
"""The scope of a limit of each tenant that has none of its own."""

NO_LIMIT: Final = "none"
LONGEST_LINE: Final = 50
"""A job's place among all is counted over at most this many tenants, and is an estimate beyond."""


def fields_of(settings: Mapping[str, "Limit"]) -> Mapping[str, str]:
    """Return the fields of the settings' limits, by scope, for a claim."""
    named = (
        (f"settings.{scope}.{name}", value) for scope, one in settings.items() for name, value in asdict(one).items()
    )
    return {name: NO_LIMIT if value is None else str(value) for name, value in named}


def of_tenant(tenant: str) -> str:
    """Return the scope of a tenant's own limits."""
    return f"tenant:{tenant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Limits of one scope. None: nothing is said; "none": no limit.

    `in_flight`: generations that run upstream at once. `per_min`: purchases a minute.
    `weight`: a tenant's part of the purchases beside other tenants' (1 if nothing is said).
    """

    in_flight: int | str | None = None
    per_min: float | str | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class AccountLoad:
    """How many generations of an account run now, or may run, being in doubt or given up; `awaited`: the others.

    `learnt`: how many awaited ones may run, as the account's 429s taught; None: no 429 yet.
    """

    in_flight: int = 0
    learnt: int | None = None
    waiting_tenants: int = 0
    awaited: int = 0

    @property
    def is_at_the_learnt(self) -> bool:
        """Whether as many run as the upstream let run lately."""
        return self.learnt is not None and self.awaited >= self.learnt


@dataclass(frozen=True, slots=True)
class Ready:
    """What is ready to be bought; with many tenants an estimate.

    `idle_s`: for how long the next job could have been bought and no worker looked. `most_in_flight`: how many
    generations may run at once; None: any number. `learnt`: as for AccountLoad.
    """

    ready: int
    idle_s: float
    in_flight: int
    most_in_flight: int | None
    learnt: int | None

    @property
    def is_full(self) -> bool:
        """Whether as many generations run as may."""
        return self.most_in_flight is not None and self.in_flight >= self.most_in_flight


@dataclass(frozen=True, slots=True)
class Place:
    """A ready job's place: exact among its tenant's, an estimate among all."""

    of_tenant: int
    of_all: int


class Admission:
    """Sets and reads limits; finds a job's place in the queue.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def set(self, scope: str, limit: Limit) -> None:
        """Set what `limit` names, from now on in the whole fleet; the rest stays."""
        self._change(set={f"{scope}.{name}": str(value) for name, value in asdict(limit).items() if value is not None})

    @asks_redis
    def unset(self, scope: str) -> None:
        """Forget what was set for a scope: the settings hold again. The account also forgets what it learnt."""
        fields = [f"{scope}.{name}" for name in Limit.__dataclass_fields__]
        self._change(unset=fields, is_learnt_forgotten=(scope == ACCOUNTS) or None)

    def _change(self, **changes: Any) -> None:
        (wake_ups,) = self._scripts.run("limits", account=ACCOUNT, **changes)
        self._scripts.wake(wake_ups_of(wake_ups))

    @asks_redis
    def limits(self) -> tuple[Mapping[str, Limit], Mapping[str, Limit]]:
        """Return the limits that were set, and those of the settings, by scope."""
        row = cast("dict[str, str]", self._scripts.redis.hgetall(f"{PREFIX}limits:{ACCOUNT}"))
        set_, settings = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
        for name, text in row.items():
            scope, _, field = name.rpartition(".")
            into = settings if scope.startswith("settings.") else set_
            if field in Limit.__dataclass_fields__:
                into.setdefault(scope.removeprefix("settings."), {})[field] = _value(field, text)
        return _limits(set_), _limits(settings)

    @asks_redis
    def load(self) -> AccountLoad:
        """Return how many generations run upstream, and what the account learnt."""
        now, pipe = self._scripts.now(), self._scripts.redis.pipeline(transaction=False)
        pipe.zcount(f"{PREFIX}in_flight:{ACCOUNT}", f"({now}", "+inf")
        pipe.hget(f"{PREFIX}account:{ACCOUNT}", "learnt")
        pipe.scard(f"{PREFIX}waiting:{ACCOUNT}")
        pipe.zcount(f"{PREFIX}in_flight:{ACCOUNT}", "+inf", "+inf")
        in_flight, learnt, waiting, awaited = pipe.execute()
        return AccountLoad(in_flight, int(learnt) if learnt else None, waiting, awaited)

    @asks_redis
    def ready(self) -> Ready:
        """Return what is ready to be bought, and what holds it."""
        ready, idle_s, in_flight, most, learnt = self._scripts.run("ready", account=ACCOUNT, most=LONGEST_LINE)
        return Ready(ready, float(idle_s), in_flight, None if most < 0 else most, None if learnt < 0 else learnt)

    @asks_redis
    def in_flight_of(self, tenants: list[str]) -> Mapping[str, int]:
        """Return how many generations of each of these tenants run upstream; "": of jobs without a tenant."""
        now, pipe = self._scripts.now(), self._scripts.redis.pipeline(transaction=False)
        for tenant in tenants:
            pipe.zcount(f"{PREFIX}in_flight:{ACCOUNT}:{tenant}", f"({now}", "+inf")
        return dict(zip(tenants, pipe.execute(), strict=True))

    @asks_redis
    def place(self, job: Job) -> Place | None:
        """Return a queued job's place; None: it is not ready, or is being bought."""
        found = self._scripts.run("place", id=job.id, account=job.account, tenant=job.tenant or "", most=LONGEST_LINE)
        return Place(*map(int, found)) if found else None


def _value(field: str, text: str) -> int | float | str | None:
    try:
        return int(text) if field == "in_flight" else float(text)
    except ValueError:
        return NO_LIMIT if field != "weight" else None


def _limits(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Limit]:
    return {scope: Limit(**fields) for scope, fields in found.items()}
