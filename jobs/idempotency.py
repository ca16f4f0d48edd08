"""Idempotency keys: one namespace for each tenant, the same over HTTP, in-process and from the command line."""

import hashlib
import re
from typing import Any, Final

from jobs.errors import FieldError, InvalidRequest

_PLACE_IN_BATCH: Final = re.compile(r"(?s)(.*)\.(\d{1,2})")


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


def key_names(key: str, tenant: str | None) -> list[str]:
    """Return the key's name, then the names that earlier versions wrote; those are only read, until they expire.

    Earlier versions kept a producer's or the command line's key as it was, and an HTTP batch's as `<name>.<index>`.
    """
    batch = _PLACE_IN_BATCH.fullmatch(key)
    return [key_name(key, tenant), key, *([f"{key_name(batch[1], tenant)}.{batch[2]}"] if batch else [])]
