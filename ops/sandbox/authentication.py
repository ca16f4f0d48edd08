"""Checks API keys."""

import hmac
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Scope

from ops.sandbox.envelopes import old_problem
from ops.sandbox.fault_replies import MESSAGES


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Accepts requests with the configured key only."""

    expected: bytes

    @classmethod
    def for_key(cls, key: str) -> "Authenticator":
        """Accept this key only."""
        return cls(f"Bearer {key}".encode())

    def refuse(self, scope: Scope) -> Response | None:
        """Return a 401 reply if the key is missing or wrong, else None."""
        if hmac.compare_digest(authorization(scope) or b"", self.expected):
            return None
        return old_problem(scope, 401, MESSAGES[401])


def authorization(scope: Scope) -> bytes | None:
    """Return the request's Authorization header."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            found: bytes = value
            return found
    return None
