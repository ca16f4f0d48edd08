"""Idempotency keys: one namespace for each tenant, the same over HTTP, in-process and from the command line."""

import hashlib
from typing import Any

from jobs.errors import FieldError, InvalidRequest


def validate_key(key: Any) -> None:
    """Refuse an invalid key; an empty one is most often a variable that was never set.

    Raises:
        InvalidRequest: naming `idempotency_key`.
    """
    try:
        if key is None or (isinstance(key, str) and key.encode()):
            return
    except UnicodeEncodeError:
        pass  # half a surrogate pair: no text
    raise InvalidRequest((FieldError("idempotency_key", "must be text, and not empty; leave it out to have none"),))


def key_name(key: str, tenant: str | None) -> str:
    """Return the ledger's name for a tenant's key: of fixed length, without any text of the caller's."""
    return hashlib.sha256(f"{tenant or ''}\0{key}".encode()).hexdigest()
