"""Idempotency keys: one namespace for each tenant, the same over HTTP, in-process and from the command line."""

import hashlib
import re
from typing import Any, Final

from jobs.errors import FieldError, InvalidRequest

_PLACE_IN_BATCH: Final = re.compile(r"(?s)(.*)\.(\d{1,2})")


def validate_key(key: Any) -> None:
    """Refuse what cannot be a key; an empty one is most often a variable that was never set.

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
    """The ledger's name for a tenant's key: of a fixed length, and nothing that a caller chose stands in it."""
    return hashlib.sha256(f"{tenant or ''}\0{key}".encode()).hexdigest()


def key_names(key: str, tenant: str | None) -> list[str]:
    """The key's name, then those that earlier versions wrote, which are only read, as long as such keys live.

    They kept a key of a producer or of the command line as it was, and one of an HTTP batch as `<name>.<index>`.
    """
    batch = _PLACE_IN_BATCH.fullmatch(key)
    return [key_name(key, tenant), key, *([f"{key_name(batch[1], tenant)}.{batch[2]}"] if batch else [])]
