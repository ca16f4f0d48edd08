"""The limits of the settings, in the ledger's terms."""

from collections.abc import Mapping

from config.settings import LimitSettings
from jobs.admission import ACCOUNTS, NO_LIMIT, TENANTS, Limit


def limits_in(settings: LimitSettings) -> Mapping[str, Limit]:
    """Return the settings' limits by scope; 0 is no limit."""
    return {
        ACCOUNTS: Limit(in_flight=settings.in_flight or NO_LIMIT, per_min=settings.per_min or NO_LIMIT),
        TENANTS: Limit(in_flight=settings.tenant_in_flight or NO_LIMIT, per_min=settings.tenant_per_min or NO_LIMIT),
    }
