"""Who may come in."""

import hmac
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Scope

from ops.sandbox.envelopes import old_problem
from ops.sandbox.faults import MESSAGES


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Knows the key."""

    expected: bytes

    @classmethod
    def for_key(cls, key: str) -> "Authenticator":
        """Let this key in, and no other."""
        return cls(f"Bearer {key}".encode())

    def refuse(self, scope: Scope) -> Response | None:
        """The 401 for a request without the key; None lets it in."""
        if hmac.compare_digest(authorization(scope) or b"", self.expected):
            return None
        return old_problem(scope, 401, MESSAGES[401])


def authorization(scope: Scope) -> bytes | None:
    """The request's Authorization header."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            found: bytes = value
            return found
    return None
