"""Limits as API and command line show and read them."""

import math
import re
from typing import Any, Final

from jobs.admission import ACCOUNTS, NO_LIMIT, TENANTS, Limit, of_tenant
from producer.holds import Holds

MOST: Final = 1_000_000
SCOPE: Final = re.compile(r"account|tenants|tenant:[a-z0-9][a-z0-9_-]{0,62}|tenant:")
"""The account, each tenant, one tenant; "tenant:" is that of jobs without one."""


def parsed_limit(
    scope: str,
    *,
    in_flight: str | float | None = None,
    per_min: str | float | None = None,
    weight: str | float | None = None,
) -> Limit:
    """Read limits from text or numbers.

    Raises:
        ValueError: one cannot be; the message says which and what would do.
    """
    if not SCOPE.fullmatch(scope):
        raise ValueError("the scope is account, tenants or tenant:NAME, with a tenant's name as in its keys")
    if weight is not None and not scope.startswith("tenant:"):
        raise ValueError("weight: only a tenant has one")
    if (in_flight, per_min, weight) == (None, None, None):
        raise ValueError("name at least one limit: in_flight, per_min or weight")
    share = None if weight is None else _number("weight", weight, least=0.001, most=1000)
    flight = None if in_flight is None else _limit("in_flight", in_flight)
    if isinstance(flight, float) and not flight.is_integer():
        raise ValueError("in_flight: must be a whole number, or none")
    return Limit(
        in_flight=int(flight) if isinstance(flight, float) else flight,
        per_min=None if per_min is None else _limit("per_min", per_min),
        weight=share,
    )


def _limit(name: str, value: str | float) -> str | float:
    if value == NO_LIMIT:
        return NO_LIMIT
    return _number(name, value, least=1, most=MOST)


def _number(name: str, value: str | float, *, least: float, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        none = "" if name == "weight" else ", or none; to buy nothing, pause the queue"
        raise ValueError(f"{name}: must be a number from {least:g} to {most:.0f}{none}")
    return number


def limits_view(holds: Holds) -> dict[str, Any]:
    """Return all limits as plain JSON, each as it holds now, with what runs and what the account learnt."""
    tenants = sorted(scope for scope in holds.limits if scope.startswith("tenant:"))
    found = {ACCOUNTS: holds.account, TENANTS: holds.every_tenant}
    found |= {scope: holds.of_tenant(scope.removeprefix(of_tenant(""))) for scope in tenants}
    return {
        "object": "list",
        "in_flight": holds.load.in_flight,
        "learnt": holds.load.learnt,
        "data": [
            {
                "object": "limit",
                "scope": scope,
                "in_flight": None if limit.in_flight == NO_LIMIT else limit.in_flight,
                "per_min": None if limit.per_min == NO_LIMIT else limit.per_min,
                "weight": limit.weight,
                "is_set": scope in holds.limits,
            }
            for scope, limit in found.items()
        ],
    }
