"""A reply over HTTP is what comes after the interim ones; `http.client` passes over 100 alone."""

from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, parse_headers
from typing import Final

MOST_INTERIM: Final = 32
"""Interim replies read before one answer; a server that sends more is given up."""


class FinalResponse(HTTPResponse):
    """Passes over interim replies (1xx, RFC 9110 §15.2); 101 is final, as the connection speaks no HTTP behind it."""

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the final reply, to a CONNECT as well."""
        for _ in range(MOST_INTERIM + 1):
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if line[1] >= HTTPStatus.OK or line[1] == HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            parse_headers(self.fp)
        raise HTTPException(f"more than {MOST_INTERIM} interim replies")
