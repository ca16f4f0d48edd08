"""Skips interim HTTP replies before the final one; `http.client` skips only 100."""

from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, parse_headers
from typing import Final

MOST_INTERIM: Final = 32
"""After this many interim replies the request fails."""


class FinalResponse(HTTPResponse):
    """Skips interim replies (1xx, RFC 9110 §15.2), but not 101, after which the connection is no longer HTTP."""

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final reply, also to a CONNECT."""
        for _ in range(MOST_INTERIM + 1):
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if line[1] >= HTTPStatus.OK or line[1] == HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            parse_headers(self.fp)
        raise HTTPException(f"more than {MOST_INTERIM} interim replies")
